"""Alpaca and Yahoo through their own libraries, against a local server that replays their payloads and misbehaves.

Shapes: alpaca-py 0.44, tests/data/test_historical_stock_data.py and tests/data/test_corporate_actions.py (bars by symbol, actions by type, `next_page_token`);
yfinance 1.7, the fields that `yfinance.utils.parse_quotes` and `parse_actions` read. Yahoo's hosts are fixed, so its requests reach the server through the session that
yfinance accepts, which sends them to `base_url`.
"""
import copy
import gzip
import json
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from pydantic import SecretStr

from qtp.core.errors import DataError
from qtp.data.alpaca import AlpacaProvider
from qtp.data.calendar import Calendar
from qtp.data.fallback import FallbackProvider
from qtp.data.quality import check_bars
from qtp.data.transport import Limits, TransportError
from qtp.data.yahoo import YahooProvider

NOW = pd.Timestamp("2024-03-28 21:00", tz="UTC")
CANARY = "canary-3f9c1e"
FAST = Limits(calls_a_minute=1e6, timeout=0.5, deadline=2.0, attempts=3, first_wait=0.01)
CHART = "/v8/finance/chart/"


class Server(ThreadingHTTPServer):
    "Answers with `reply(path, query)` -> (status, JSON value), after the `faults` that are waiting, one a data request."
    daemon_threads = True

    def __init__(self, reply):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.faults, self.asked = reply, [], []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def data_calls(self): return [(p, q) for p, q, _ in self.asked if p.startswith((CHART, "/v2/", "/v1/corp"))]

    def handle_error(self, request, address): pass      # a client that hung up


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url, server = urlsplit(self.path), self.server
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        server.asked.append((url.path, query, dict(self.headers)))
        status, value = server.reply(url.path, query)
        data = url.path.startswith((CHART, "/v2/", "/v1/corp"))
        fault = server.faults.pop(0) if data and server.faults else {}
        body = json.dumps(fault.get("value", value)).encode()
        time.sleep(fault.get("hang", 0))
        self.send_response(fault.get("status", status))
        for name, content in {"Content-Type": "application/json", "Content-Length": str(len(body)), **fault.get("headers", {})}.items(): self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body[:fault.get("cut", len(body))])
        if "cut" in fault: self.close_connection = True

    def log_message(self, *args): pass


@pytest.fixture
def serve():
    servers = []

    def start(reply):
        servers.append(Server(reply))
        return servers[-1]
    yield start
    for server in servers: server.shutdown(), server.server_close()


# ---------------------------------------------------------------- payloads

def alpaca_bar(stamp, close, volume=85998033): return {"t": stamp, "o": close, "h": close + 1, "l": close - 1, "c": close, "v": volume, "n": 732412, "vw": close}


PAGES = {None: {"bars": {"AAPL": [alpaca_bar("2022-02-01T05:00:00Z", 174.61)]}, "next_page_token": "QUFQTHxEfDE="},
         "QUFQTHxEfDE=": {"bars": {}, "next_page_token": "QUFQTHxEfDI="},                               # an empty page in the middle
         "QUFQTHxEfDI=": {"bars": {"AAPL": [alpaca_bar("2022-02-02T05:00:00Z", 175.84)], "TSLA": [alpaca_bar("2022-02-01T05:00:00Z", 931.25)]}, "next_page_token": None}}
DIVIDEND = {"ex_date": "2022-02-04", "foreign": False, "payable_date": "2022-02-10", "process_date": "2022-02-10", "rate": 0.22, "special": False, "symbol": "AAPL"}
SPLIT = {"ex_date": "2022-08-25", "new_rate": 3, "old_rate": 1, "process_date": "2022-08-25", "record_date": "2022-08-17", "payable_date": "2022-08-24", "symbol": "TSLA"}
ACTION_PAGES = {None: {"corporate_actions": {"cash_dividends": [DIVIDEND]}, "next_page_token": "MDM3"},
                "MDM3": {"corporate_actions": {"forward_splits": [SPLIT]}, "next_page_token": None}}


def alpaca_reply(path, query):
    pages = ACTION_PAGES if path.endswith("/corporate-actions") else PAGES
    return 200, copy.deepcopy(pages[query.get("page_token")])


