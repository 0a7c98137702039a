"""Every fault of the wire, for each provider that speaks HTTP itself: a server on this machine replays payloads in the vendor's own shape.

Where the shapes come from:
- Alpha Vantage: the documentation of TIME_SERIES_DAILY_ADJUSTED and TIME_SERIES_INTRADAY (alphavantage.co/documentation, 2025) and
  the replies recorded in the tests of its Python package (RomelTorres/alpha_vantage, test_alpha_vantage/test_data/mock_time_series);
  refusals with status 200 as quoted in that repository's issues.
- Polygon: test payloads of the vendor's own SDK (polygon-io/client-python, test_rest/mocks/v2/aggs, v3/reference/dividends.json,
  v3/snapshot/options/AAPL.json) and the documentation of v3/reference/splits (2025).
- FRED: the documentation of series/observations, series/vintagedates and series (fred.stlouisfed.org/docs/api, 2024) and the replies
  in the tests of fredapi (mortada/fredapi, fredapi/tests/test_fred.py); the text of the 2,000-vintage refusal as quoted in public issues.
"""
import copy
import gzip
import hashlib
import logging
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd
import pytest
import requests
from pydantic import SecretStr
from replay import Answer, Replay

from qtp.core.errors import DataError
from qtp.data.alphavantage import AlphaVantageProvider
from qtp.data.fred import FredProvider
from qtp.data.polygon import PolygonProvider
from qtp.data.transport import Again, Budget, Limits, QueryKey, Transport, TransportError

CANARY = "canary0123456789canary/0123456789"
NOW = pd.Timestamp("2024-03-28 21:00", tz="UTC")
QUICK = Limits(calls_a_minute=1e6, timeout=0.2, deadline=0.4, attempts=3)


class Time:
    "A clock that moves when somebody sleeps, and with real time."
    def __init__(self): self.slept, self.skipped = [], 0.0
    def __call__(self): return time.monotonic() + self.skipped
    def sleep(self, seconds): self.slept.append(seconds); self.skipped += seconds


def day(close, dividend="0.0000", split="1.0"):
    return {"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. adjusted close": close, "6. volume": "3344845",
            "7. dividend amount": dividend, "8. split coefficient": split}


AV_DAILY = {"Meta Data": {"1. Information": "Daily Time Series with Splits and Dividend Events", "2. Symbol": "IBM", "3. Last Refreshed": "2024-03-28",
                          "4. Output Size": "Full size", "5. Time Zone": "US/Eastern"},
            "Time Series (Daily)": {"2024-03-28": day("190.96"), "2024-03-27": day("190.80", "1.66"), "2024-03-26": day("94.25", split="2.0")}}
BAR = {"v": 135647456, "vw": 74.6099, "o": 74.06, "c": 75.0875, "h": 75.15, "l": 73.7975, "t": 1577941200000, "n": 1}
AGGS = {"ticker": "AAPL", "queryCount": 1, "resultsCount": 1, "adjusted": False, "results": [BAR], "status": "OK", "request_id": "6a7e466379af0a71039d60cc78e72282", "count": 1}
SPLIT = {"execution_date": "2020-08-31", "id": "E36416cce743c3964c5da63e1ef1626c0aece30fb47302eea5a49c0055c04e8d0", "split_from": 1, "split_to": 4, "ticker": "AAPL"}
DIVIDEND = {"cash_amount": 0.59375, "declaration_date": "2020-09-09", "dividend_type": "CD", "ex_dividend_date": "2020-12-12", "frequency": 4, "pay_date": "2020-12-30",
            "record_date": "2020-12-15", "ticker": "AAPL"}
