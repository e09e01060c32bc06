// How busy the server is, from its figures for Prometheus, asked for each second while somebody can see them.
import { metrics } from "./api.js";
import { element } from "./markdown.js";
import { memoryView, readMemory } from "./memory.js";

const SAMPLES = 120; // two minutes
const RATE_SAMPLES = 3; // rates are means of as many seconds, so that they can be read
const SVG = "http://www.w3.org/2000/svg";

// Values by name; those that differ only in labels are added up.
export function parseMetrics(text) {
  const out = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)/.exec(line);
    if (found) out.set(found[1], (out.get(found[1]) ?? 0) + Number(found[2]));
  }
  return out;
}

const NONE = "\u2013";
const count = n => Math.round(n).toLocaleString("en");
const rate = n => (n >= 10 || n === 0 ? count(n) : n.toFixed(1));
const percent = share => `${share > 0 && share < 0.1 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;
const duration = seconds => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);

const last = (samples, name) => samples.at(-1).values.get(name) ?? 0;

// How much a counter grew over the last `n` samples, and in how many seconds. One that began anew with its server counts from there.
function growth(samples, name, n) {
  const recent = samples.slice(-n - 1);
  let grown = 0;
  for (let i = 1; i < recent.length; i++) {
    const step = (recent[i].values.get(name) ?? 0) - (recent[i - 1].values.get(name) ?? 0);
    if (step > 0) grown += step;
  }
  return { grown, seconds: (recent.at(-1).at - recent[0].at) / 1000 };
}

function perSecond(samples, name, n = RATE_SAMPLES) {
  const { grown, seconds } = growth(samples, name, n);
  return seconds > 0 ? grown / seconds : 0;
}

function firstToken(samples) {
  const name = "vllm:time_to_first_token_seconds";
  const n = growth(samples, `${name}_count`, SAMPLES).grown;
  return n ? duration(growth(samples, `${name}_sum`, SAMPLES).grown / n) : NONE;
}

function prefixHits(samples) {
  const asked = last(samples, "vllm:prefix_cache_queries_total");
  return asked ? percent(last(samples, "vllm:prefix_cache_hits_total") / asked) : NONE;
}

const TILES = [
  { id: "running", label: "Running", show: s => count(last(s, "vllm:num_requests_running")) },
  { id: "waiting", label: "Waiting", show: s => count(last(s, "vllm:num_requests_waiting")) },
  { id: "generated", label: "Tokens/s", show: s => rate(perSecond(s, "vllm:generation_tokens_total")) },
  { id: "prompt", label: "Prompt tokens/s", show: s => rate(perSecond(s, "vllm:prompt_tokens_total")) },
  { id: "first", label: "First token after", show: firstToken },
  { id: "prefix", label: "Prefix cache hits", show: prefixHits },
];

function chart() {
  const svg = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "polyline");
  svg.setAttribute("viewBox", `0 0 ${SAMPLES - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the figures say the same
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(line);
  const words = element("figcaption", { className: "quiet" });
  return {
    node: element("figure", { className: "chart" }, svg, words),
    draw(samples) {
      const rates = samples.slice(1).map((_, i) => perSecond(samples.slice(0, i + 2), "vllm:generation_tokens_total", 1));
      const most = Math.max(1, ...rates);
      const x = i => SAMPLES - rates.length + i - 1;
      line.setAttribute("points", rates.map((r, i) => `${x(i)},${(98 - (96 * r) / most).toFixed(1)}`).join(" "));
      words.textContent = `Tokens/s in the last two minutes, at most ${rate(Math.max(0, ...rates))}`;
    },
  };
}

function kvBar() {
  const fill = element("div", { className: "fill" }), bar = element("div", { className: "bar" }, fill), words = element("span", { id: "load-kv" });
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", "KV cache in use");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  return {
    node: element("div", { className: "kv" }, element("p", {}, element("span", { className: "quiet" }, "KV cache"), words), bar),
    draw(samples) {
      const share = Math.min(1, last(samples, "vllm:kv_cache_usage_perc"));
      fill.style.width = `${100 * share}%`;
      bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
      words.textContent = `${percent(share)} of ${count(last(samples, "vllm:kv_cache_tokens"))} tokens`;
    },
  };
}

// Shows the load in `section`, and in a few words in `strip`.
export function watchLoad(section, strip) {
  const tiles = element("dl", { className: "tiles" }), graph = chart(), kv = kvBar(), memory = memoryView(), trouble = element("p", { className: "trouble", hidden: true });
  const figures = TILES.map(({ id, label }) => {
    const value = element("dd", { id: `load-${id}` }, NONE);
    tiles.append(element("div", {}, element("dt", { className: "quiet" }, label), value));
    return value;
  });
  section.append(trouble, tiles, kv.node, graph.node, memory.node);
  let samples = [];

  function draw() {
    TILES.forEach(({ show }, i) => (figures[i].textContent = show(samples)));
    kv.draw(samples);
    graph.draw(samples);
    const [running, waiting, generated] = figures.map(figure => figure.textContent);
    strip.textContent = `${running} running, ${waiting} waiting, ${generated} tokens/s`;
  }

  async function look() {
    try {
      const text = await metrics();
      samples = [...samples, { at: performance.now(), values: parseMetrics(text) }].slice(-SAMPLES);
      trouble.hidden = true;
      section.classList.remove("stale");
      draw();
      memory.draw(readMemory(text));
    } catch (problem) {
      trouble.textContent = strip.textContent = problem.status ? `No figures: ${problem.message}` : "The server cannot be reached.";
      trouble.hidden = false;
      section.classList.add("stale");
    }
  }

  async function goOn() {
    if (!document.hidden) await look();
    setTimeout(goOn, 1000);
  }
  goOn();
}
