"""The lake in an object store: a local S3 server in a process of its own (within this one, it would wait for a client that holds the interpreter).

Writers on one store need no lock: a commit is an object that must not exist yet (`If-None-Match: *`), which S3 has promised since 2024 and the client asks for.
What happens where a store does not keep that promise is shown too.
"""
import re
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from test_lake_faults import NOW, TABLE, bars, both, desk, panel, qtp, together

from qtp.core.errors import LakeError
from qtp.core.lake import Lake


class Store:
    "An S3 server with one bucket, its log, and what a client must be told."

    def __init__(self, folder):
        self.log = folder/"server.log"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        self.wait(60)

    def wait(self, limit):
        "Until the server answers and the bucket is there."
        until = time.monotonic() + limit
        while time.monotonic() < until and self.process.poll() is None:
            try: return self.ask("PUT", "/lakes")
            except OSError: time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def ask(self, method, path, body=None):
        "One request of our own, whose signature nobody checks; the body of the answer."
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20240328/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"})
        reply = connection.getresponse()
        assert reply.status < 300, reply.read()
        return reply.read()

    def options(self, port=None):
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true"}

    def keys(self, prefix): return re.findall(r"<Key>(.*?)</Key>", self.ask("GET", f"/lakes?list-type=2&prefix={prefix}").decode())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("s3"))
    yield store
    store.process.terminate()
    store.process.wait()


@pytest.fixture
def lake(store, request): return Lake(f"s3://lakes/{re.sub(r'[^a-z0-9]+', '-', request.node.name)}", options=store.options())


def test_a_table_in_a_bucket(lake):
    assert (lake.tables(), lake.folders(), lake.exists(TABLE)) == ([], [], False)
    parts = [bars(0), bars(1), bars(40), bars(0, add=1, fetched=NOW + pd.Timedelta("30D"))]      # the third is in February, the fourth revises the first
    done, before = [lake.append(TABLE, f) for f in parts], NOW + pd.Timedelta("29D")
    assert [(d.appended, d.revised) for d in done] == [(200, 0)]*3 + [(200, 200)]
    assert lake.append(TABLE, parts[1]).skipped == 200
    assert lake.tables() == lake.folders() == [TABLE] and lake.parts(TABLE) == ["2024-01", "2024-02"]
    whole = lake.read(TABLE)
    assert lake.fingerprint(TABLE)["rows"] == len(whole) == 800
    pd.testing.assert_frame_equal(lake.read(TABLE, as_of=before), lake.read(TABLE, version=2))
    streamed = pd.concat(lake.stream(TABLE, as_of=before)).astype({"asset_id": "str"}).sort_values(["event_time", "asset_id"], ignore_index=True)
    pd.testing.assert_frame_equal(streamed, lake.read(TABLE, as_of=before))
    assert lake.history(TABLE)["operation"].tolist() == ["append"]*3 + ["create"] and lake.span(TABLE)[1] == bars(40)["event_time"].max()
    lake.pin("run", {TABLE: 0})
    assert lake.pins() == {"run": {TABLE: 0}}
    content = lake.fingerprint(TABLE)["hash"]
    lake.rewrite(TABLE, "2024-01")
    assert lake.fingerprint(TABLE)["hash"] == content and lake.verify().empty
    assert len(lake.vacuum(older_than="0D")) > 0
    assert len(lake.read(TABLE, version=0)) == 200
    with pytest.raises(LakeError, match="a version that `vacuum` removed cannot be read"): lake.read(TABLE, version=1)
    lake.unpin("run")
    assert lake.pins() == {} and len(lake.vacuum(older_than="0D")) > 0
    pd.testing.assert_frame_equal(lake.read(TABLE), whole)


@pytest.mark.parametrize("what", ["flipped", "cut", "gone"])
def test_damage_in_a_bucket(store, lake, what):
    for day in range(2): lake.append(TABLE, bars(day))
    key = [k for k in store.keys(lake.root.removeprefix("s3://lakes/")) if k.endswith(".parquet")][0]
    path = f"/lakes/{key}"
    good = store.ask("GET", path)
    if what == "gone": store.ask("DELETE", path)
    else: store.ask("PUT", path, good[:-9] if what == "cut" else good[:300] + bytes([good[300] ^ 1]) + good[301:])
    assert lake.verify()["file"].tolist() == [key.split(f"{TABLE}/")[1]]
    with pytest.raises(LakeError, match="a data file cannot be read"): lake.read(TABLE)
    store.ask("PUT", path, good)
    assert lake.verify().empty and len(lake.read(TABLE)) == 400


def do_append(options, root, names, n, gate):
    "Append days one after the other, always at the same time as the other process."
    lake, told = Lake(root, options=options), []
    for day in range(n):
        gate.wait()
        done = lake.append(TABLE, bars(day, names))
        told.append((done.appended, done.skipped))
    return told


