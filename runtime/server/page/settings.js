// The settings form: built from one table, kept in the browser, read as fields of a request. An empty field is left to the server.
import { element } from "./markdown.js";
import { forBrowser, readJson } from "./store.js";

const NUMBERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 100, step: "any", hint: "0 always takes the likeliest token" },
  { name: "top_p", label: "Top p", min: 0.001, max: 1, step: "any", hint: "the likeliest tokens that together have this share" },
  { name: "top_k", label: "Top k", min: 0, max: 1000000, step: 1, hint: "the likeliest tokens by number; 0: all" },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: "any", hint: "tokens at least this likely, against the likeliest" },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: "any", hint: "against what was said before" },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: "any", hint: "against what was said often" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.001, max: 1000, step: "any", hint: "above 1: less repetition" },
  { name: "max_tokens", label: "Longest answer", min: 1, max: 2147483647, step: 1, hint: "tokens, with the reasoning" },
  { name: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, hint: "the same seed, the same answer" },
];
const EFFORTS = ["low", "medium", "high"];
const THEMES = { "": "As the system", light: "Light", dark: "Dark" };

const kept = forBrowser("settings");

function field(id, label, control, hint) {
  control.id = id;
  control.name = id;
  const made = element("div", { className: "field" }, element("label", { htmlFor: id }, label), control);
  if (hint) {
    made.append(element("p", { id: `${id}-hint`, className: "quiet" }, hint));
    control.setAttribute("aria-describedby", `${id}-hint`);
  }
  return made;
}

function efforts() {
  const made = element("fieldset", { className: "efforts" }, element("legend", {}, "Reasoning effort"));
  for (const effort of EFFORTS) {
    const radio = element("input", { type: "radio", name: "effort", value: effort, id: `effort-${effort}` });
    radio.defaultChecked = effort === "medium";
    made.append(element("label", { htmlFor: radio.id }, radio, element("span", {}, effort)));
  }
  return made;
}

function build(form) {
  form.append(efforts());
  const instructions = element("textarea", { rows: 3, placeholder: "for example: Answer in one sentence." });
  form.append(field("instructions", "Instructions", instructions, "go before the conversation"));
  const more = element("div", { className: "numbers" });
  for (const { name, label, min, max, step, hint } of NUMBERS)
    more.append(field(name, label, element("input", { type: "number", inputMode: "decimal", placeholder: "default", min, max, step }), hint));
  form.append(element("details", { className: "more" }, element("summary", {}, "Sampling"), more));
  more.append(field("stop", "Stop strings", element("textarea", { rows: 2 }), "one in each line; the answer ends before the first of them"));
  const theme = element("select");
  for (const [value, label] of Object.entries(THEMES)) theme.append(element("option", { value }, label));
  form.append(field("theme", "Appearance", theme));
  form.append(element("button", { type: "reset", id: "reset" }, "Back to defaults"));
}

function values(form) {
  return Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
}

export function settings(form) {
  const applyTheme = () => (document.documentElement.dataset.theme = form.elements.theme.value);
  const changed = () => {
    kept.set(JSON.stringify(values(form)));
    applyTheme();
  };
  build(form);
  for (const [name, value] of Object.entries(readJson(kept, {}))) if (form.elements[name]) form.elements[name].value = value;
  // What stands in closed details would otherwise be changed and not seen.
  const more = form.querySelector("details");
  more.open = [...more.querySelectorAll("input, textarea")].some(control => control.value);
  applyTheme();
  form.addEventListener("input", changed);
  form.addEventListener("reset", () => setTimeout(changed)); // the event comes before the values
  form.addEventListener("submit", event => event.preventDefault());

  return {
    // The first field that holds no value it may have, or null.
    wrong: () => form.querySelector("input:invalid"),
    show(control) {
      if (more.contains(control)) more.open = true;
      control.reportValidity();
    },
    // Fields of a chat request, but its messages.
    request() {
      const all = values(form), out = { reasoning_effort: all.effort };
      for (const { name } of NUMBERS) if (name in all) out[name] = Number(all[name]);
      const stops = (all.stop ?? "").split(/\r?\n/).filter(line => line);
      if (stops.length) out.stop = stops;
      return out;
    },
    instructions: () => (values(form).instructions ?? "").trim(),
  };
}
