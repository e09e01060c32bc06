// One question and its answer: the record that is kept, and how it looks.
import { element, markdownView } from "./markdown.js";

// state: "running", then "done", "stopped" (by the user), "left" (the page went away) or "failed".
export const newTurn = question => ({ question, state: "running", reasoning: "", content: "", finish: "", error: null, seconds: null, usage: null });

export function beginAgain(turn) {
  Object.assign(turn, newTurn(turn.question));
}

// What the model is told of the conversation: turns that gave an answer, and the last question.
export function messages(turns, instructions) {
  const out = instructions ? [{ role: "system", content: instructions }] : [];
  turns.forEach((turn, i) => {
    const isLast = i === turns.length - 1;
    if (!isLast && !turn.content) return;
    out.push({ role: "user", content: turn.question });
    if (!isLast) out.push({ role: "assistant", content: turn.content });
  });
  return out;
}

function note(turn) {
  if (turn.state === "stopped") return "Stopped.";
  if (turn.state === "left") return "The page was left before the answer was complete.";
  if (turn.finish === "length") return "Cut off: the answer reached the longest length allowed.";
  if (turn.finish === "tool_calls") return "The model wanted to call a function. This page has none.";
  if (turn.state === "done" && !turn.content) return "The model ended without an answer.";
  return "";
}

const seconds = s => (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";

function figures(turn) {
  const { usage, seconds: times } = turn;
  if (!usage || !times) return "";
  const out = [`${usage.completion_tokens.toLocaleString("en")} tokens`], thought = usage.completion_tokens_details?.reasoning_tokens;
  if (thought) out.push(`${thought} of them reasoning`);
  const rate = (usage.completion_tokens - 1) / (times.end - times.first);
  if (usage.completion_tokens > 1 && Number.isFinite(rate)) out.push(`${rate >= 10 ? Math.round(rate).toLocaleString("en") : rate.toFixed(1)} tokens/s`);
  out.push(`first after ${times.first < 1 ? `${Math.round(1000 * times.first)} ms` : seconds(times.first)}`);
  return out.join(", ");
}

function thinking(turn) {
  if (turn.state === "running" && !turn.content) return "Thinking…";
  return turn.seconds?.answer ? `Thought for ${seconds(turn.seconds.answer - turn.seconds.first)}` : "Reasoning";
}

const button = (className, text) => element("button", { type: "button", className }, text);

// The look of a turn. `again` is called by its button.
export function turnView(turn, again) {
  const thought = document.createTextNode(""), summary = element("summary"), words = element("div", { className: "thought", tabIndex: 0 }, thought);
  const reasoning = element("details", { className: "reasoning", hidden: true }, summary, words);
  const text = element("div", { className: "text" }), show = markdownView(text);
  const waiting = element("p", { className: "waiting quiet" }, "Waiting for the model…");
  const remark = element("p", { className: "note quiet" }), trouble = element("p", { className: "trouble" }), detail = element("p", { className: "quiet detail" });
  const copy = button("copy", "Copy"), retry = button("again", "Try again"), facts = element("span", { className: "figures quiet" });
  copy.setAttribute("aria-label", "Copy answer");
  retry.addEventListener("click", again);
  const answer = element("article", { className: "answer" }, reasoning, waiting, text, remark, trouble, detail,
    element("div", { className: "row foot" }, copy, retry, facts));
  answer.setAttribute("aria-label", "Answer");
  const asked = element("article", { className: "question" }, turn.question);
  asked.setAttribute("aria-label", "You");
  const node = element("li", { className: "turn" }, asked, answer);

  return {
    node,
    // Only what has come is added to the reasoning, so that it can be read and selected meanwhile.
    draw() {
      const runs = turn.state === "running";
      node.dataset.state = turn.state;
      answer.setAttribute("aria-busy", String(runs));
      if (!turn.reasoning.startsWith(thought.data)) thought.data = "";
      if (turn.reasoning.length > thought.length) thought.appendData(turn.reasoning.slice(thought.length));
      reasoning.hidden = !turn.reasoning;
      summary.textContent = thinking(turn);
      show(turn.content);
      waiting.hidden = !runs || !!turn.reasoning || !!turn.content;
      remark.textContent = note(turn);
      remark.hidden = !remark.textContent;
      trouble.textContent = turn.error?.words ?? "";
      detail.textContent = turn.error?.detail ?? "";
      trouble.hidden = !turn.error;
      detail.hidden = !turn.error?.detail;
      copy.dataset.copy = turn.content;
      copy.hidden = runs || !turn.content;
      retry.hidden = runs || turn.state === "done";
      facts.textContent = figures(turn);
    },
  };
}
