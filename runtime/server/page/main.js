// The page: what is asked, answered, stopped and kept.
import { chat, Failure, models } from "./api.js";
import { askKey } from "./key.js";
import { watchLoad } from "./load.js";
import { settings } from "./settings.js";
import { forTab, readJson } from "./store.js";
import { beginAgain, messages, newTurn, turnView } from "./turns.js";

const $ = id => document.getElementById(id);
const question = $("question"), scroll = $("scroll"), send = $("send"), panel = $("panel"), panelButton = $("panel-button");
const touch = matchMedia("(pointer: coarse)"), wide = matchMedia("(min-width: 62rem)");
const options = settings($("settings"));
const kept = forTab("conversation");
let turns = []; // {turn, view}
let running = null; // the AbortController of the answer that comes
let model = null;

const say = words => ($("said").textContent = words);
const store = () => kept.set(JSON.stringify(turns.map(({ turn }) => turn)));

// ---- the list of turns ----------------------------------------------------------------------------------------------------

// Follows the answer as long as the reader has not scrolled up.
function keepInView(change) {
  const follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
  change();
  if (follows) scroll.scrollTop = scroll.scrollHeight;
}

function add(turn) {
  const entry = { turn };
  entry.view = turnView(turn, () => {
    if (running) return;
    beginAgain(turn);
    question.focus();
    answer(entry);
  });
  turns.push(entry);
  $("turns").append(entry.view.node);
  $("welcome").hidden = true;
  entry.view.draw();
  return entry;
}

function restore() {
  for (const turn of readJson(kept, [])) {
    if (turn.state === "running") turn.state = "left";
    add(turn);
  }
  scroll.scrollTop = scroll.scrollHeight;
}

function newChat() {
  running?.abort();
  turns = [];
  kept.set(null);
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  say("New chat");
  question.focus();
}

// ---- an answer ------------------------------------------------------------------------------------------------------------

function take(turn, chunk, since) {
  const now = (performance.now() - since) / 1000, delta = chunk.choices[0]?.delta ?? {};
  if (delta.reasoning || delta.content) turn.seconds ??= { first: now, answer: null, end: now };
  if (turn.seconds && delta.content) turn.seconds.answer ??= now;
  if (turn.seconds && (delta.reasoning || delta.content)) turn.seconds.end = now;
  turn.reasoning += delta.reasoning ?? "";
  turn.content += delta.content ?? "";
  turn.finish = chunk.choices[0]?.finish_reason ?? turn.finish;
  turn.usage = chunk.usage ?? turn.usage;
}

async function stream({ turn, view }, signal) {
  const request = { ...options.request(), messages: messages(turns.map(entry => entry.turn), options.instructions()) };
  const since = performance.now();
  let frame = 0;
  if (model) request.model = model;
  try {
    for await (const chunk of chat(request, signal)) {
      take(turn, chunk, since);
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        keepInView(view.draw);
      });
    }
  } finally {
    cancelAnimationFrame(frame);
  }
}

// A key that was wrong is asked for until it is right or the dialog is left.
async function streamWithKey(entry, signal) {
  for (;;) {
    try {
      return await stream(entry, signal);
    } catch (problem) {
      if (problem.status !== 401 || !(await askKey())) throw problem;
      if (!model) greet();
    }
  }
}

async function answer(entry) {
  const { turn, view } = entry, own = new AbortController();
  running = own;
  showRunning();
  keepInView(view.draw);
  scroll.scrollTop = scroll.scrollHeight;
  store();
  say("The model is answering");
  try {
    await streamWithKey(entry, own.signal);
    turn.state = "done";
  } catch (problem) {
    turn.state = own.signal.aborted ? "stopped" : "failed";
    if (!own.signal.aborted)
      turn.error = problem instanceof Failure ? { words: problem.message, detail: problem.detail } : { words: "This page met an error of its own.", detail: String(problem) };
  }
  if (running === own) running = null;
  showRunning();
  keepInView(view.draw);
  // Not after "New chat" has taken it away.
  if (turns.includes(entry)) {
    store();
    say(turn.error?.words ?? (turn.state === "stopped" ? "Stopped" : "The answer is complete"));
  }
}

// ---- asking ---------------------------------------------------------------------------------------------------------------

// The button keeps its place in the order of focus: it sends, or stops.
function showRunning() {
  send.textContent = running ? "Stop" : "Send";
  send.classList.toggle("stop", !!running);
  $("hint").textContent = touch.matches ? "" : running ? "Esc stops the answer." : "Enter sends, Shift+Enter begins a new line.";
}

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

function ask() {
  const text = question.value.trim(), wrong = options.wrong();
  if (running || !text) return;
  if (wrong) {
    openPanel();
    options.show(wrong);
    return;
  }
  question.value = "";
  fit();
  answer(add(newTurn(text)));
}

$("composer").addEventListener("submit", event => {
  event.preventDefault();
  if (running) running.abort();
  else ask();
});
question.addEventListener("input", fit);
question.addEventListener("keydown", event => {
  // While a word is being composed, Enter chooses it. On a phone it is the only way to a new line.
  if (event.key !== "Enter" || event.isComposing) return;
  if (event.shiftKey || (touch.matches && !event.ctrlKey && !event.metaKey)) return;
  event.preventDefault();
  ask();
});
$("new-chat").addEventListener("click", newChat);

// ---- copying --------------------------------------------------------------------------------------------------------------

// Outside https and localhost a browser has no clipboard for pages; the old way still works there.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}

$("turns").addEventListener("click", async event => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const done = await copy(button.dataset.copy);
  button.textContent = done ? "Copied" : "Not copied";
  say(button.textContent);
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

// ---- the panel: beside the conversation, or on a small screen over it ---------------------------------------------------------

function showPanel(open) {
  const over = open && !wide.matches;
  document.body.classList.toggle("panel-open", over);
  panelButton.setAttribute("aria-expanded", String(over));
  document.querySelector("main").inert = document.querySelector("header").inert = over;
}

function openPanel() {
  if (wide.matches) return;
  showPanel(true);
  $("panel-close").focus();
}

function closePanel() {
  showPanel(false);
  panelButton.focus();
}

panelButton.addEventListener("click", openPanel);
$("panel-close").addEventListener("click", closePanel);
wide.addEventListener("change", () => showPanel(false));
touch.addEventListener("change", showRunning);

document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || event.isComposing || $("key-dialog").open) return;
  if (document.body.classList.contains("panel-open")) closePanel();
  else running?.abort();
});

// ---- beginning ------------------------------------------------------------------------------------------------------------

async function greet() {
  try {
    const [first] = await models();
    model = first.id;
    $("model").textContent = model;
    document.title = `${model} - gptoss-tp`;
  } catch (problem) {
    if (problem.status === 401 && (await askKey())) await greet();
  }
}

restore();
showRunning();
fit();
greet();
watchLoad($("load"), $("strip"));
