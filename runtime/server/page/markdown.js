// Markdown as models write it, made into elements. Text only ever becomes text nodes, and an address only a link to http, https or mailto, so nothing
// that a model says can be markup or run. What is not known (HTML, pictures, formulas) is shown as it was written.

const MAX_DEPTH = 8; // lists in lists, quotes in quotes

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// ---- inline ---------------------------------------------------------------------------------------------------------------

const isWord = c => c !== undefined && /[\p{L}\p{N}]/u.test(c);
const isSpace = c => c === undefined || /\s/.test(c);

function safeAddress(text) {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(text).protocol) ? text : null;
  } catch {
    return null;
  }
}

function link(address, label, depth) {
  const a = element("a", { href: address, target: "_blank", rel: "noopener noreferrer" });
  if (depth < MAX_DEPTH) inline(label, a, depth + 1, true);
  else a.append(label);
  return a;
}

// Each takes the text and a place in it, and gives [node, end], or null. `missing` remembers marks that do not come again, so that a text full of
// opened ones is not searched to its end for each.
function code(text, at, missing) {
  let run = at;
  while (text[run] === "`") run++;
  const mark = text.slice(at, run);
  if (missing.has(mark)) return [mark, run];
  for (let end = text.indexOf(mark, run); end >= 0; ) {
    let after = end;
    while (text[after] === "`") after++;
    if (after - end === mark.length) {
      const inside = text.slice(run, end);
      const padded = /^ .*[^ ].* $/s.test(inside);
      return [element("code", {}, padded ? inside.slice(1, -1) : inside), after];
    }
    end = text.indexOf(mark, after);
  }
  missing.add(mark);
  return [mark, run];
}

const EMPHASES = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

function emphasis(text, at, missing, depth) {
  for (const [mark, name] of EMPHASES) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (missing.has(mark) || depth >= MAX_DEPTH || isSpace(text[start]) || (mark[0] === "_" && isWord(text[at - 1]))) return [mark, start];
    for (let end = text.indexOf(mark, start + 1); end >= 0; end = text.indexOf(mark, end + mark.length)) {
      // A single mark does not close at a double one; an underscore inside a word is none.
      if (mark.length === 1 && text[end + 1] === mark && text[end + 2] !== mark) {
        end++;
        continue;
      }
      if (isSpace(text[end - 1]) || (mark[0] === "_" && isWord(text[end + mark.length]))) continue;
      const made = element(name);
      inline(text.slice(start, end), made, depth + 1);
      return [made, end + mark.length];
    }
    missing.add(mark);
    return [mark, start];
  }
  return null;
}

