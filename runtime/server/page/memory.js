// The memory of each rank's device: how much is used, and what of it is this program's.
import { element } from "./markdown.js";

const SCROLLS = 5; // more ranks than this are a list that scrolls
const PARTS = [
  { key: "weights", label: "weights" },
  { key: "kv_cache", label: "KV cache" },
  { key: "other", label: "other" },
];

// {device, used, total, weights, kv_cache} of each rank that tells, by its number.
export function readMemory(text) {
  const ranks = new Map();
  for (const [, name, labels, value] of text.matchAll(/^vllm:device_memory_(\w+)_bytes\{(.*)\} (\S+)$/gm)) {
    const found = /rank="(\d+)",device="([^"]*)"/.exec(labels);
    if (!found) continue;
    const rank = Number(found[1]);
    if (!ranks.has(rank)) ranks.set(rank, { device: found[2] });
    ranks.get(rank)[name] = Number(value);
  }
  return ranks;
}

const figure = n => (n >= 100 || n === 0 ? Math.round(n).toLocaleString("en") : n.toFixed(1));
const bytes = n => (n >= 1e9 ? `${figure(n / 1e9)} GB` : `${figure(n / 1e6)} MB`);
// Beside a figure of `whole`, whose unit need not be said again.
const bytesOf = (n, whole) => (whole >= 1e9 && n >= 1e8 ? figure(n / 1e9) : bytes(n));

// What is used, part by part. On the CPU weights and cache are memory only where they were touched: then there is one part, of everything.
function partsOf(rank) {
  const other = rank.used - rank.weights - rank.kv_cache;
  return other >= 0 ? { ...rank, other } : { weights: 0, kv_cache: 0, other: rank.used };
}

function rankView(number) {
  const words = element("span", {}), parts = element("p", { className: "parts quiet" }), bar = element("div", { className: "bar" });
  const fills = PARTS.map(({ key }) => element("div", { className: `fill ${key}` }));
  const name = element("span", { className: "quiet" });
  bar.append(...fills);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", `Memory of rank ${number}`);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  return {
    node: element("li", {}, element("p", {}, name, words), bar, parts),
    draw(rank) {
      const split = partsOf(rank), inside = split.weights + split.kv_cache > 0;
      name.textContent = `Rank ${number}, ${rank.device}`;
      words.textContent = `${bytesOf(rank.used, rank.total)} of ${bytes(rank.total)}`;
      PARTS.forEach(({ key }, i) => (fills[i].style.width = `${(100 * split[key]) / rank.total}%`));
      bar.setAttribute("aria-valuenow", String(Math.round((100 * rank.used) / rank.total)));
      if (inside) parts.replaceChildren(...PARTS.map(({ key, label }) => element("span", { className: `part ${key}` }, `${label} ${bytesOf(split[key], rank.total)}`)));
      else parts.textContent = `at most ${bytes(rank.weights)} for weights, ${bytes(rank.kv_cache)} for the KV cache`;
    },
  };
}

// A list that is as long as there are ranks to tell of; hidden without any.
export function memoryView() {
  const list = element("ol", {}), node = element("section", { className: "memory", hidden: true }, element("h3", {}, "Memory"), list);
  node.setAttribute("aria-label", "Memory of the devices");
  const views = new Map();
  return {
    node,
    draw(ranks) {
      for (const [number, view] of views) {
        if (ranks.has(number)) continue;
        view.node.remove();
        views.delete(number);
      }
      for (const [number, rank] of ranks) {
        if (!views.has(number)) views.set(number, rankView(number));
        views.get(number).draw(rank);
      }
      const order = [...views.keys()].sort((a, b) => a - b).map(number => views.get(number).node);
      if (order.some((row, i) => list.children[i] !== row)) list.replaceChildren(...order);
      const long = order.length > SCROLLS;
      list.classList.toggle("long", long);
      if (long) list.tabIndex = 0; // keys can scroll it
      else list.removeAttribute("tabindex");
      node.hidden = order.length === 0;
    },
  };
}