CHAIN = {"request_id": "104d9b901d0c9e81d284cb8b41c5cdd3", "status": "OK", "results": [{
    "break_even_price": 179.075, "day": {"close": 29, "high": 32.25, "low": 29, "open": 29.99, "volume": 8, "vwap": 30.7738, "last_updated": 1651204800000000000},
    "details": {"contract_type": "call", "exercise_style": "american", "expiration_date": "2023-06-16", "shares_per_contract": 100, "strike_price": 150,
                "ticker": "O:AAPL230616C00150000"},
    "greeks": {"delta": 0.6436, "gamma": 0.00617, "theta": -0.0282, "vega": 0.6381}, "implied_volatility": 0.357, "open_interest": 8133,
    "last_quote": {"ask": 29.25, "ask_size": 209, "bid": 28.9, "bid_size": 294, "last_updated": 1651254260800059648, "midpoint": 29.075, "timeframe": "REAL-TIME"},
    "underlying_asset": {"change_to_break_even": 19.114, "last_updated": 1651254263172073152, "price": 159.9606, "ticker": "AAPL", "timeframe": "REAL-TIME"}}]}
OBSERVATIONS = {"realtime_start": "2014-01-30", "realtime_end": "9999-12-31", "observation_start": "1600-01-01", "observation_end": "9999-12-31", "units": "lin", "output_type": 1,
                "file_type": "json", "order_by": "observation_date", "sort_order": "asc", "count": 2, "offset": 0, "limit": 100000, "observations": [
                    {"realtime_start": "2014-01-30", "realtime_end": "2014-02-27", "date": "2013-10-01", "value": "17102.5"},
                    {"realtime_start": "2014-02-28", "realtime_end": "9999-12-31", "date": "2013-10-01", "value": "17080.7"}]}
SERIES = {"realtime_start": "2024-03-28", "realtime_end": "2024-03-28", "seriess": [
    {"id": "GDP", "title": "Gross Domestic Product", "frequency": "Quarterly", "frequency_short": "Q", "units": "Billions of Dollars", "last_updated": "2024-03-28 07:51:02-05"}]}
VINTAGES = {"order_by": "vintage_date", "sort_order": "asc", "count": 2, "offset": 0, "limit": 10000, "vintage_dates": ["2014-01-30", "2014-02-28"]}
AAPL_DAY = "/v2/aggs/ticker/AAPL/range/1/day/2020-01-02/2020-01-02"


@dataclass
class Case:
    "One question to one provider."
    kind: type                # provider
    options: dict             # of its constructor
    path: str                 # where faults are injected
    good: dict                # payload there
    others: dict              # payloads of other paths
    ask: object               # (provider) -> table
    found: object             # (table) -> a number of it
    expected: float
    empty: dict               # payload without rows
    without: tuple            # path of keys in `good` to a field that must be there
    said: str                 # what a refusal says about it


CASES = {
    "alphavantage": Case(AlphaVantageProvider, {"premium": True}, "/query", AV_DAILY, {}, lambda p: p.bars(["IBM"]), lambda t: t["close"].iloc[-1], 190.96, {},
                         ("Time Series (Daily)", "2024-03-27", "4. close"), "alphavantage, IBM: row 2 of 3, field '4. close' is missing"),
    "polygon bars": Case(PolygonProvider, {}, AAPL_DAY, AGGS, {}, lambda p: p.bars(["AAPL"], "2020-01-02", "2020-01-02"), lambda t: t["close"].iloc[0], 75.0875,
                         {**AGGS, "resultsCount": 0, "results": []}, ("results", 0, "c"), "polygon, AAPL: row 1 of 1, field 'c' is missing"),
    "polygon actions": Case(PolygonProvider, {}, "/v3/reference/splits", {"status": "OK", "results": [SPLIT]}, {"/v3/reference/dividends": {"status": "OK", "results": [DIVIDEND]}},
                            lambda p: p.actions(["AAPL"]), lambda t: t["split_ratio"].iloc[0], 4, None, ("results", 0, "split_to"),
                            "polygon, AAPL, splits: row 1 of 1, field 'split_to' is missing"),
    "polygon chain": Case(PolygonProvider, {}, "/v3/snapshot/options/AAPL", CHAIN, {}, lambda p: p.chain("AAPL"), lambda t: t["bid"].iloc[0], 28.9, None,
                          ("results", 0, "details", "expiration_date"), "polygon, options of AAPL: row 1 of 1, field 'details.expiration_date' is missing"),
    "fred": Case(FredProvider, {}, "/fred/series/observations", OBSERVATIONS, {"/fred/series": SERIES, "/fred/series/vintagedates": VINTAGES}, lambda p: p.macro(["GDP"]),
                 lambda t: t["value"].iloc[-1], 17080.7, {**OBSERVATIONS, "count": 0, "observations": []}, ("observations", 1, "realtime_start"),
                 "fred, GDP: row 2 of 2, field 'realtime_start' is missing"),
}