def yahoo_chart(split_on_last=True):
    stamps = [int(pd.Timestamp(f"{d} 09:30", tz="America/New_York").timestamp()) for d in ("2020-08-27", "2020-08-28", "2020-08-31")]
    closes = [125.01, 124.8075, 129.04]
    quote = {"open": closes, "high": [c + 1 for c in closes], "low": [c - 1 for c in closes], "close": closes, "volume": [155552400, 187630000, 225702700]}
    events = {"splits": {str(stamps[2]): {"date": stamps[2], "numerator": 4, "denominator": 1, "splitRatio": "4:1"}}} if split_on_last else {}
    meta = {"currency": "USD", "symbol": "AAPL", "exchangeName": "NMS", "instrumentType": "EQUITY", "exchangeTimezoneName": "America/New_York", "priceHint": 2,
            "dataGranularity": "1d", "range": "", "validRanges": ["1d", "5d", "max"]}
    result = {"meta": meta, "timestamp": stamps, "events": events, "indicators": {"quote": [quote], "adjclose": [{"adjclose": closes}]}}
    return {"chart": {"result": [result], "error": None}}


def yahoo_reply(path, query):
    if path.endswith("getcrumb"): return 200, f"{CANARY}-crumb"
    if not path.startswith(CHART): return 404, None
    return 200, yahoo_chart()


# ---------------------------------------------------------------- the two providers, treated alike

def make_alpaca(server, folder, **options):
    slept, keys = [], {"key": SecretStr(f"{CANARY}-id"), "secret": SecretStr(f"{CANARY}/secret+")}
    return AlpacaProvider(**keys, folder=folder, now=NOW, base_url=server.url, limits=FAST, sleep=slept.append, absent="ignore", **options), slept


def make_yahoo(server, folder, **options):
    slept = []
    return YahooProvider(SecretStr(""), folder, NOW, base_url=server.url, limits=FAST, sleep=slept.append, absent="ignore", **options), slept


BOTH = [pytest.param(make_alpaca, alpaca_reply, ["AAPL", "TSLA"], "2022-02-01", "2022-02-02", id="alpaca"),
        pytest.param(make_yahoo, yahoo_reply, ["AAPL"], "2020-08-27", "2020-08-31", id="yahoo")]
each = pytest.mark.parametrize("make, reply, assets, start, end", BOTH)


@each
def test_faults_that_pass_change_nothing(make, reply, assets, start, end, serve, tmp_path):
    "Rate limit, server error, half a body, a hang: the bars are those of an undisturbed source, and Retry-After is obeyed."
    server = serve(reply)
    undisturbed = make(server, tmp_path/"quiet")[0].bars(assets, start, end)
    for fault in ({"status": 429, "headers": {"Retry-After": "7"}}, {"status": 500}, {"cut": 60}, {"cut": 60, "headers": {"Content-Length": "60"}}, {"hang": 1.0}):
        server.faults.append(fault)
        provider, slept = make(server, tmp_path/f"{len(server.asked)}")
        pd.testing.assert_frame_equal(provider.bars(assets, start, end), undisturbed)
        assert not server.faults
        if fault.get("status") == 429: assert max(slept) >= 7


@each
def test_faults_that_stay_are_refused_in_words(make, reply, assets, start, end, serve, tmp_path):
    server = serve(reply)
    for fault, words in (({"status": 429, "headers": {"Retry-After": "1"}}, "status 429"), ({"status": 500}, "status 500"), ({"cut": 60}, "expected status 200 and a whole body"),
                         ({"hang": 1.0}, "Given up after 3 attempts"), ({"status": 429, "headers": {"Retry-After": "9999"}}, "longer than limits.longest_wait")):
        server.faults = [fault]*3
        with pytest.raises(TransportError, match=words): make(server, tmp_path/f"{len(server.asked)}")[0].bars(assets, start, end)
        server.faults = []


@each
def test_a_rerun_asks_only_for_what_failed(make, reply, assets, start, end, serve, tmp_path):
    "What was read before a source went down is not asked for again, and the raw payloads are there."
    server = serve(reply)
    first = make(server, tmp_path)[0].bars(assets, start, end)
    before = len(server.data_calls())
    pd.testing.assert_frame_equal(make(server, tmp_path)[0].bars(assets, start, end), first)
    assert len(server.data_calls()) == before
    assert list((tmp_path/"raw").rglob("2024-03-28/*.json.gz"))


