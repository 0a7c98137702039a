"""A server on this machine that replays vendors' replies, faults included."""
import gzip
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    "One reply. `fault`: half (a body that breaks off, honestly counted), cut (fewer bytes than announced), hang, drip, drop, gzip."
    body: object = None                          # bytes as they are, anything else as JSON
    status: int = 200
    headers: dict = field(default_factory=dict)
    fault: str = ""
    seconds: float = 3.0                         # of a hang


class Replay:
    "Plays the answers of each path in order; the last one stays."

    def __init__(self):
        self.routes, self.asked, self._lock = [], [], threading.Lock()
        handler = type("Handler", (_Handler,), {"replay": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def on(self, path, *answers, **query):
        "Answers for a path and the query parameters named; a later rule goes before an earlier one."
        self.routes.insert(0, (path, query, [a if isinstance(a, Answer) else Answer(a) for a in answers]))

    def answer(self, target, headers):
        parts = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        with self._lock:
            self.asked.append((parts.path, query, headers))
            for path, wanted, answers in self.routes:
                if path == parts.path and all(query.get(k) == v for k, v in wanted.items()): return answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer({"error": f"no answer prepared for {parts.path} {sorted(query)}"}, 404)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args): pass

    def do_GET(self):
        answer = self.replay.answer(self.path, dict(self.headers))
        try: self._play(answer)
        except OSError: self.close_connection = True      # the caller has gone, as it should

    def _play(self, answer):
        if answer.fault == "hang": time.sleep(answer.seconds)
        if answer.fault in ("drop", "hang"):
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else json.dumps(answer.body).encode()
        sent = body[:len(body)//2] if answer.fault in ("half", "cut") else gzip.compress(body) if answer.fault == "gzip" else body
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body if answer.fault == "cut" else sent)), **answer.headers}
        if answer.fault == "gzip": headers["Content-Encoding"] = "gzip"
        self.send_response_only(answer.status)        # no Date of its own: an answer may bring one
        for name, value in headers.items(): self.send_header(name, value)
        self.end_headers()
        if answer.fault == "drip": return self._drip(sent)
        self.wfile.write(sent)
        self.close_connection = answer.fault == "cut"

    def _drip(self, body):
        for i in range(len(body)):
            self.wfile.write(body[i:i + 1])
            self.wfile.flush()
            time.sleep(0.05)
