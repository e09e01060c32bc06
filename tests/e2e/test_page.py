"""The page at / in headless Chromium, as a person uses it: over the trained tiny model, and over the fake engine where what is said must be known.

GPTOSS_LONG=1 runs it. It needs Debian's chromium and chromium-driver and what tests/requirements-long.txt names. With GPTOSS_SCREENSHOTS=FOLDER it also
leaves pictures there.
"""
import os
import pathlib
import re
import shutil
import sys

import pytest

from conftest import ROOT, Server, wait_until

if os.environ.get("GPTOSS_LONG") != "1":
    pytest.skip("GPTOSS_LONG=1 runs it: a browser, a minute", allow_module_level=True)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    pytest.skip("Debian's chromium and chromium-driver are not installed", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

sys.path.append(str(ROOT / "tests" / "server"))
from fake import FakeServer  # noqa: E402

PICTURES = os.environ.get("GPTOSS_SCREENSHOTS")
DESKTOP, PHONE = (1280, 800), (360, 740)
WIDE = "x" * 300
MARKDOWN = f"""# Title
Some **bold**, *slanted* and `code <b>`; snake_case_name stays, 2 * 3 * 4 too.

- one
- two
  - inside
1. first

```python
print("{WIDE}")
```

| name | {"n" * 60} | {"m" * 60} |
| --- | ---: | :-: |
| a | **b** | c \\| d |

> quoted

<img src=x onerror="window.broken = 1"> <script>window.broken = 2</script>
[bad](javascript:window.broken=3) [good](https://example.com/a_b_c) https://example.com/path. {WIDE}
"""


class Page:
    """A browser that shows the page, and what a test asks of it."""

    def __init__(self, url, size=DESKTOP, scheme="light"):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        phone = size == PHONE
        self.command("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.scheme(scheme)
        self.url = url
        self.driver.get(url + "/")
        assert wait_until(lambda: self.run("return document.querySelector('#load-running')?.textContent === '0'") or self.one("#key-dialog").is_displayed(), 15)

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, *keys):
        """Keys go to whatever has the focus."""
        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def focus(self):
        return self.run("const e = document.activeElement; return e.id || e.className || e.tagName")

    def tab_to(self, name, back=False):
        for _ in range(60):
            if self.focus() == name:
                return
            if back:
                ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
            else:
                self.press(Keys.TAB)
        raise AssertionError(f"Tab does not come to {name}")

    def begin(self, question):
        self.one("#question").send_keys(question, Keys.CONTROL + Keys.ENTER)

    def state(self):
        return self.run("return document.querySelector('.turn:last-child')?.dataset.state")

    def settle(self, seconds=30):
        assert wait_until(lambda: self.state() not in (None, "running"), seconds), self.text()
        return self.state()

    def ask(self, question):
        """The last answer's text, once it is complete."""
        n = len(self.all(".turn"))
        self.begin(question)
        assert wait_until(lambda: len(self.all(".turn")) == n + 1)
        assert self.settle() == "done", self.text()
        return self.run("return document.querySelector('.turn:last-child .text').innerText")

    def text(self):
        return self.run("return document.querySelector('#turns').innerText")

    def picture(self, name):
        if PICTURES:
            self.driver.save_screenshot(str(pathlib.Path(PICTURES) / f"{name}.png"))

    def complaints(self, but=()):
        return [e["message"] for e in self.driver.get_log("browser") if not any(word in e["message"] for word in but)]

    def fits(self):
        """Nothing but code and tables scrolls sideways."""
        return self.run("return [document.documentElement, ...document.querySelectorAll('#scroll, main, aside, header')]"
                        ".every(e => e.scrollWidth <= e.clientWidth) && innerWidth === document.documentElement.clientWidth")


@pytest.fixture
def show():
    """show(url, size, scheme): a Page, closed after the test."""
    pages = []

    def begin(*arguments, **named):
        pages.append(Page(*arguments, **named))
        return pages[-1]

    yield begin
    for page in pages:
        page.driver.quit()


@pytest.fixture(scope="module")
def tiny():
    server = Server(1, ROOT / "tests" / "data" / "tiny")
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0, server.text()


@pytest.fixture(scope="module")
def fake_shared():
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def fake(fake_shared):
    fake_shared.order(set={"scripts": [], "interval_ms": 0, "repeat": False, "max_queue": 1024, "memory": []}, forget=True)
    return fake_shared


# ---- over the tiny model --------------------------------------------------------------------------------------------------

# Lengths that reasoning and answer had while they grew.
WATCH = """window.seen = {thought: new Set(), text: new Set()};
new MutationObserver(() => {
  for (const part of ["thought", "text"]) {
    const e = document.querySelector(".turn:last-child ." + part);
    if (e && document.querySelector(".turn:last-child").dataset.state === "running") seen[part].add(e.textContent.length);
  }
}).observe(document.getElementById("turns"), {childList: true, subtree: true, characterData: true});"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_answer_streams_and_reasoning_is_folded(show, tiny, scheme):
    page = show(tiny.url, scheme=scheme)
    assert page.one("#model").text == "tiny"
    page.run(WATCH)
    assert page.ask("What is 47 + 46?") == "47 + 46 = 93."
    for part in ("thought", "text"):
        assert page.run(f"return seen.{part}.size") >= 4, f"{part} came in one piece"
    reasoning, thought = page.one(".reasoning"), page.one(".thought")
    assert not reasoning.get_property("open") and not thought.is_displayed()
    assert page.one(".reasoning summary").text.startswith("Thought for")
    assert re.fullmatch(r"\d+ tokens, \d+ of them reasoning, \S+ tokens/s, first after \S+ m?s", page.one(".figures").text)
    assert "Hello Nina" in page.ask("Hello! I am Nina.")
    page.ask("Spell spoon backwards.")
    page.all(".reasoning summary")[0].click()
    assert thought.is_displayed() and len(thought.text) > 10
    page.picture(f"desktop-{scheme}")
    assert page.complaints() == []


def test_earlier_turns_are_told(show, tiny):
    page = show(tiny.url)
    page.ask("Hello! I am Nina.")
    assert "Nina" in page.ask("What is my name?")
    page.driver.refresh()
    assert wait_until(lambda: len(page.all(".turn")) == 2)
    page.one("#new-chat").click()
    assert not page.all(".turn") and page.one("#welcome").is_displayed()
    assert "Nina" not in page.ask("What is my name?")


def test_keyboard_alone(show, tiny):
    page = show(tiny.url)
    assert page.focus() == "question"
    page.tab_to("effort-medium")
    page.press(Keys.ARROW_RIGHT)
    assert page.focus() == "effort-high" and page.one("#effort-high").is_selected()
    page.tab_to("question", back=True)
    page.press("Hello.")
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    page.press("Again.", Keys.ENTER)
    assert page.settle() == "done" and page.one(".question").text == "Hello.\nAgain."
    page.press("What is 15 plus 51?", Keys.ENTER)
    assert wait_until(lambda: len(page.all(".turn")) == 2)
    assert page.settle() == "done" and "66" in page.text()
    assert page.focus() == "question"
    page.tab_to("SUMMARY", back=True)
    page.press(Keys.ENTER)
    assert page.all(".thought")[-1].is_displayed()
    outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one must see where the focus is"
    page.tab_to("new-chat", back=True)
    page.press(Keys.ENTER)
    assert not page.all(".turn") and page.focus() == "question"
    assert page.complaints() == []


def test_phone(show, tiny):
    page = show(tiny.url, PHONE)
    assert page.fits()
    page.ask("What is 47 + 46?")
    assert page.fits() and not page.one("aside").is_displayed()
    assert re.fullmatch(r"\d+ running, \d+ waiting, \S+ tokens/s", page.one("#strip").text)
    page.picture("phone")
    page.one("#panel-button").click()
    assert page.one("aside").is_displayed() and page.fits() and page.focus() == "panel-close"
    page.one(".more summary").click()
    assert page.fits()
    page.picture("phone-panel")
    page.press(Keys.ESCAPE)
    assert not page.one("aside").is_displayed() and page.focus() == "panel-button"
    small = page.run("return [...document.querySelectorAll('header button, #send, summary')].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).length")
    assert small == 0, "too small for a finger"


def test_load_is_live(show, fake):
    fake.say(fake.answer("word " * 2000), interval_ms=10)
    page = show(fake.url)
    page.begin("go on")
    figure = lambda name: page.run(f"return document.getElementById('load-{name}').textContent")  # noqa: E731
    assert wait_until(lambda: figure("running") == "1" and float(figure("generated").replace(",", "")) > 20, 10)
    assert re.fullmatch(r"\S+ % of [\d,]+ tokens", figure("kv"))
    page.press(Keys.ESCAPE)
    assert wait_until(lambda: figure("running") == "0" and figure("generated") == "0", 10)
    assert page.run("return document.querySelector('.chart polyline').points.length") > 3


GPU = {"device": "cuda:0", "used": 71_250_000_000, "total": 85_000_000_000, "weights": 33_200_000_000, "kv_cache": 30_050_000_000}
MEMORY = """return [...document.querySelectorAll('.memory li')].map(row => ({
  text: row.innerText.split("\\n").filter(line => line), now: row.querySelector('.bar').ariaValueNow,
  widths: [...row.querySelectorAll('.fill')].map(fill => Math.round(1000 * fill.getBoundingClientRect().width / row.querySelector('.bar').clientWidth))}))"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_memory_of_each_rank(show, fake, size):
    """Bars as long as the figures say, that follow them; ranks that do not tell are not shown."""
    which = "phone" if size == PHONE else "desktop"
    page = show(fake.url, size)
    if size == PHONE:
        page.one("#panel-button").click()
    assert page.run("return document.querySelector('.memory').hidden") and not page.one(".memory").is_displayed()
    fake.order(set={"memory": [GPU, dict(GPU, device="cuda:1", used=70_000_000_000)]})
    assert wait_until(lambda: len(page.run(MEMORY)) == 2 and page.run(MEMORY)[0]["widths"][2] > 90)  # bars move
    first, second = page.run(MEMORY)
    assert first["text"] == ["Rank 0, cuda:0", "71.3 of 85.0 GB", "weights 33.2", "KV cache 30.1", "other 8.0"] and first["now"] == "84"
    assert first["widths"] == [391, 354, 94] and second["text"][:2] == ["Rank 1, cuda:1", "70.0 of 85.0 GB"] and second["text"][4] == "other 6.8"
    assert page.fits()
    page.one(".memory").location_once_scrolled_into_view
    page.picture(f"memory-2-{which}")
    fake.order(set={"memory": [None] + [dict(GPU, device=f"cuda:{i % 8}") for i in range(1, 64)]})
    assert wait_until(lambda: len(page.run(MEMORY)) == 63)
    assert [row["text"][0] for row in page.run(MEMORY)] == [f"Rank {i}, cuda:{i % 8}" for i in range(1, 64)], "in order"
    assert page.fits() and page.run("const l = document.querySelector('.memory ol'); return l.scrollHeight > l.clientHeight && l.clientHeight < 400")
    page.one(".memory").location_once_scrolled_into_view
    page.picture(f"memory-63-{which}")
    small = {"device": "cpu", "used": 310_000_000, "total": 900_000_000, "weights": 5_100_000, "kv_cache": 2_000_000_000}
    fake.order(set={"memory": [small]})
    assert wait_until(lambda: [row["text"] for row in page.run(MEMORY)] == [["Rank 0, cpu", "310 MB of 900 MB", "at most 5.1 MB for weights, 2.0 GB for the KV cache"]])
    assert wait_until(lambda: page.run(MEMORY)[0]["widths"] == [0, 0, 344])
    page.one(".memory").location_once_scrolled_into_view
    page.picture(f"memory-cpu-{which}")
    fake.order(set={"memory": []})
    assert wait_until(lambda: not page.one(".memory").is_displayed())
    assert page.complaints() == []


def test_memory_of_the_program(show, tiny):
    page = show(tiny.url)
    assert wait_until(lambda: page.run(MEMORY))
    text = page.run(MEMORY)[0]["text"]
    assert text[0] == "Rank 0, cpu" and re.fullmatch(r"[\d.]+ MB of [\d,.]+ GB", text[1])
    page.picture("memory-program")


def luminance(colour):
    """Relative luminance as WCAG 2 defines it, of "rgb(r, g, b)"."""
    parts = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


CONTRASTS = """const out = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest(".hidden, dialog, noscript, option")) continue;
  let back = e;
  while (back && getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
  out.push([walker.currentNode.data.trim(), getComputedStyle(e).color, getComputedStyle(back).backgroundColor]);
}
return out;"""


def test_light_and_dark(show, fake):
    fake.order(set={"memory": [GPU]})
    fake.say(fake.answer(MARKDOWN, reasoning="hm"))
    page = show(fake.url)
    page.ask("show all")
    for summary in page.all("summary"):
        summary.click()
    assert wait_until(lambda: page.one(".memory").is_displayed())
    papers = {}
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        papers[scheme] = luminance(page.run("return getComputedStyle(document.body).backgroundColor"))
        found = page.run(CONTRASTS)
        assert len(found) > 40
        for text, ink, paper in found:
            darker, lighter = sorted((luminance(ink), luminance(paper)))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{scheme}: {text!r} is {ink} on {paper}"
    assert papers["light"] > 0.8 and papers["dark"] < 0.05
    theme = page.one("#theme")  # the reader's choice goes before the system's
    theme.send_keys("Light")
    assert luminance(page.run("return getComputedStyle(document.body).backgroundColor")) == papers["light"]
    page.driver.refresh()
    assert wait_until(lambda: luminance(page.run("return getComputedStyle(document.body).backgroundColor")) == papers["light"])


# ---- over the fake engine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["escape", "button"])
def test_stop(show, fake, how):
    fake.say(fake.answer("word " * 2000, reasoning="hm"), interval_ms=10)
    page = show(fake.url)
    page.begin("go on")
    assert wait_until(lambda: page.state() == "running" and "word word" in page.text(), 10)
    assert page.one("#send").text == "Stop"
    page.press(Keys.ESCAPE) if how == "escape" else page.one("#send").click()
    assert page.settle(5) == "stopped"
    assert [r["cancelled"] for r in fake.wait_idle()] == [True]
    assert "Stopped." in page.text() and "word word" in page.text() and page.one("#send").text == "Send"
    fake.say(fake.answer("second"))
    assert page.ask("and now?") == "second"
    prompt = fake.prompt_text()
    assert "go on" in prompt and "word word" in prompt and "and now?" in prompt, "what was said before is kept"


def test_settings_are_sent(show, fake):
    fake.say(fake.answer("ok"))
    page = show(fake.url)
    page.run("document.querySelector('.more').open = true")
    for name, value in {"temperature": "0.25", "top_p": "0.5", "top_k": "7", "max_tokens": "33", "seed": "5", "instructions": "Be a pirate.", "stop": "END"}.items():
        page.one(f"#{name}").send_keys(value)
    page.run("document.querySelector('#effort-high').click()")
    page.driver.refresh()  # they are kept
    assert page.ask("hello") == "ok"
    sent = fake.report()["submitted"][-1]
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["max_tokens"], sent["seed"]) == (0.25, 0.5, 7, 33, 5)
    prompt = fake.prompt_text()
    assert "Reasoning: high" in prompt and "Be a pirate." in prompt and "hello" in prompt
    page.one("#reset").click()
    page.ask("again")
    assert "Reasoning: medium" in fake.prompt_text() and "pirate" not in fake.prompt_text()
    assert fake.report()["submitted"][-1]["max_tokens"] > 33


