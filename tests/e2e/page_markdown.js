// Run by test_page.py inside the page. Random texts of marks and letters, whole and growing; then texts that make a careless parser slow.
const done = arguments[arguments.length - 1];
(async () => {
  const {markdownView} = await import("/page/markdown.js");
  const marks = ["*", "**", "_", "__", "~~", "`", "```", "\n", "\n\n", "    ", "  ", " ", "- ", "1. ", "> ", "# ", "|", "\n|-|-|\n", "[", "](", ")", "https://", "\\", "<", "<br>", "~~~", "---"];
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const allowed = new Set("P H3 H4 H5 H6 HR UL OL LI BLOCKQUOTE FIGURE FIGCAPTION SPAN BUTTON PRE CODE DIV TABLE THEAD TBODY TR TH TD STRONG EM DEL A BR".split(" "));
  let state = 1, faults = [];
  const draw = n => (state = (state * 48271) % 2147483647) % n;  // minimal standard generator (Park and Miller 1988)
  const make = text => { const e = document.createElement("div"); markdownView(e)(text); return e; };
  const words = e => { const c = e.cloneNode(true); c.querySelectorAll("button, figcaption").forEach(x => x.remove()); return c.textContent.replace(/[^a-z]/g, ""); };
  for (let run = 0; run < 3000; run++) {
    let text = "", growing = document.createElement("div"), view = markdownView(growing);
    for (let i = draw(40); i >= 0; i--) {
      text += draw(3) ? marks[draw(marks.length)] : letters[draw(26)] + letters[draw(26)];
      view(text);
    }
    const whole = make(text);
    if (growing.innerHTML !== whole.innerHTML) faults.push(["grows otherwise", text]);
    if ([...whole.querySelectorAll("*")].some(e => !allowed.has(e.tagName))) faults.push(["element", text]);
    if ([...whole.querySelectorAll("a")].some(a => !/^(https?|mailto):$/.test(a.protocol))) faults.push(["link", text]);
    // A fence's words are its label, a link's address is no text, and <br> is a line's end: elsewhere every letter is there, in order.
    if (!/```|~~~|https|<br>/.test(text) && words(whole) !== text.replace(/[^a-z]/g, "")) faults.push(["lost", text, whole.innerHTML]);
  }
  for (const text of ["**a ", "*a* **b ", "[", "[a](", "`", "` ``", "_a ", "> ", "- a\n", "  - a\n", "|a", "|a|\n|-|\n", "https://", "<", "\\", "~~a ", "a_", "((", "1. \n\n"].map(s => s.repeat(20000 / s.length))) {
    const began = performance.now();
    make(text);
    if (performance.now() - began > 1500) faults.push(["slow", text.slice(0, 8), performance.now() - began]);
  }
  return faults.slice(0, 5);
})().then(done, e => done([String(e)]));
