"""curl, as the examples of any documentation use it."""
import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
JSON = ["-H", "Content-Type: application/json"]


def curl(*arguments, **options):
    return subprocess.run(["curl", "-sS", "--max-time", "30", *arguments], capture_output=True, timeout=60, **options)


def test_get_and_head(shared):
    model = json.loads(curl(shared.url + "/v1/models").stdout)["data"][0]["id"]
    assert json.loads(curl(f"{shared.url}/v1/models/{model}").stdout)["id"] == model
    head = curl("-I", shared.url + "/health").stdout
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert curl("-f", "-o", "/dev/null", shared.url + "/openapi.json", shared.url + "/metrics", "-o", "/dev/null").returncode == 0


def test_chat_and_stream(shared):
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12, "temperature": 0}
    whole = json.loads(curl(shared.url + "/v1/chat/completions", *JSON, "-d", json.dumps(body)).stdout)
    assert whole["usage"]["completion_tokens"] <= 12
    streamed = curl("-N", shared.url + "/v1/chat/completions", *JSON, "-d", json.dumps(dict(body, stream=True))).stdout.decode()
    lines = [line for line in streamed.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    text = "".join(c["delta"].get("content") or "" for line in lines[:-1] for c in json.loads(line[6:])["choices"])
    assert text == (whole["choices"][0]["message"]["content"] or "")


def test_without_a_content_type_and_with_a_large_body(shared):
    """-d says it is a form; and above a megabyte curl asks "Expect: 100-continue" first."""
    assert json.loads(curl(shared.url + "/tokenize", "-d", '{"prompt": "a b"}').stdout)["count"] == 2
    large = json.dumps({"prompt": "word " * 300000}).encode()
    assert json.loads(curl(shared.url + "/tokenize", "--data-binary", "@-", input=large).stdout)["count"] >= 300000
    chunked = curl(shared.url + "/tokenize", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", input=b'{"prompt": "a b"}')
    assert json.loads(chunked.stdout)["count"] == 2


def test_errors(shared):
    failed = curl("-f", shared.url + "/v1/completions", *JSON, "-d", "{}")
    assert failed.returncode == 22 and b"400" in failed.stderr
    assert curl("-o", "/dev/null", "-w", "%{http_code} %{content_type}", shared.url + "/nothing").stdout == b"404 application/json"