def test_settings_out_of_range_are_not_sent(show, fake):
    page = show(fake.url, PHONE)
    page.run("const p = document.getElementById('top_p'); p.value = 3; p.dispatchEvent(new Event('input', {bubbles: true}))")
    page.begin("hello")
    assert wait_until(lambda: page.focus() == "top_p") and page.one("#top_p").is_displayed()
    assert not fake.report()["submitted"] and not page.all(".turn")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_markdown_is_shown_and_runs_nothing(show, fake, size):
    fake.say(fake.answer(MARKDOWN))
    page = show(fake.url, size)
    page.ask("show all")
    text = page.one(".text")
    inside = lambda selector: [e.get_property("textContent") for e in text.find_elements(By.CSS_SELECTOR, selector)]  # noqa: E731
    assert inside("h3") == ["Title"] and inside("strong") == ["bold", "b"] and inside("em") == ["slanted"]
    assert inside("p code") == ["code <b>"] and inside("blockquote p") == ["quoted"]
    assert "snake_case_name stays, 2 * 3 * 4 too." in inside("p")[0]
    assert inside("ul > li > ul > li") == ["inside"] and inside("ol > li") == ["first"]
    assert inside("figcaption span") == ["python"] and inside("pre") == [f'print("{WIDE}")']
    assert inside("td") == ["a", "b", "c | d"]
    assert [e.value_of_css_property("text-align") for e in text.find_elements(By.TAG_NAME, "td")] == ["left", "right", "center"]
    assert [a.get_attribute("href") for a in text.find_elements(By.TAG_NAME, "a")] == ["https://example.com/a_b_c", "https://example.com/path"]
    assert not inside("img, script") and '<img src=x onerror="window.broken = 1">' in text.text and "[bad](javascript:" in text.text
    assert page.run("return window.broken === undefined")
    assert page.fits()
    page.picture(f"markdown-{'phone' if size == PHONE else 'desktop'}")
    assert page.complaints() == []


