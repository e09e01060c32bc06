// Asks for the API key. It is kept for this tab alone.
import { key } from "./api.js";

const dialog = document.getElementById("key-dialog");
const form = document.getElementById("key-form");
const input = document.getElementById("key");
let asking = null; // one question for all who wait

document.getElementById("key-cancel").addEventListener("click", () => dialog.close("cancel"));
form.addEventListener("submit", () => key.set(input.value.trim()));

// Whether there is a new one to try.
export function askKey() {
  asking ??= new Promise(resolve => {
    document.getElementById("key-words").textContent = key.get()
      ? "The server did not accept the key that was given."
      : "Whoever runs the server can give you one.";
    input.value = dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue !== "cancel" && input.value.trim() !== ""), { once: true });
    dialog.addEventListener("cancel", () => (dialog.returnValue = "cancel"), { once: true }); // Esc
    dialog.showModal();
  }).finally(() => {
    asking = null;
    input.value = "";
  });
  return asking;
}