def lost_races(store): return len(re.findall(r'PUT \S*/_delta_log/\d+\.json \S+ 412', store.log.read_text()))


def test_two_processes_append_the_same(store, lake):
    told = both(*[(do_append, lake.options, lake.root, "ABCD", 5)]*2)
    assert [a + b for (a, _), (b, _) in zip(*told)] == [200]*5
    assert lake.fingerprint(TABLE)["hash"] == together(*[bars(d) for d in range(5)]) and lake.verify().empty


class Slow(BaseHTTPRequestHandler):
    "Passes requests on to the store, commits so slowly that the other writer is on its way too; a forgetful one drops their condition."
    protocol_version, target, forgets = "HTTP/1.1", None, False

    def log_message(self, *args): pass

    def do_any(self):
        if self.command == "PUT" and "/_delta_log/" in self.path: time.sleep(0.3)
        connection = HTTPConnection("127.0.0.1", self.target, timeout=20)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        without = {"transfer-encoding", *(["if-none-match"] if self.forgets else [])}
        connection.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k.lower() not in without})
        reply = connection.getresponse()
        content = reply.read()
        self.send_response_only(reply.status)
        sent = {k: v for k, v in reply.getheaders() if k.lower() not in ("transfer-encoding", "connection", "content-length")}
        for name, value in (sent | {"Content-Length": reply.getheader("Content-Length") if self.command == "HEAD" else str(len(content))}).items(): self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any


def race(store, lake, rounds, **handler):
    "Two processes append different days at once through a slow line; what each was told."
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Slow,), {"target": store.port, **handler}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try: return both(*[(do_append, store.options(server.server_port), lake.root, names, rounds) for names in ("ABCD", "EFGH")])
    finally:
        server.shutdown()
        server.server_close()


def test_two_processes_append_what_differs(store, lake):
    before, rounds = lost_races(store), 4
    assert race(store, lake, rounds) == [[(200, 0)]*rounds]*2
    assert lake.fingerprint(TABLE)["hash"] == together(*[bars(d, names) for d in range(rounds) for names in ("ABCD", "EFGH")]) and lake.verify().empty
    assert lake.version(TABLE) == 2*rounds - 1 and lost_races(store) - before >= 2        # commits that came second, and were decided again


def test_a_store_without_conditional_writes_loses_commits(store, lake):
    "Why that race proves something: the same two writers lose rows where the condition is not kept."
    race(store, lake, 4, forgets=True)
    assert lake.fingerprint(TABLE)["rows"] < 2*4*200


def test_a_client_told_to_do_without_conditions_writes_nothing(lake):
    careless = Lake(lake.root, options=lake.options | {"AWS_CONDITIONAL_PUT": "disabled"})
    with pytest.raises(LakeError, match="conditional put is disabled"): careless.append(TABLE, bars(0))
    assert lake.tables() == []


@pytest.mark.parametrize("root, change, words", [("s3://nowhere/lake", {}, "404 Not Found"), ("s3://lakes/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "HTTP error")])
def test_a_bucket_that_is_not_there(store, root, change, words):
    away = Lake(root, options=store.options() | change | {"max_retries": "1"})
    for ask in (away.tables, lambda: away.read(TABLE), lambda: away.append(TABLE, bars(0))):
        with pytest.raises(LakeError, match=f"lake {root}: cannot be looked at .*{words}.* Check the disk, the address and the keys, then ask again"): ask()


def test_through_the_command_line(store, home):
    env = store.options() | {"QTP_LAKE_URL": "s3://lakes/desk"}
    code, text = qtp(home, "ingest", desk(home), **env)
    assert code == 0 and "320 bars of 4 assets" in text and "lake s3://lakes/desk/mine" in text, text
    assert qtp(home, "ingest", desk(home), "--full", **env)[0] == 0
    code, text = qtp(home, "lake", "history", "mine", "bars_1d", **env)
    assert code == 0 and text.count(" create ") == 1 and " append " not in text
    changed = panel()
    changed.loc[4, "close"] += 0.001
    assert qtp(home, "ingest", desk(home, changed), "--full", **env)[0] == 0
    lake = Lake("s3://lakes/desk/mine", options=store.options())
    assert len(lake.read("bars_1d")) == 321 and set(lake.tables()) > {"bars_1d", "symbols", "manifest"}
    code, text = qtp(home, "lake", **env)
    assert code == 0 and "mine" in text and "321" in text
    assert qtp(home, "lake", "rewrite", "mine", "bars_1d", **env)[0] == 0 and qtp(home, "lake", "verify", **env)[0] == 0
    for key in store.keys("desk/mine/bars_1d/_part"): store.ask("DELETE", f"/lakes/{key}")
    code, text = qtp(home, "lake", "verify", **env)
    assert code == 1 and "the file is gone" in text
    assert not (home.path/"data"/"lake").exists()
