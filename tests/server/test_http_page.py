"""The page at / and its files: types, what the browser is told it may run, caching, and that nothing stands in line."""
import pathlib
import re
from html.parser import HTMLParser

import pytest

from fake import ROOT

FILES = sorted(p for p in (ROOT / "runtime" / "server" / "page").iterdir() if p.suffix in (".html", ".css", ".js", ".svg"))
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def path_of(file):
    return "/" if file.name == "index.html" else f"/page/{file.name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_every_file_is_served(server, file):
    status, headers, data = server.request("GET", path_of(file))
    assert (status, data) == (200, file.read_bytes())
    assert headers["Content-Type"] == TYPES[file.suffix]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-cache"


def test_policy(server):
    policy = server.request("GET", "/")[1]["Content-Security-Policy"]
    rules = dict((part.split(None, 1) + [""])[:2] for part in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == rules["img-src"] == "'self'"
    assert rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'" and rules["trusted-types"] == "'none'"
    assert "unsafe" not in policy and "*" not in policy
    for file in FILES:
        assert server.request("GET", path_of(file))[1]["Content-Security-Policy"] == policy


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.inline, self.wanted, self.open = [], [], None

    def handle_starttag(self, tag, attributes):
        self.open = tag
        for name, value in attributes:
            if name.startswith("on") or name == "style" or (value or "").startswith("javascript:"):
                self.inline.append((tag, name))
            if name in ("src", "href"):
                self.wanted.append(value)
        if tag == "style":
            self.inline.append((tag, ""))

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, data):
        if self.open == "script" and data.strip():
            self.inline.append(("script", data))


def test_nothing_in_line_and_nothing_from_elsewhere(server):
    page = Page()
    page.feed(server.request("GET", "/")[2].decode())
    assert not page.inline
    assert len(page.wanted) >= 3
    for address in page.wanted:  # relative, so that a proxy may put the page under a prefix
        assert re.fullmatch(r"page/[a-z]+\.[a-z]+", address)
        assert server.request("GET", "/" + address)[0] == 200


def test_scripts_import_what_is_there_and_make_no_markup():
    for file in (f for f in FILES if f.suffix == ".js"):
        text = file.read_text()
        for name in re.findall(r'from "(.*?)"', text):
            assert (file.parent / name).exists(), f"{file.name} imports {name}"
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"):
            assert word not in text, f"{file.name} has {word}"
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)[a-z]", text), file.name


@pytest.mark.parametrize("path", ["/", "/page/main.js"])
def test_head_says_the_same_without_the_bytes(server, path):
    _, whole, data = server.request("GET", path)
    status, headers, nothing = server.request("HEAD", path)
    assert (status, nothing) == (200, b"")
    assert int(headers["Content-Length"]) == len(data)
    for name in ("ETag", "Content-Type", "Content-Security-Policy", "Cache-Control"):
        assert headers[name] == whole[name]


def test_tags_differ_and_spare_the_bytes(server):
    tags = {}
    for file in FILES:
        path = path_of(file)
        tags[path] = tag = server.request("GET", path)[1]["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{20}"', tag)
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            status, headers, data = server.request("GET", path, headers={"If-None-Match": known})
            assert (status, data, headers["ETag"]) == (304, b"", tag), known
            assert int(headers["Content-Length"]) == file.stat().st_size
        for unknown in ('"other"', "", tag.strip('"'), tag[:-2] + '"'):
            assert server.request("GET", path, headers={"If-None-Match": unknown})[0] == 200, unknown
    assert len(set(tags.values())) == len(FILES)


def test_connection_goes_on_after_not_modified(server):
    """A 304 has a length and no body: the next answer must begin right behind its head."""
    tag = server.request("GET", "/")[1]["ETag"]
    request = f"GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n"
    received = server.raw((request + "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").encode())
    first, second, rest = received.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 304 Not Modified\r\n") and second.startswith(b"HTTP/1.1 200 OK\r\n") and rest == b""


@pytest.mark.parametrize("path", ["/page/", "/page/index", "/page/nothing.js", "/page/..%2froutes.c", "/page/main.js/", "/page/main.js%00", "/page", "/index.html"])
def test_other_names_are_unknown(server, path):
    status, headers, _ = server.request("GET", path)
    assert status == 404 and headers["Content-Type"] == "application/json"


def test_other_methods_are_refused(server):
    for path in ("/", "/page/main.js"):
        status, headers, _ = server.request("POST", path, body="")
        assert status == 405 and headers["Allow"] == "GET, HEAD"


def test_no_key_is_needed_to_see_the_page(own_server, tmp_path):
    keys = pathlib.Path(tmp_path / "keys")
    keys.write_text("secret\n")
    locked = own_server(f"keys={keys}")
    for path in ("/", "/page/main.js", "/page/page.css", "/metrics"):
        assert locked.request("GET", path)[0] == 200
    assert locked.request("GET", "/v1/models")[0] == 401