@pytest.fixture
def replay():
    with Replay() as server: yield server


@pytest.fixture(params=list(CASES))
def case(request): return CASES[request.param]


def provider(case, replay, folder, *answers, limits=QUICK, **options):
    "The provider, its server prepared; without `answers` everything is well."
    for path, payload in case.others.items(): replay.on(path, payload)
    replay.on(case.path, *(answers or (case.good,)))
    clock = Time()
    return case.kind(SecretStr(CANARY), folder, NOW, base_url=replay.url, limits=limits, clock=clock, sleep=clock.sleep, **{**case.options, **options})


def waits(p): return [s for s in p.sleep.__self__.slept if s > 0.01]


def answers_well(case, p): assert case.found(case.ask(p)) == case.expected


# -- what passes after another attempt

def test_well(case, replay, tmp_path): answers_well(case, provider(case, replay, tmp_path))


@pytest.mark.parametrize("asked, least", [("7", 7), ("Thu, 28 Mar 2024 21:00:30 GMT", 30)])
def test_too_many_requests(case, replay, tmp_path, asked, least):
    p = provider(case, replay, tmp_path, Answer(None, 429, {"Retry-After": asked, "Date": "Thu, 28 Mar 2024 21:00:00 GMT"}), case.good)
    answers_well(case, p)
    assert len(waits(p)) == 1 and waits(p)[0] >= least


@pytest.mark.parametrize("status", [500, 503])
def test_server_error(case, replay, tmp_path, status):
    p = provider(case, replay, tmp_path, Answer(b"<html>upstream</html>", status), Answer(b"", status), case.good)
    answers_well(case, p)
    assert len(waits(p)) == 2 and 1 <= waits(p)[0] <= 2 <= waits(p)[1] <= 3       # doubled, with up to a second of jitter


@pytest.mark.parametrize("fault", ["half", "cut", "drop", "hang", "drip"])
def test_broken_exchange(case, replay, tmp_path, fault):
    began = time.monotonic()
    answers_well(case, provider(case, replay, tmp_path, Answer(case.good, fault=fault), case.good))
    assert time.monotonic() - began < 2.5


def test_empty_body(case, replay, tmp_path): answers_well(case, provider(case, replay, tmp_path, Answer(b""), case.good))


def test_compressed(case, replay, tmp_path): answers_well(case, provider(case, replay, tmp_path, Answer(case.good, fault="gzip")))


# -- what does not

@pytest.mark.parametrize("fault, words", [("half", "breaks off or is no JSON"), ("cut", "IncompleteRead"), ("hang", "timed out"),
                                          ("drip", "limits.deadline=0.4 s and no end"), ("drop", "onnection")])
def test_broken_for_good(case, replay, tmp_path, fault, words):
    began = time.monotonic()
    with pytest.raises(TransportError, match="Given up after 3 attempts") as e: case.ask(provider(case, replay, tmp_path, Answer(case.good, fault=fault)))
    assert words in str(e.value) and str(e.value).startswith(case.kind.name) and time.monotonic() - began < 5


def test_busy_for_an_hour(case, replay, tmp_path):
    p = provider(case, replay, tmp_path, Answer(None, 429, {"Retry-After": "3600"}))
    with pytest.raises(TransportError, match="asks to wait 3600 s, longer than limits.longest_wait=120") as e: case.ask(p)
    assert e.value.reason == "rate limit" and waits(p) == []