@each
def test_a_canary_is_nowhere(make, reply, assets, start, end, serve, tmp_path, caplog):
    "Neither in files, nor in messages, tracebacks, logs or representations, also when the server sends it back."
    server, said = serve(reply), []
    with caplog.at_level("DEBUG"):
        provider, _ = make(server, tmp_path)
        provider.bars(assets, start, end)
        provider.actions(assets, start, end)
        for fault in ({"status": 401}, {"status": 403}, {"status": 500}, {"status": 422}):
            echo = {"message": f"your key {CANARY}-id and {CANARY}/secret+ are wrong"} if make is make_alpaca else {"chart": {"result": None, "error": {"description": "no"}}}
            server.faults = [{**fault, "value": echo}]*6
            try: make(server, tmp_path/str(fault["status"]))[0].bars(assets, start, end)
            except DataError as e: said += traceback.format_exception(e)
        server.faults = []
    said += [caplog.text, repr(provider), repr(provider.transport)]
    assert not any(CANARY in text for text in said)
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert files and not any(CANARY.encode() in f.read_bytes() for f in files)
    assert not any(CANARY.encode() in gzip.decompress(f.read_bytes()) for f in files if f.suffix == ".gz")


# ---------------------------------------------------------------- Alpaca's own

def test_alpaca_pages(serve, tmp_path):
    "Three pages, the middle one empty; the keys travel in headers alone."
    server = serve(alpaca_reply)
    bars = make_alpaca(server, tmp_path)[0].bars(["AAPL", "TSLA"], "2022-02-01", "2022-02-02")
    assert bars[["timestamp", "asset_id", "close"]].values.tolist() == [[pd.Timestamp("2022-02-01"), "AAPL", 174.61], [pd.Timestamp("2022-02-02"), "AAPL", 175.84],
                                                                        [pd.Timestamp("2022-02-01"), "TSLA", 931.25]]
    assert [q.get("page_token") for _, q in server.data_calls()] == [None, "QUFQTHxEfDE=", "QUFQTHxEfDI="]
    assert all(h["APCA-API-KEY-ID"] == f"{CANARY}-id" and CANARY not in str(q) for _, q, h in server.asked)


def test_alpaca_split_on_the_last_page(serve, tmp_path):
    actions = make_alpaca(serve(alpaca_reply), tmp_path)[0].actions(["AAPL", "TSLA"], "2022-02-01", "2022-12-30")
    assert actions[["asset_id", "kind", "split_ratio", "cash_dividend"]].values.tolist() == [["AAPL", "dividend", 1.0, 0.22], ["TSLA", "split", 3.0, 0.0]]


def test_alpaca_more_actions_than_the_sdk_takes_by_itself(serve, tmp_path):
    "The SDK's request ends at 1000 actions in all unless told otherwise."
    def reply(path, query):
        page = int(query.get("page_token", 0))
        rows = [{**DIVIDEND, "ex_date": f"{2016 + page}-03-01", "symbol": f"A{i}"} for i in range(900)]
        return 200, {"corporate_actions": {"cash_dividends": rows}, "next_page_token": str(page + 1) if page < 2 else None}
    assert len(make_alpaca(serve(reply), tmp_path)[0].actions(["A1"])) == 2700


@pytest.mark.parametrize("change, words", [
    (lambda b: b["bars"]["AAPL"][0].pop("c"), r"asset AAPL, bar 2022-02-01T05:00:00Z: field 'c' \(close\) is missing"),
    (lambda b: b["bars"]["AAPL"][0].update(c="n/a"), "column 'close': found 'n/a', expected a number"),
    (lambda b: b["bars"]["AAPL"][0].update(t="01.02.2022"), "expected an ISO 8601 date"),
    (lambda b: b["bars"]["AAPL"][0].update(t="2022-02-01T06:00:00Z"), "expected midnight in New York"),
    (lambda b: b.update(bars=None), "expected an object with 'bars'"),
    (lambda b: b.update(candles=b.pop("bars")), "expected an object with 'bars', found ['candles', 'next_page_token']".replace("[", r"\[").replace("]", r"\]"))])
def test_alpaca_changed_field(change, words, serve, tmp_path):
    page = {**copy.deepcopy(PAGES[None]), "next_page_token": None}
    change(page)
    with pytest.raises(DataError, match=words): make_alpaca(serve(lambda path, query: (200, page)), tmp_path)[0].bars(["AAPL"])
    if "APCA" not in words: assert list((tmp_path/"raw").rglob("*.json.gz"))       # the payload is kept for whoever looks into it


