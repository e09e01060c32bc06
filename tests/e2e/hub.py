"""A hub for tests: the Hugging Face and ModelScope interfaces on one port, the CDN that bytes come from on another, and faults on demand."""
import contextlib
import hashlib
import http.server
import json
import random
import re
import socket
import struct
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Fault:
    """What goes wrong with the next `times` requests at `where` (api, resolve, cdn) whose path has `match` in it."""

    def __init__(self, where, *, match="", times=1, status=None, headers=(), cut=None, corrupt=False):
        self.where, self.match, self.times = where, match, times
        self.status, self.headers, self.cut, self.corrupt = status, dict(headers), cut, corrupt


class Hub:
    def __init__(self, files, repository="openai/gpt-oss-20b", large=4096):
        self.files, self.repository = files, repository
        self.large = large                # from this size on files are in LFS
        self.sizes = {}                   # path: a size that the listing claims
        self.extra = []                   # more entries of the listing
        self.page = 1000                  # entries of one page
        self.ranges = True                # whether the CDN knows them
        self.signature_uses = None        # as often a signed address may be asked; None: always
        self.signatures = []              # how often each one was
        self.rate = None                  # bytes a second of one connection
        self.held_at = None               # bytes of the CDN after which nothing more comes, however late the test is to do what it does then
        self.gone = 0                     # how often let_go() dropped who waited for more
        self.token = None                 # the only one that is let in
        self.faults, self.requests, self.sent = [], [], 0  # requests: (where, path, headers, time); sent: body bytes of the CDN
        self.lock = threading.Lock()
        self.more = threading.Condition(self.lock)
        self.servers = [self._serve("hub"), self._serve("cdn")]
        self.url, self.cdn = (f"http://127.0.0.1:{s.server_address[1]}" for s in self.servers)

    def _serve(self, role):
        handler = type("Handler", (_Handler,), {"hub": self, "role": role})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def hold_after(self, more):
        """Nothing is sent beyond so many bytes from now on, but for what is under way."""
        with self.lock:
            self.held_at = self.sent + more

    def let_go(self, drop=False):
        """What was held goes on; drop: its client is gone, and it ends."""
        with self.lock:
            self.held_at = None
            self.gone += drop
            self.more.notify_all()

    def fault(self, where, **how):
        self.faults.append(Fault(where, **how))

    def take_fault(self, where, path):
        with self.lock:
            for fault in self.faults:
                if fault.where == where and fault.match in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def asked(self, where):
        with self.lock:
            return [r for r in self.requests if r[0] == where]

    def is_large(self, path):
        return len(self.files[path]) >= self.large

    def tree(self):
        entries = [{"type": "directory", "oid": "f" * 40, "size": 0, "path": p} for p in sorted({p.split("/")[0] for p in self.files if "/" in p})]
        for path, data in sorted(self.files.items()):
            size = self.sizes.get(path, len(data))
            entry = {"type": "file", "oid": git_blob(data), "size": size, "path": path}
            if self.is_large(path):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
            entries.append(entry)
        return entries + self.extra

    def modelscope(self):
        files = [{"Path": p, "Name": p.split("/")[-1], "Type": "blob", "Size": len(d), "Sha256": hashlib.sha256(d).hexdigest(),
                  "IsLFS": self.is_large(p)} for p, d in sorted(self.files.items())]
        return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": [{"Path": "metal", "Type": "tree", "Size": 0}, *files]}}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # with the usual 5, a ninth connection waits a second for its second SYN


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub, role = None, None

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), urllib.parse.parse_qs(url.query)
        where = "cdn" if self.role == "cdn" else "resolve" if "/resolve/" in path or "FilePath" in query else "api"
        with self.hub.lock:
            self.hub.requests.append((where, self.path, dict(self.headers), time.monotonic()))
        fault = self.hub.take_fault(where, self.path)
        if fault and fault.status:
            return self.reply(fault.status, b"an error page", fault.headers)
        if where == "cdn":
            return self.blob(path, query, fault)
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.reply(401, b"who are you?")
        return self.api(path, query) if where == "api" else self.resolve(path, query)

    def reply(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, headers=None):
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def api(self, path, query):
        hub = self.hub
        if path == f"/api/models/{hub.repository}/revision/main":
            return self.json({"id": hub.repository, "sha": COMMIT})
        if path == f"/api/models/{hub.repository}/tree/{COMMIT}" and query.get("recursive") == ["true"]:
            at = int(query.get("cursor", ["0"])[0])
            entries, headers = hub.tree(), {}
            if at + hub.page < len(entries):
                headers["Link"] = f'<{hub.url}{path}?recursive=true&cursor={at + hub.page}>; rel="next"'
            return self.json(entries[at:at + hub.page], headers)
        if path == f"/api/v1/models/{hub.repository.replace('openai/', 'openai-mirror/')}/repo/files":
            known = query["Revision"] == ["master"]
            return self.json(hub.modelscope() if known else {"Code": 200, "Success": True, "Data": {"Files": None}})
        return self.reply(404, b"Repository not found")

    def resolve(self, path, query):
        name = query["FilePath"][0] if "FilePath" in query else path.split(f"/resolve/{COMMIT}/")[-1]
        if name not in self.hub.files:
            return self.reply(404, b"Entry not found")
        if not self.hub.is_large(name):
            return self.body(self.hub.files[name], None)
        with self.hub.lock:
            self.hub.signatures.append(0)
            number = len(self.hub.signatures) - 1
        signed = f"{self.hub.cdn}/blob/{urllib.parse.quote(name)}?Number={number}&Signature=secret"
        return self.reply(302, b"Found", {"Location": signed})

    def blob(self, path, query, fault):
        number = int(query["Number"][0])
        with self.hub.lock:
            self.hub.signatures[number] += 1
            good = query["Signature"] == ["secret"] and self.hub.signatures[number] <= (self.hub.signature_uses or 1 << 30)
        if not good:
            return self.reply(403, b"Request has expired")
        return self.body(self.hub.files[path.split("/blob/")[-1]], fault)

    def body(self, data, fault):
        first, last = 0, len(data) - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.hub.ranges:
            first, last = int(asked[1]), min(int(asked[2]), last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        piece = data[first:last + 1]
        if fault and fault.corrupt:
            piece = bytes([piece[0] ^ 1]) + piece[1:]
        with contextlib.suppress(ConnectionError, TimeoutError):
            self.send(piece if not fault or fault.cut is None else piece[:fault.cut])
        if fault and fault.cut is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
            self.close_connection = True

    def send(self, data):
        rate, gone = self.hub.rate, self.hub.gone
        step = 16384 if rate else 1 << 20
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            with self.hub.lock:
                self.hub.more.wait_for(lambda: self.role != "cdn" or self.hub.held_at is None or self.hub.sent < self.hub.held_at or self.hub.gone != gone)
                if self.hub.gone != gone:
                    raise ConnectionAbortedError
            self.wfile.write(piece)
            if self.role == "cdn":
                with self.hub.lock:
                    self.hub.sent += len(piece)
            if rate:
                time.sleep(len(piece) / rate)


def _random(draw, size):
    return b"".join(draw.randbytes(min(1 << 20, size - at)) for at in range(0, size, 1 << 20))  # randbytes() takes no more than 2^28 at once


def model_files(seed=1, shards=3, shard=300_000):
    """A repository as openai/gpt-oss-20b is laid out, of random bytes."""
    draw = random.Random(seed)
    files = {name: draw.randbytes(draw.randint(200, 900)) for name in (
        ".gitattributes", "LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors.index.json",
        "special_tokens_map.json", "tokenizer_config.json", "original/config.json", "original/dtypes.json")}
    files["tokenizer.json"] = draw.randbytes(20_000)
    for i in range(shards):
        files[f"model-{i:05}-of-{shards - 1:05}.safetensors"] = _random(draw, shard + 1000 * i)
    files["original/model.safetensors"] = _random(draw, shard)
    files["metal/model.bin"] = _random(draw, shard)
    return files