@pytest.mark.parametrize("status, remedy", [(401, "check it in .env"), (403, "does not cover this"), (404, "Check the symbol"), (302, "It leads to https://elsewhere.test/")])
def test_refused(case, replay, tmp_path, status, remedy):
    p = provider(case, replay, tmp_path, Answer({"error": f"no, {CANARY}"}, status, {"Location": "https://elsewhere.test/"}))
    with pytest.raises(TransportError, match=f"status {status} .*, expected 200") as e: case.ask(p)
    assert remedy in str(e.value) and waits(p) == [] and e.value.reason == "refused"


def test_empty_page(case, replay, tmp_path):
    if case.empty is None: pytest.skip("an asset without splits, or an underlying without contracts, is no fault")
    with pytest.raises(DataError, match=f"{case.kind.name}: no (bars|observations) of"): case.ask(provider(case, replay, tmp_path, case.empty))


def test_missing_field(case, replay, tmp_path):
    changed = copy.deepcopy(case.good)
    inner = changed
    for key in case.without[:-1]: inner = inner[key]
    inner["renamed"] = inner.pop(case.without[-1])
    with pytest.raises(DataError) as e: case.ask(provider(case, replay, tmp_path, changed))
    assert case.said in str(e.value) and "expected" in str(e.value) and "renamed" in str(e.value)


@pytest.mark.parametrize("body", [[1, 2], "sorry", 7, {"surprise": True}])
def test_another_shape(case, replay, tmp_path, body):
    with pytest.raises(DataError, match=case.kind.name): case.ask(provider(case, replay, tmp_path, Answer(body)))


def test_budget(case, replay, tmp_path):
    calls = 1 + len(case.others)
    p = provider(case, replay, tmp_path, limits=Limits(calls_a_minute=1e6, calls_a_day=calls, timeout=0.4))
    answers_well(case, p)
    again = provider(case, replay, tmp_path, limits=p.limits, refresh=True)
    with pytest.raises(TransportError, match=f"{calls} of {calls} calls of 2024-03-28 .UTC. are used, so nothing was sent") as e: case.ask(again)
    assert e.value.reason == "budget" and len(replay.asked) == calls and "limits.calls_a_day" in str(e.value)


# -- the vendor's own ways

AV_FAST = "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day."
AV_DAY = f"We have detected your API key as {CANARY} and our standard API rate limit is 25 requests per day."
AV_PREMIUM = "Thank you for using Alpha Vantage! This is a premium endpoint."


def test_alphavantage_refuses_with_status_200(replay, tmp_path):
    case = CASES["alphavantage"]
    p = provider(case, replay, tmp_path/"a", {"Note": AV_FAST}, case.good)
    answers_well(case, p)
    assert waits(p) == [60]
    for body, reason, words in (({"Information": AV_DAY}, "budget", "Go on tomorrow"), ({"Information": AV_PREMIUM}, "refused", "premium=False"),
                                ({"Error Message": "Invalid API call."}, "refused", "Check the symbol"), ({"Note": AV_FAST}, "rate limit", "Given up after 3")):
        with pytest.raises(TransportError, match=words) as e: case.ask(provider(case, replay, tmp_path/reason, body))
        assert e.value.reason == reason and CANARY not in str(e.value)


def test_polygon_refuses_with_status_200(replay, tmp_path):
    case = CASES["polygon bars"]
    busy = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription."
    p = provider(case, replay, tmp_path, {"status": "ERROR", "request_id": "1", "error": busy}, case.good)
    answers_well(case, p)
    assert waits(p) == [60]


def test_polygon_split_on_the_last_page(replay, tmp_path):
    case, first = CASES["polygon actions"], {"status": "OK", "results": [{**SPLIT, "execution_date": "2005-02-28", "split_to": 2}]}
    p = provider(case, replay, tmp_path, {**first, "next_url": "https://api.polygon.io/v3/reference/splits?cursor=YXA9MQ"})
    replay.on(case.path, Answer(None, 500), Answer({"status": "OK", "results": [SPLIT]}, fault="half"), {"status": "OK", "results": [SPLIT]}, cursor="YXA9MQ")
    assert p.actions(["AAPL"])["split_ratio"].tolist() == [2, 4, 1]
    assert [q.get("cursor") for path, q, _ in replay.asked if path == case.path] == [None, *["YXA9MQ"]*3]