def test_alpaca_empty_answer(serve, tmp_path):
    with pytest.raises(DataError, match="alpaca: no bars of AAPL from 2022-02-01 to any date"):
        make_alpaca(serve(lambda path, query: (200, {"bars": {}, "next_page_token": None})), tmp_path)[0].bars(["AAPL"], "2022-02-01")


def test_alpaca_a_loop_of_pages_ends(serve, tmp_path):
    page = {**PAGES[None], "next_page_token": "again"}
    with pytest.raises(DataError, match="'again' came a second time"): make_alpaca(serve(lambda path, query: (200, page)), tmp_path)[0].bars(["AAPL"])


def test_alpaca_refused(serve, tmp_path):
    "A wrong key is said so, and is not tried again."
    server = serve(lambda path, query: (403, {"message": "subscription does not permit querying recent SIP data"}))
    with pytest.raises(DataError, match="status 403.*querying recent SIP data.*say feed='iex'"): make_alpaca(server, tmp_path)[0].bars(["AAPL"])
    assert len(server.data_calls()) == 1


def test_alpaca_five_minutes_by_month(serve, tmp_path):
    "One portion a month, in New York days across daylight saving; stamps are starts, which the quality check turns into ends."
    def reply(path, query):
        day = query["start"][:10]
        if day == "2024-02-01": return 200, {"bars": {}, "next_page_token": None}
        stamps = pd.date_range(f"{day} 09:30", periods=2, freq="5min", tz="America/New_York").tz_convert("UTC")
        return 200, {"bars": {"AAPL": [alpaca_bar(f"{s:%Y-%m-%dT%H:%M:%SZ}", 170.0 + i) for i, s in enumerate(stamps)]}, "next_page_token": None}
    server = serve(reply)
    provider, _ = make_alpaca(server, tmp_path, bar="5min")
    parts = list(provider.batches(["AAPL"], "2024-02-01", "2024-06-28"))                       # February is empty, and June has not come
    assert [len(p) for p in parts] == [2]
    assert [q["start"] for _, q in server.data_calls()] == ["2024-02-01T05:00:00+00:00", "2024-03-01T05:00:00+00:00"]
    assert [q["end"] for _, q in server.data_calls()] == ["2024-03-01T04:59:59+00:00", "2024-03-29T03:59:59+00:00"]
    checked = check_bars(parts[0], Calendar(), NOW, "raw", provider.stamp, provider.zone, "5min", min_assets=1, min_sessions=1, max_missing=1.0)
    assert checked.clean["event_time"].tolist() == [pd.Timestamp("2024-03-01 14:35", tz="UTC"), pd.Timestamp("2024-03-01 14:40", tz="UTC")]


# ---------------------------------------------------------------- Yahoo's own

def test_yahoo_split_on_the_last_bar(serve, tmp_path):
    "The split of the last session is an action, and the bars are continuous already."
    provider, _ = make_yahoo(serve(yahoo_reply), tmp_path)
    actions = provider.actions(["AAPL"], "2020-08-01", "2020-08-31")
    assert actions[["ex_date", "split_ratio"]].values.tolist() == [[pd.Timestamp("2020-08-31"), 4.0]]
    assert provider.adjustment == "split" and provider.bars(["AAPL"])["close"].pct_change().abs().max() < 0.04


@pytest.mark.parametrize("change, words", [
    (lambda r: r["indicators"]["quote"][0].pop("close"), "field 'close' is missing"),
    (lambda r: r["indicators"]["quote"][0]["volume"].pop(), "field 'volume' has 2 values, expected 3"),
    (lambda r: r["meta"].pop("exchangeTimezoneName"), "field 'meta.exchangeTimezoneName' is missing"),
    (lambda r: r["events"]["splits"].update({"1": {"date": 1598880600, "denominator": 1}}), "field 'events.splits.numerator' is missing"),
    (lambda r: r["events"].update(dividends={"1": {"date": 1598880600, "dividend": 0.2}}), "field 'events.dividends.amount' is missing"),
    (lambda r: (r.pop("timestamp"), r["indicators"].update(quote=[{}])), "no bars of AAPL")])
def test_yahoo_changed_field(change, words, serve, tmp_path):
    chart = yahoo_chart()
    change(chart["chart"]["result"][0])
    provider, _ = make_yahoo(serve(lambda path, query: (200, chart) if path.startswith(CHART) else yahoo_reply(path, query)), tmp_path)
    with pytest.raises(DataError, match=words): provider.bars(["AAPL"], "2020-08-27", "2020-08-31")