const LINK = /\[((?:[^\[\]\\]|\\.){1,500})\]\(\s*<?([^\s<>]{1,2000}?)>?(?:\s+"[^"]{0,500}")?\s*\)/y;
const BARE = /https?:\/\/[^\s<>"'`]{1,2000}/y;

function address(text, at, depth) {
  if (text[at] === "[") {
    LINK.lastIndex = at;
    const found = LINK.exec(text);
    const safe = found && safeAddress(found[2]);
    return safe ? [link(safe, found[1], depth), LINK.lastIndex] : null;
  }
  if (isWord(text[at - 1])) return null;
  BARE.lastIndex = at;
  const found = BARE.exec(text);
  if (!found) return null;
  let shown = found[0].replace(/[.,;:!?*_]+$/, "");
  if (shown.endsWith(")") && !shown.includes("(")) shown = shown.slice(0, -1);
  const safe = safeAddress(shown);
  return safe ? [element("a", { href: safe, target: "_blank", rel: "noopener noreferrer" }, shown), at + shown.length] : null;
}

// Appends the text to `parent`. Backslashes before brackets stay, because there they begin formulas.
function inline(text, parent, depth = 0, inLink = false) {
  const missing = new Set();
  let plain = 0, at = 0;
  const take = (node, end) => {
    if (at > plain) parent.append(text.slice(plain, at));
    parent.append(node);
    plain = at = end;
  };
  while (at < text.length) {
    const c = text[at];
    let found = null;
    if (c === "`") found = code(text, at, missing);
    else if (c === "\\" && /[!-'*-/:-@^-`{-~]/.test(text[at + 1] ?? "")) found = [text[at + 1], at + 2];
    else if (c === "*" || c === "_" || c === "~") found = emphasis(text, at, missing, depth);
    else if (!inLink && (c === "[" || c === "h")) found = address(text, at, depth);
    else if (c === "<" && /^<br ?\/?>/i.test(text.slice(at, at + 6))) found = [element("br"), text.indexOf(">", at) + 1];
    if (found) take(...found);
    else at++;
  }
  if (at > plain) parent.append(text.slice(plain));
}

// ---- blocks ---------------------------------------------------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:\s+|$)/;
const DASHES = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const isBlank = line => !line.trim();
const isTable = (lines, i) => lines[i].includes("|") && lines[i + 1]?.includes("|") && DASHES.test(lines[i + 1]);
const begins = (lines, i) => [FENCE, HEADING, RULE, QUOTE].some(kind => kind.test(lines[i])) || ITEM.test(lines[i]) || isTable(lines, i);

function endOfFence(lines, i) {
  const [, mark] = FENCE.exec(lines[i]);
  const closes = new RegExp(`^ {0,3}${mark[0]}{${mark.length},}\\s*$`);
  for (i++; i < lines.length; i++) if (closes.test(lines[i])) return i + 1;
  return i;
}

// A list goes on with items, with what is indented, and over blank lines before either.
function endOfList(lines, i) {
  const numbered = /\d/.test(ITEM.exec(lines[i])[2]), base = ITEM.exec(lines[i])[1].length;
  for (i++; i < lines.length; i++) {
    let next = i;
    while (next < lines.length && isBlank(lines[next])) next++;
    if (next === lines.length) return i;
    const item = ITEM.exec(lines[next]), indented = /^(\t| {2,})/.test(lines[next]);
    if (item && item[1].length <= base + 1 && /\d/.test(item[2]) !== numbered) return i;
    if (RULE.test(lines[next]) || (!item && !indented && (next > i || begins(lines, next)))) return i;
    i = next;
    if (FENCE.test(lines[i])) i = endOfFence(lines, i) - 1;
  }
  return i;
}

// The text as [kind, lines] in order.
function split(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n"), out = [];
  for (let i = 0, end; i < lines.length; i = end) {
    end = i + 1;
    if (isBlank(lines[i])) continue;
    let kind = "paragraph";
    const on = test => {
      while (end < lines.length && test(end)) end++;
    };
    if (FENCE.test(lines[i])) [kind, end] = ["fence", endOfFence(lines, i)];
    else if (HEADING.test(lines[i])) kind = "heading";
    else if (RULE.test(lines[i])) kind = "rule";
    else if (QUOTE.test(lines[i])) (kind = "quote"), on(k => QUOTE.test(lines[k]));
    else if (isTable(lines, i)) (kind = "table"), on(k => lines[k].includes("|"));
    else if (ITEM.test(lines[i])) [kind, end] = ["list", endOfList(lines, i)];
    else on(k => !isBlank(lines[k]) && !begins(lines, k));
    out.push([kind, lines.slice(i, end)]);
  }
  return out;
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map(cell => cell.trim().replace(/\\\|/g, "|"));
}

const sideOf = dashes => (/^:.*:$/.test(dashes) ? "center" : dashes.endsWith(":") ? "right" : "");

// `sides` has one entry for each column of the head; a row that has more cells keeps them.
function row(name, texts, sides) {
  const made = element("tr");
  for (let i = 0; i < Math.max(sides.length, texts.length); i++) {
    const cell = element(name);
    cell.style.textAlign = sides[i] ?? "";
    inline(texts[i] ?? "", cell);
    made.append(cell);
  }
  return made;
}

function list(lines, depth) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const numbered = /\d/.test(mark), made = element(numbered ? "ol" : "ul");
  if (numbered) made.start = parseInt(mark, 10);
  const items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length <= indent.length + 1) items.push({ width: found[0].length, lines: [line.slice(found[0].length)] });
    else items.at(-1).lines.push(line.slice(Math.min(items.at(-1).width, line.match(/^\s*/)[0].length)));
  }
  for (const item of items) {
    const li = element("li"), parts = split(item.lines.join("\n"));
    // The usual item is one line: as a paragraph it would stand apart.
    parts.forEach(([kind, own], i) => (!i && kind === "paragraph" ? inline(own.join("\n"), li) : li.append(block(kind, own, depth + 1))));
    made.append(li);
  }
  return made;
}

const BLOCKS = {
  paragraph(lines) {
    const p = element("p");
    inline(lines.join("\n").trim(), p);
    return p;
  },
  heading(lines) {
    const [, mark, text] = HEADING.exec(lines[0]);
    // The page itself has h1 and h2.
    const h = element(`h${Math.min(6, mark.length + 2)}`);
    inline(text, h);
    return h;
  },
  rule: () => element("hr"),
  fence(lines) {
    const [, mark, language] = FENCE.exec(lines[0]);
    const closed = lines.length > 1 && lines.at(-1).trim().startsWith(mark);
    const text = lines.slice(1, closed ? -1 : undefined).join("\n");
    const copy = element("button", { type: "button", className: "copy", textContent: "Copy" });
    copy.dataset.copy = text;
    copy.setAttribute("aria-label", "Copy code");
    const pre = element("pre", { tabIndex: 0 }, element("code", {}, text));
    return element("figure", { className: "code" }, element("figcaption", {}, element("span", {}, language.trim() || "text"), copy), pre);
  },
  quote(lines, depth) {
    const made = element("blockquote");
    for (const [kind, own] of split(lines.map(line => line.replace(QUOTE, "")).join("\n"))) made.append(block(kind, own, depth + 1));
    return made;
  },
  table(lines) {
    const head = cells(lines[0]), dashes = cells(lines[1]), sides = head.map((_, i) => sideOf(dashes[i] ?? "")), body = element("tbody");
    for (const line of lines.slice(2)) body.append(row("td", cells(line), sides));
    const made = element("table", {}, element("thead", {}, row("th", head, sides)), body);
    return element("div", { className: "table", tabIndex: 0 }, made);
  },
  list,
};

function block(kind, lines, depth) {
  if (depth > MAX_DEPTH) return element("p", {}, lines.join("\n"));
  return BLOCKS[kind](lines, depth);
}

// Shows a text that grows: show(text) makes anew only the blocks that have changed, so that a selection in the others stays.
export function markdownView(parent) {
  let shown = [];
  return text => {
    const wanted = split(text).map(([kind, lines]) => ({ kind, lines, source: `${kind}\n${lines.join("\n")}` }));
    wanted.forEach((w, i) => {
      if (shown[i]?.source === w.source) {
        w.node = shown[i].node;
        return;
      }
      w.node = block(w.kind, w.lines, 0);
      if (shown[i]) shown[i].node.replaceWith(w.node);
      else parent.append(w.node);
    });
    for (const old of shown.slice(wanted.length)) old.node.remove();
    shown = wanted;
  };
}
