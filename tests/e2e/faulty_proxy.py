"""A proxy before a server that does wrong what it is told to, for tests of how clients cope."""
import http.client
import http.server
import json
import threading
import time
import urllib.parse


class FaultyProxy:
    """Each request takes the next of `faults`; when there are none left, or at "pass", it is handed on. A fault is
    a number: an error of this status; a dict: one with headers, {"status": 429, "Retry-After": "1"};
    "drop": the connection is closed without an answer; ("stall", seconds): the answer comes that much later;
    ("cut", bytes): so much of the body comes, then the connection is closed."""

    def __init__(self, upstream):
        self.upstream = urllib.parse.urlsplit(upstream)
        self.faults, self.seen = [], []  # seen: a dict of the headers of each request
        self.lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                proxy.handle(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def plan(self, *faults):
        with self.lock:
            self.faults, self.seen = list(faults), []

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def handle(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self.lock:
            self.seen.append({k.lower(): v for k, v in handler.headers.items()})
            fault = self.faults.pop(0) if self.faults else "pass"
        handler.close_connection = True
        if fault == "drop":
            return
        if isinstance(fault, (int, dict)):
            self.refuse(handler, {"status": fault} if isinstance(fault, int) else dict(fault))
            return
        kind, amount = fault if isinstance(fault, tuple) else (fault, 0)
        if kind == "stall":
            time.sleep(amount)
        try:
            self.hand_on(handler, body, amount if kind == "cut" else None)
        except OSError:
            pass  # the client has gone; closing the connection below tells the server

    @staticmethod
    def refuse(handler, fault):
        status = fault.pop("status")
        data = json.dumps({"error": {"message": "made by the proxy", "type": "x", "param": None, "code": status}}).encode()
        handler.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **fault}.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(data)

    def hand_on(self, handler, body, most):
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(handler.command, handler.path, body=body, headers=headers)
            answer = connection.getresponse()
            handler.send_response(answer.status)
            length = answer.getheader("Content-Length")
            handler.send_header("Content-Type", answer.getheader("Content-Type", ""))
            handler.send_header(*(("Content-Length", length) if length else ("Transfer-Encoding", "chunked")))
            handler.end_headers()
            sent = 0
            while piece := answer.read1(65536):
                piece = piece if most is None else piece[: most - sent]
                sent += len(piece)
                handler.wfile.write(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
                if sent == most:
                    return
            if not length:
                handler.wfile.write(b"0\r\n\r\n")
        finally:
            connection.close()