def test_polygon_empty_last_page(replay, tmp_path):
    case = CASES["polygon bars"]
    p = provider(case, replay, tmp_path, {**AGGS, "next_url": "https://api.polygon.io" + AAPL_DAY + "?cursor=YXA9MQ"})
    replay.on(case.path, {**AGGS, "results": [], "resultsCount": 0}, cursor="YXA9MQ")
    answers_well(case, p)


def test_alphavantage_split_in_the_last_row(replay, tmp_path):
    case = CASES["alphavantage"]
    assert provider(case, replay, tmp_path).actions(["IBM"])["split_ratio"].tolist() == [2, 1]


def test_fred_vintages_on_the_last_page_and_in_the_last_window(replay, tmp_path, monkeypatch):
    monkeypatch.setattr("qtp.data.fred.VINTAGES", 1)
    monkeypatch.setattr("qtp.data.fred.vintage_windows.__defaults__", (1,))
    case = CASES["fred"]
    early, late = OBSERVATIONS["observations"]
    p = provider(case, replay, tmp_path)
    replay.on(case.path, {**OBSERVATIONS, "count": 1, "observations": [early]}, realtime_start="2014-01-30")
    replay.on(case.path, {**OBSERVATIONS, "count": 2, "observations": [{**early, "date": "2013-07-01", "realtime_start": "2014-02-28"}]}, realtime_start="2014-02-28", offset="0")
    replay.on(case.path, {**OBSERVATIONS, "count": 2, "offset": 1, "observations": [late]}, realtime_start="2014-02-28", offset="1")
    table = p.macro(["GDP"])
    assert table["value"].tolist() == [17102.5, 17102.5, 17080.7]
    assert [q["realtime_end"] for path, q, _ in replay.asked if path == case.path] == ["2014-02-27", "9999-12-31", "9999-12-31"]


def test_fred_too_many_vintages(replay, tmp_path):
    text = "Bad Request.  There are 5106 vintage dates in the specified real-time period. This exceeds the maximum number of vintage dates allowed for this file type (2000)."
    case, answer = CASES["fred"], Answer({"error_code": 400, "error_message": text}, 400)
    with pytest.raises(TransportError, match="exceeds the maximum number of vintage dates"): case.ask(provider(case, replay, tmp_path, answer))


# -- cache and raw payloads

def test_remembered(case, replay, tmp_path):
    p = provider(case, replay, tmp_path)
    answers_well(case, p)
    sent = len(replay.asked)
    again = provider(case, replay, tmp_path)
    answers_well(case, again)
    assert len(replay.asked) == (2*sent if "options" in case.path else sent)        # a chain is of now: never remembered


def test_raw_payload_is_kept(case, replay, tmp_path):
    p = provider(case, replay, tmp_path)
    case.ask(p)
    kept = list((tmp_path/"raw"/case.kind.name/"2024-03-28").glob("*.json.gz"))
    assert len(kept) == 1 + len(case.others)
    before = {f: (f.stat().st_ino, f.read_bytes()) for f in kept}
    case.ask(provider(case, replay, tmp_path, refresh=True))
    assert {f: (f.stat().st_ino, f.read_bytes()) for f in kept} == before and len(list(tmp_path.rglob("*.json.gz"))) == len(kept)


def test_refused_payload_is_kept_and_not_remembered(case, replay, tmp_path):
    p = provider(case, replay, tmp_path, {"surprise": True}, case.good)
    with pytest.raises(DataError): case.ask(p)
    if case.kind is PolygonProvider: answers_well(case, p)      # the others read the same reply once more, within its hour
    assert any(b"surprise" in gzip.decompress(f.read_bytes()) for f in tmp_path.rglob("*.json.gz"))