def test_yahoo_five_minutes(serve, tmp_path):
    "Starts of bars of the regular session, in UTC; the running one and those after the close are left out; older ones are refused in Yahoo's words."
    opened, closed = (pd.Timestamp(f"2024-03-28 {t}", tz="America/New_York") for t in ("09:30", "16:00"))
    stamps = [opened + pd.Timedelta("5min")*i for i in (0, 1, 77)] + [closed + pd.Timedelta("5min"), opened + pd.Timedelta("1D")]
    chart = yahoo_chart(split_on_last=False)
    result = chart["chart"]["result"][0]
    result["timestamp"] = [int(t.timestamp()) for t in stamps]
    result["indicators"] = {"quote": [{f: [170.0 + i for i in range(5)] for f in ("open", "high", "low", "close", "volume")}]}
    days = [{"timezone": "EDT", "start": int((opened + d).timestamp()), "end": int((closed + d).timestamp()), "gmtoffset": -14400} for d in (pd.Timedelta(0), pd.Timedelta("1D"))]
    result["meta"] |= {"dataGranularity": "5m", "tradingPeriods": [[day] for day in days]}
    server = serve(lambda path, query: (200, chart) if path.startswith(CHART) else yahoo_reply(path, query))
    provider, _ = make_yahoo(server, tmp_path, bar="5min")
    bars = provider.bars(["AAPL"], "2024-03-28", "2024-03-28")
    assert bars["timestamp"].tolist() == [t.tz_convert("UTC") for t in stamps[:3]] and provider.stamp == "start"
    old = {"chart": {"result": None, "error": {"code": "Unprocessable Entity", "description": "5m data not available. The requested range must be within the last 60 days."}}}
    server.reply = lambda path, query: (422, old) if path.startswith(CHART) else yahoo_reply(path, query)
    with pytest.raises(DataError, match="within the last 60 days.*Ask for later dates"): provider.bars(["AAPL"], "2023-03-28", "2023-03-28")


def test_yahoo_unknown_name_beside_a_known_one(serve, tmp_path):
    gone = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}
    server = serve(lambda path, query: (404, gone) if path.endswith("/GONE") else yahoo_reply(path, query))
    provider = YahooProvider(SecretStr(""), tmp_path, NOW, base_url=server.url, limits=FAST)
    with pytest.warns(UserWarning, match="yahoo: no bars for 1 of 2 assets from 2020-08-27 to any date: GONE"): bars = provider.bars(["AAPL", "GONE"], "2020-08-27")
    assert bars["asset_id"].unique().tolist() == ["AAPL"]
    assert sum(p.endswith("/GONE") for p, _ in server.data_calls()) == 1


def test_yahoo_without_a_crumb(serve, tmp_path):
    "The chart needs no cookie: what fails before it is not fatal."
    server = serve(lambda path, query: yahoo_reply(path, query) if path.startswith(CHART) else (500, None))
    assert len(make_yahoo(server, tmp_path)[0].bars(["AAPL"], "2020-08-27", "2020-08-31")) == 3


def test_yahoo_leaves_a_users_own_yfinance_alone(serve, tmp_path):
    import yfinance
    before = yfinance.data.YfData()._session, yfinance.config.debug.hide_exceptions
    make_yahoo(serve(yahoo_reply), tmp_path)[0].bars(["AAPL"], "2020-08-27", "2020-08-31")
    assert (yfinance.data.YfData()._session, yfinance.config.debug.hide_exceptions) == before


# ---------------------------------------------------------------- one after the other

def test_the_backup_takes_over_and_the_reason_is_kept(serve, tmp_path):
    "Alpaca is down for good; a second account of it delivers; the record says why, without a key."
    down, up = serve(alpaca_reply), serve(alpaca_reply)
    down.faults = [{"status": 500}]*3
    both = FallbackProvider(make_alpaca(down, tmp_path/"a")[0], (make_alpaca(up, tmp_path/"b")[0],))
    assert set(both.bars(["AAPL", "TSLA"], "2022-02-01", "2022-02-02")["asset_id"]) == {"AAPL", "TSLA"}
    assert both.records["asset_id"].tolist() == ["AAPL", "TSLA"] and both.records["reason"].str.contains("status 500").all()
    assert not both.records.astype("str").apply(lambda c: c.str.contains(CANARY)).any(axis=None)