def test_markdown_of_any_text(show, fake):
    page = show(fake.url)
    page.driver.set_script_timeout(60)
    assert page.driver.execute_async_script((ROOT / "tests" / "e2e" / "page_markdown.js").read_text()) == []


def test_copy(show, fake):
    fake.say(fake.answer("**bold** and\n```\ncode\n```"))
    page = show(fake.url)
    page.command("Browser.grantPermissions", origin=fake.url, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.ask("copy me")
    for button, text in ((".foot .copy", "**bold** and\n```\ncode\n```"), (".code .copy", "code")):
        page.one(button).click()
        assert wait_until(lambda: page.one(button).text == "Copied")
        assert page.run("return navigator.clipboard.readText()") == text


def test_refusals_are_told(show, fake):
    fake.say(fake.answer("now it goes"))
    fake.order(set={"max_queue": 0})
    page = show(fake.url)
    page.begin("hello")
    assert page.settle() == "failed"
    assert "its queue is full" in page.one(".trouble").text or "queue is full" in page.text()
    page.picture("busy")
    fake.order(set={"max_queue": 10})
    page.one(".again").click()
    assert page.settle() == "done" and "now it goes" in page.text() and "queue" not in page.text()
    page.one("#question").clear()
    page.run("document.getElementById('question').value = 'long '.repeat(20000)")
    page.one("#send").click()
    assert page.settle() == "failed" and "The server cannot do this." in page.text() and "tokens" in page.one(".turn:last-child .detail").text
    assert page.complaints(but=["429", "400"]) == []


def test_lost_connection_is_told(show):
    server = FakeServer()
    try:
        server.say(server.answer("word " * 2000), interval_ms=10)
        page = show(server.url)
        page.begin("go on")
        assert wait_until(lambda: page.state() == "running" and "word" in page.text(), 10)
        server.process.kill()
        assert page.settle() == "failed"
        assert "The connection was lost before the answer was complete." in page.text() and "word" in page.text()
        page.begin("anyone?")
        assert wait_until(lambda: len(page.all(".turn")) == 2) and page.settle() == "failed"
        assert "The server cannot be reached." in page.all(".answer")[1].text
        assert wait_until(lambda: page.one("#load .trouble").is_displayed())
        page.picture("lost")
    finally:
        server.process.kill()
        server.process.wait()


def test_stream_without_its_end_is_lost(show, fake):
    """As from a proxy that gives up in good order: the body ends, but the last event never came."""
    page = show(fake.url)
    page.run("""const real = window.fetch;
        const event = JSON.stringify({choices: [{index: 0, delta: {content: "half"}, finish_reason: null}]});
        window.fetch = (path, options) => path.includes("chat") ? Promise.resolve(new Response(`data: ${event}\\n\\n`)) : real(path, options);""")
    page.begin("hello")
    assert page.settle() == "failed"
    assert "half" in page.text() and "The connection was lost before the answer was complete." in page.text()


def test_key_is_asked_for_and_kept_for_the_tab(show, tmp_path):
    (tmp_path / "keys").write_text("right-key\n")
    server = FakeServer(f"keys={tmp_path / 'keys'}")
    try:
        page = show(server.url)
        assert wait_until(lambda: page.one("#key-dialog").is_displayed()) and page.focus() == "key"
        page.picture("key")
        page.press("wrong", Keys.ENTER)
        assert wait_until(lambda: "did not accept" in page.one("#key-words").text)
        page.press(Keys.ESCAPE)
        assert wait_until(lambda: not page.one("#key-dialog").is_displayed())
        page.begin("hello")
        assert wait_until(lambda: page.one("#key-dialog").is_displayed())
        page.press("right-key", Keys.ENTER)
        assert page.settle() in ("done", "failed") and "API key" not in page.text()
        assert wait_until(lambda: page.one("#model").text == "gpt-oss-test")
        assert page.run("return JSON.stringify(sessionStorage).includes('right-key')")
        assert not page.run("return JSON.stringify(localStorage).includes('right-key') || document.cookie")
        page.driver.refresh()
        assert wait_until(lambda: page.one("#model").text == "gpt-oss-test") and not page.one("#key-dialog").is_displayed()
    finally:
        server.stop()