def test_budget_is_shared(tmp_path):
    budget = Budget(tmp_path, "demo", NOW, 50)

    def spend(_):
        try: budget.spend()
        except TransportError: return 0
        return 1
    with ThreadPoolExecutor(8) as pool: assert sum(pool.map(spend, range(400))) == 50


WORK = """
import sys
import pandas as pd
from pydantic import SecretStr
from qtp.data.polygon import PolygonProvider
from qtp.data.transport import Limits
names = [f"A{i:02d}" for i in range(40)]
p = PolygonProvider(SecretStr("canary0123456789"), sys.argv[1], pd.Timestamp("2024-03-28 21:00", tz="UTC"), base_url=sys.argv[2], limits=Limits(calls_a_minute=1e6))
print(len(p.bars(names, "2020-01-02", "2020-01-02")))
"""


def test_killed_while_reading(replay, tmp_path):
    for i in range(40): replay.on(f"/v2/aggs/ticker/A{i:02d}/range/1/day/2020-01-02/2020-01-02", {**AGGS, "ticker": f"A{i:02d}"})
    work = [sys.executable, "-c", WORK, str(tmp_path), replay.url]
    for reached in (7, 20, 31):
        process = subprocess.Popen(work, stdout=subprocess.DEVNULL)
        while len(replay.asked) < reached and process.poll() is None: time.sleep(0.001)
        process.kill()
        process.wait()
    assert subprocess.run(work, check=True, capture_output=True, text=True).stdout == "40\n"
    paths = [path for path, _, _ in replay.asked]
    assert len(set(paths)) == 40 and len(paths) <= 43                                     # at most the call in flight is sent again
    for f in tmp_path.rglob("*.json.gz"):
        if not f.name.startswith("."): assert f.name.split(".")[0] == hashlib.sha256(gzip.decompress(f.read_bytes())).hexdigest()


# -- the canary

def seen(error):
    "Everything that an exception can show, down to the variables of every frame but this file's, which knows the key."
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    whole.stack = traceback.StackSummary.from_list([f for f in whole.stack if f.filename != __file__])
    chain = [error.__cause__, error.__context__, *getattr(error, "__notes__", [])]
    assert whole.stack and chain[:2] == [None, None]
    return "".join(whole.format()) + repr([f.locals for f in whole.stack]) + repr(error) + repr(error.args) + repr(vars(error)) + repr(chain)


@pytest.mark.parametrize("fault", ["", "half", "cut", "drop", "hang", "echo", "500", "404", "302", "429", "field"])
def test_key_is_nowhere(case, replay, tmp_path, caplog, capfd, fault):
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "qtp.transport"): logging.getLogger(name).setLevel(logging.DEBUG)
    echo = {**case.good, "you": f"/query?apikey={CANARY}"} if isinstance(case.good, dict) else case.good
    bad = {"echo": Answer(echo), "500": Answer({"key": CANARY}, 500), "404": Answer({"key": CANARY}, 404), "429": Answer({"key": CANARY}, 429),
           "302": Answer(None, 302, {"Location": f"http://elsewhere.test/?k={CANARY}"}), "field": Answer({"key": CANARY, CANARY: [CANARY]})}
    bad = bad.get(fault, Answer(case.good, fault=fault))
    p, shown = provider(case, replay, tmp_path, bad), []
    try: shown.append(repr(case.ask(p)))
    except DataError as e: shown.append(seen(e))
    out, err = capfd.readouterr()
    shown += [repr(p), repr(p.transport), caplog.text, out, err, *(repr(r.__dict__) for r in caplog.records)]
    shown += [str(f) for f in tmp_path.rglob("*")]
    shown += [(gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes()).decode() for f in tmp_path.rglob("*") if f.is_file()]
    for form in (CANARY, requests.utils.quote(CANARY, safe="")): assert not [s for s in shown if form in s]
    arrived = [q.get("apikey") or q.get("api_key") or h.get("Authorization", "").removeprefix("Bearer ") for _, q, h in replay.asked]
    assert arrived and set(arrived) == {CANARY}                       # the server did get it


def test_key_is_not_in_a_refused_connection(case, replay, tmp_path, caplog):
    p = provider(case, replay, tmp_path, limits=QUICK)
    gone = case.kind(SecretStr(CANARY), tmp_path, NOW, base_url="http://127.0.0.1:9", limits=QUICK, sleep=lambda s: None, **case.options)
    with pytest.raises(TransportError, match="onnection") as e: case.ask(gone)
    for form in (CANARY, requests.utils.quote(CANARY, safe="")): assert form not in seen(e.value) + caplog.text + repr(p)


# -- a session for client libraries

def test_session(replay, tmp_path):
    clock = Time()
    t = Transport("sdk", replay.url, tmp_path, NOW, secrets=[SecretStr(CANARY)], limits=QUICK, clock=clock, sleep=clock.sleep)
    replay.on("/ok", Answer(None, 500), {"bars": [1], "key": CANARY})
    replay.on("/no", Answer({"message": f"forbidden {CANARY}"}, 403))
    session = t.session()
    got = session.get(f"{replay.url}/ok", headers={"APCA-API-SECRET-KEY": CANARY}, params={"symbols": "A"})
    assert got.json() == {"bars": [1], "key": "<redacted>"} and got.request.headers["APCA-API-SECRET-KEY"] == "<redacted>" and got.url.endswith("/ok?symbols=A")
    refused = session.get(f"{replay.url}/no?key={CANARY}")
    assert refused.status_code == 403
    with pytest.raises(requests.HTTPError) as e: refused.raise_for_status()
    assert CANARY not in str(e.value) + refused.text + repr(e.value.request.url) + repr(e.value.request.headers)
    assert replay.asked[-1][1]["key"] == CANARY


def test_session_remembers_by_call(replay, tmp_path):
    t = Transport("sdk", replay.url, tmp_path, NOW, limits=QUICK)
    replay.on("/closed", {"n": 1}, {"n": 2})
    replay.on("/open", {"n": 1}, {"n": 2})
    session = t.session(ttl=lambda call: None if "/closed" in call.url else pd.Timedelta(0))
    assert [session.get(f"{replay.url}/{p}").json()["n"] for p in ("closed", "closed", "open", "open")] == [1, 1, 1, 2]


def test_key_goes_to_its_own_host_only(replay, tmp_path):
    t = Transport("demo", replay.url, tmp_path, NOW, QueryKey("apikey", SecretStr(CANARY)), limits=QUICK)
    with Replay() as stranger:
        stranger.on("/x", {"n": 1})
        assert t.session().get(f"{stranger.url}/x").json() == {"n": 1}
        assert "apikey" not in stranger.asked[0][1]
        replay.on("/x", {"n": 2})
        assert t.get(f"{stranger.url}/x").value == {"n": 2} and len(stranger.asked) == 1        # of an address only path and query count


def test_reader_may_ask_again(replay, tmp_path):
    t = Transport("demo", replay.url, tmp_path, NOW, limits=QUICK, sleep=lambda s: None)
    replay.on("/x", {"ready": False}, {"ready": True})

    def read(reply):
        if b"true" not in reply.body: raise Again("not ready")
        return reply.text
    assert t.get("x", read=read, ttl=None).value == '{"ready": true}'
    assert t.get("x", read=read, ttl=None).cached and len(list(tmp_path.rglob("*.json.gz"))) == 1


def test_a_body_may_be_too_large(replay, tmp_path):
    t = Transport("demo", replay.url, tmp_path, NOW, limits=Limits(max_bytes=1000), sleep=lambda s: None)
    replay.on("/x", Answer(b"x"*2000, fault="gzip"))
    with pytest.raises(TransportError, match="a body of more than limits.max_bytes=1000 bytes"): t.get("x")
    assert len(replay.asked) == 1
