"""Laws that hold for any input, against oracles written in the plainest way there is."""
import sqlite3
import tempfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qtp.backtest.engine import backtest, check_ledger
from qtp.core.errors import DataError
from qtp.core.frames import asof, asof_join, to_long, to_wide
from qtp.core.lake import Lake
from qtp.core.records import content_of, read_content
from qtp.data.adjust import adjust, wide_bars
from qtp.data.calendar import Calendar
from qtp.data.ingest import ingest
from qtp.data.market import load_market
from qtp.data.providers import SimulatedProvider
from qtp.execution.cost import scenario
from qtp.models.splits import WalkForward

settings.register_profile("qtp", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("qtp")

ZERO = pd.Timestamp("2024-01-02 21:00", tz="UTC")
DAY = pd.Timedelta("1D")
VALUES = st.floats(-1e6, 1e6, allow_nan=False, width=32).map(float)
# (period, asset, days until published, value); one record a period, asset and publication
RECORDS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ABC"), st.integers(0, 9), VALUES), min_size=1, max_size=40, unique_by=lambda r: (r[0], r[1], r[0] + r[2]))


def long(records):
    "Records as a frame: a period's end, and the instant of its publication."
    period, asset, delay, value = zip(*records)
    ends = pd.DatetimeIndex([ZERO + p*DAY for p in period])
    known = pd.DatetimeIndex([ZERO + (p + d)*DAY for p, d in zip(period, delay)])
    return pd.DataFrame({"timestamp": known, "event_time": ends, "asset_id": list(asset), "value": list(value)})


@given(RECORDS, st.integers(-1, 16))
def test_asof_keeps_the_last_version_known(records, day):
    t, held = ZERO + day*DAY, {}
    for row in long(records).itertuples(index=False):
        key = (row.event_time, row.asset_id)
        if row.timestamp <= t and (key not in held or row.timestamp >= held[key][0]): held[key] = (row.timestamp, row.value)
    found = asof(long(records), t)
    assert [((r.event_time, r.asset_id), (r.timestamp, r.value)) for r in found.itertuples(index=False)] == sorted(held.items())


@given(RECORDS, st.integers(-1, 16), st.integers(0, 5), st.randoms())
def test_asof_is_a_snapshot(records, day, later, order):
    frame, t = long(records), ZERO + day*DAY
    found, keys = asof(frame, t), lambda x: set(zip(x["event_time"], x["asset_id"]))
    assert (found["timestamp"] <= t).all()
    pd.testing.assert_frame_equal(asof(found, t), found)
    pd.testing.assert_frame_equal(asof(frame.iloc[order.sample(range(len(frame)), len(frame))], t), found)
    pd.testing.assert_frame_equal(asof(frame[frame["timestamp"] <= t], t), found)
    assert keys(asof(frame, t + later*DAY)) >= keys(found)


DAYS = st.lists(st.integers(-1, 16), min_size=1, max_size=8, unique=True).map(sorted)
WINDOW = """SELECT asset, day, value, known FROM (SELECT r.*, s.day, ROW_NUMBER() OVER (PARTITION BY asset, s.day ORDER BY period DESC, known DESC) AS n
            FROM stamps AS s JOIN records AS r ON r.known <= s.day) WHERE n = 1"""


@given(RECORDS, DAYS, st.none() | st.integers(0, 6))
def test_asof_join_agrees_with_sql(records, days, max_age):
    stamps, frame = pd.DatetimeIndex([ZERO + d*DAY for d in days]), long(records)
    found = asof_join(stamps, frame, by="asset_id", max_age=None if max_age is None else max_age*DAY)
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE records (period, asset, known, value)")
        db.execute("CREATE TABLE stamps (day)")
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", [(p, a, p + d, v) for p, a, d, v in records])
        db.executemany("INSERT INTO stamps VALUES (?)", [(d,) for d in days])
        told = {(a, d): (v, known) for a, d, v, known in db.execute(WINDOW) if max_age is None or d - known <= max_age}
    answers = {(a, (t - ZERO)//DAY): (row.value, (row.known_at - ZERO)//DAY) for (a, t), row in zip(found.index, found.itertuples()) if pd.notna(row.value)}
    assert answers == told and len(found) == len(stamps)*frame["asset_id"].nunique()


@given(RECORDS, DAYS, st.none() | st.integers(0, 6), st.randoms())
def test_asof_join_is_asof_at_every_stamp(records, days, max_age, order):
    frame, limit = long(records), None if max_age is None else max_age*DAY
    asked = pd.DataFrame([(ZERO + d*DAY, a) for d in days for a in "ABCZ"], columns=["timestamp", "asset_id"]).astype({"asset_id": "str"})
    expected = []
    for t, a in asked.itertuples(index=False):
        known = asof(frame[frame["asset_id"] == a], t)[-1:]
        expected += known["value"].tolist() if len(known) and (limit is None or t - known["timestamp"].iloc[0] <= limit) else [np.nan]
    mixed = asked.iloc[order.sample(range(len(asked)), len(asked))]
    shuffled = frame.iloc[order.sample(range(len(frame)), len(frame))]
    for rows in (asked, asked.sort_values(["asset_id", "timestamp"]), mixed):
        np.testing.assert_array_equal(asof_join(rows, shuffled, by="asset_id", max_age=limit)["value"].sort_index().to_numpy(), expected)
    single = frame[frame["asset_id"] == "A"].drop(columns="asset_id")
    np.testing.assert_array_equal(asof_join(asked[["timestamp"]], single, max_age=limit)["value"][asked["asset_id"] == "A"], np.array(expected)[asked["asset_id"] == "A"])


@given(RECORDS, DAYS, st.integers(0, 16))
def test_what_is_stamped_later_changes_nothing_before(records, days, cut):
    stamps, frame, t = pd.DatetimeIndex([ZERO + d*DAY for d in days]), long(records), ZERO + cut*DAY
    early = frame[frame["timestamp"] <= t]
    whole, world = (asof_join(stamps[stamps <= t], f, by="asset_id") for f in (frame, early))
    pd.testing.assert_frame_equal(whole.loc[whole.index.get_level_values(0).isin(early["asset_id"])], world, check_index_type=False)
    assert whole.drop(index=world.index).isna().all(axis=None)


@given(st.dictionaries(st.tuples(st.integers(0, 6), st.sampled_from("ABC")), st.tuples(VALUES | st.just(np.nan), VALUES), min_size=1), st.randoms())
def test_long_and_wide_say_the_same(cells, order):
    keys = sorted(cells)
    ends = pd.DatetimeIndex([ZERO + p*DAY for p, _ in keys]).as_unit("us")
    records = pd.DataFrame({"timestamp": ends, "event_time": ends, "asset_id": [a for _, a in keys], "close": [cells[k][0] for k in keys], "volume": [cells[k][1] for k in keys]})
    mixed = records.iloc[order.sample(range(len(keys)), len(keys))]
    wide = to_wide(mixed)
    assert wide.columns.is_monotonic_increasing and wide.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(to_long(wide), records, check_dtype=False, check_names=False)
    pd.testing.assert_frame_equal(to_wide(to_long(wide)), wide, check_index_type=False)


CELLS = st.dictionaries(st.tuples(st.integers(0, 6), st.sampled_from("ABC")), st.integers(1, 4).map(float), min_size=1, max_size=12)


def delivery(cells, fetched):
    keys = sorted(cells)
    ends = pd.DatetimeIndex([ZERO + p*DAY for p, _ in keys]).as_unit("us")
    return pd.DataFrame({"timestamp": ends, "event_time": ends, "asset_id": [a for _, a in keys], "close": [cells[k] for k in keys], "ingested_at": fetched})


@settings(max_examples=8)
@given(CELLS, CELLS)
def test_the_lake_takes_what_is_new_and_nothing_twice(first, second):
    early, late = ZERO + 10*DAY, ZERO + 20*DAY
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        lake.append("bars_1d", delivery(first, early))
        before = lake.fingerprint("bars_1d")
        again = lake.append("bars_1d", delivery(first, late))
        assert (again.appended, lake.fingerprint("bars_1d")) == (0, before)
        added = lake.append("bars_1d", delivery(second, late))
        changed, new = {k for k in second if k in first and first[k] != second[k]}, second.keys() - first.keys()
        assert (added.appended, added.revised) == (len(changed) + len(new), len(changed))
        assert len(lake.read("bars_1d")) == len(first) + len(changed) + len(new)
        told = lambda t: {((r.event_time - ZERO)//DAY, r.asset_id): r.close for r in lake.read("bars_1d", as_of=t).itertuples(index=False)}
        assert told(late) == {**first, **second}
        assert told(late - DAY) == {**first, **{k: second[k] for k in new}}, "a revision is not known before it was fetched"
        assert lake.append("bars_1d", delivery(second, late + DAY)).appended == 0


FETCH = st.dictionaries(st.tuples(st.integers(0, 6), st.sampled_from("ABC")), st.sampled_from([1.0, 2.0, -0.0, np.nan]), min_size=1, max_size=12)


def spread(cells, fetched):
    "Records of periods three weeks apart, so that they fall into several months and two years."
    frame = delivery({(24*p - 60, a): v for (p, a), v in cells.items()}, fetched)
    return frame.assign(close=frame["close"].to_numpy())


def plainly(frame):
    "Records as a dict; nothing is None, and minus zero is zero."
    return {(r.event_time, r.asset_id): None if np.isnan(r.close) else r.close + 0.0 for r in frame.itertuples(index=False)}


@settings(max_examples=10)
@given(st.lists(FETCH, min_size=1, max_size=4), st.randoms(use_true_random=False), st.sampled_from(["bars_1d", "bars_5min", "shares"]), st.integers(-70, 150), st.integers(0, 120))
def test_a_lake_is_what_was_told_however_it_was_told(fetches, chance, table, first, length):
    history, begin, end = {}, ZERO + first*DAY, ZERO + (first + length)*DAY
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as pieces:
        lakes = Lake(whole), Lake(pieces)
        for i, cells in enumerate(fetches):
            frame = spread(cells, ZERO + (200 + 10*i)*DAY)
            lakes[0].append(table, frame)
            order = chance.sample(range(len(frame)), len(frame))
            cut = chance.randint(0, len(order))
            for rows in (order[:cut], order[cut:], chance.choices(order, k=3)):      # in two pieces, in any order, and some rows again
                if rows: lakes[1].append(table, frame.iloc[rows])
            if chance.random() < 0.3:
                for part in lakes[1].parts(table): lakes[1].rewrite(table, part)
            for key, value in plainly(frame).items():
                versions = history.setdefault(key, [])
                if not versions or versions[-1][1] != value: versions.append((key[0] if not versions else frame["ingested_at"].iloc[0], value))
        rows = pd.DataFrame([(known, at, asset, np.nan if value is None else value) for (at, asset), versions in history.items() for known, value in versions],
                            columns=["timestamp", "event_time", "asset_id", "close"])
        assert {lake.fingerprint(table)["hash"] for lake in lakes} == {content_of(rows).hash}
        for t in (begin, ZERO + 205*DAY, ZERO + 300*DAY):
            known = {key: [v for at, v in versions if at <= t][-1] for key, versions in history.items() if versions[0][0] <= t}
            for lake in lakes:
                assert plainly(lake.read(table, as_of=t)) == plainly(pd.concat(lake.stream(table, as_of=t))) == known
                asked = dict(as_of=t, assets=["A", "C"], start=begin, end=end)
                inside = {(at, asset): v for (at, asset), v in known.items() if asset != "B" and begin <= at <= end}
                assert plainly(lake.read(table, **asked)) == plainly(pd.concat([lake.read(table)[:0], *lake.stream(table, **asked)])) == inside
        assert lakes[1].verify().empty


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ABC"), st.sampled_from([0.0, -0.0, 1.5, np.nan])), max_size=30), st.randoms(use_true_random=False))
def test_contents_add_up(rows, chance):
    frame = pd.DataFrame(rows, columns=["period", "asset_id", "close"]).astype({"period": "int64", "asset_id": "str", "close": float})
    order, part = chance.sample(range(len(rows)), len(rows)), [chance.randint(0, 2) for _ in rows]
    columns = chance.sample(list(frame.columns), 3)
    parts = [content_of(frame.iloc[[i for i in order if part[i] == k]][columns]) for k in range(3)]
    assert sum(parts[1:], parts[0]) == content_of(frame)
    assert content_of(frame.astype({"asset_id": "category"})) == content_of(frame) and read_content(content_of(frame).text) == content_of(frame)
    plain = sorted(map(repr, plainly_rows(frame)))
    for i in range(len(rows)):
        other = pd.concat([frame, frame.iloc[[i]]])
        assert content_of(other) != content_of(frame), "a row that stands twice"
        swapped = frame.copy()
        swapped.loc[i, "close"] = 7.0
        assert (content_of(swapped) == content_of(frame)) == (sorted(map(repr, plainly_rows(swapped))) == plain)


def plainly_rows(frame): return [(p, a, None if np.isnan(c) else c + 0.0) for p, a, c in frame.itertuples(index=False)]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(1, 60), st.booleans()), min_size=12, max_size=60),
       st.integers(1, 4), st.integers(0, 4), st.none() | st.integers(1, 6), st.none() | st.integers(1, 10))
def test_walk_forward_learns_only_from_what_was_known(rows, n_splits, embargo, test_size, max_train):
    rows = sorted(rows)
    decided = pd.DatetimeIndex([ZERO + d*DAY for d, *_ in rows])
    start = pd.DatetimeIndex([ZERO + (d*24 + wait)*pd.Timedelta("1h") for d, wait, *_ in rows])
    end = pd.Series([s + n*pd.Timedelta("7h") if known else pd.NaT for s, (_, _, n, known) in zip(start, rows)], dtype="datetime64[us, UTC]")
    spans = pd.DataFrame({"label_start": start, "label_end": pd.DatetimeIndex(end)}, index=decided)
    try: folds = list(WalkForward(n_splits, embargo, test_size, min_train=1, max_train=max_train).split(spans))
    except DataError: assume(False)
    sessions = decided.unique()
    for train, test in folds:
        first = decided[test].min()
        assert spans["label_end"].iloc[train].notna().all() and (spans["label_end"].iloc[train] <= sessions[sessions.get_loc(first) - embargo]).all()
        assert decided[train].max() < first and not set(train) & set(test)
        if max_train: assert decided[train].nunique() <= max_train
    assert all(decided[a.test].max() < decided[b.test].min() for a, b in zip(folds, folds[1:]))


CALENDAR = Calendar()
CLOSES = CALENDAR.closes("2024-03-04", "2024-03-29")
# (asset, ex-session, ratio, cash as a share of the price, sessions known before or after the ex-session)
ACTIONS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, len(CLOSES) - 1), st.sampled_from([0.1, 0.5, 1.0, 1.0, 1.5, 2.0, 7.0]), st.sampled_from([0.0, 0.0, 0.01, 0.3]),
                             st.integers(-3, 3)), max_size=6, unique_by=lambda a: a[:2])


def traded(seed, actions, halts=()):
    "Bars as traded of two assets whose value walks at random; what is split or paid leaves the price."
    rng, parts = np.random.default_rng(seed), []
    for a in "AB":
        value, count, price = 100.0, 1.0, []
        for i in range(len(CLOSES)):
            for _, _, ratio, cash, _ in (x for x in actions if x[:2] == (a, i)): value, count = value*(1 - cash), count*ratio
            value *= np.exp(0.02*rng.standard_normal())
            price.append(value/count)
        parts.append(pd.DataFrame({"timestamp": CLOSES, "event_time": CLOSES, "asset_id": a, "close": price, "volume": rng.uniform(1e3, 1e6, len(CLOSES))}))
    bars = pd.concat(parts, ignore_index=True).assign(open=lambda b: b["close"], high=lambda b: b["close"], low=lambda b: b["close"])
    return bars[[(a, t) not in halts for a, t in zip(bars["asset_id"], bars["event_time"])]]


def stamped(actions, bars):
    "Actions as the lake has them; cash in USD a share of the ex-session."
    rows = []
    for a, i, ratio, cash, late in actions:
        before = bars[(bars["asset_id"] == a) & (bars["event_time"] < CLOSES[i])]["close"]
        known = CLOSES[min(max(i + late, 0), len(CLOSES) - 1)] if late else CALENDAR.open_of(CLOSES[i])
        rows.append((a, known, CALENDAR.open_of(CLOSES[i]), ratio, cash*before.iloc[-1]/ratio if len(before) else 0.0))
    return pd.DataFrame(rows, columns=["asset_id", "timestamp", "effective", "split_ratio", "cash_dividend"]).astype({"asset_id": "str"}) if rows else None


def holder(bars, actions, method, vintage):
    "Shares that one share of the first bar has become, without and with what is paid put back: in plain numbers, bar by bar."
    out = []
    for name, own in bars.sort_values("event_time").groupby("asset_id", sort=True):
        times, price = own["event_time"].tolist(), own["close"].tolist()
        due = {}
        for x in actions[actions["asset_id"] == name].sort_values("effective").itertuples() if actions is not None else ():
            acts = x.effective if vintage == "latest" else max(x.effective, x.timestamp)
            due.setdefault((sum(t < acts for t in times), sum(t < x.effective for t in times)), []).append(x)
        count = held = 1.0
        for i, t in enumerate(times):
            for (_, ex), found in ((k, v) for k, v in due.items() if k[0] == i and k[1] > 0):
                ratio, cash = 1.0, 0.0
                for x in found: ratio, cash = ratio*x.split_ratio, cash/x.split_ratio + x.cash_dividend
                before = price[ex - 1]/ratio
                count, held = count*ratio, held*ratio*((price[ex] + cash)/price[ex] if method == "vendor" else before/(before - cash))
            out.append((t, name, count, held))
    return sorted(out)


@settings(max_examples=60)
@given(st.integers(0, 10**6), ACTIONS, st.sampled_from(["vendor", "previous_close"]), st.sampled_from(["first", "latest"]),
       st.sets(st.tuples(st.sampled_from("AB"), st.sampled_from(list(CLOSES[5:12])))))
def test_factors_are_what_a_holder_has(seed, actions, method, vintage, halts):
    bars = traded(seed, actions, halts)
    known = stamped(actions, bars)
    found = adjust(bars.sample(frac=1, random_state=seed), known, CLOSES[-1], method, vintage=vintage)
    expected = pd.DataFrame(holder(bars, known, method, vintage), columns=["event_time", "asset_id", "split_factor", "tr_factor"])
    for c in ("split_factor", "tr_factor"): np.testing.assert_allclose(found[c], expected[c], rtol=1e-9)


@settings(max_examples=60)
@given(st.integers(0, 10**6), ACTIONS, st.integers(0, len(CLOSES) - 1), st.sampled_from(["vendor", "previous_close"]),
       st.lists(st.tuples(st.integers(0, 5), st.integers(0, len(CLOSES) - 1)), max_size=4))
def test_no_later_action_changes_an_earlier_row(seed, actions, cut, method, corrections):
    bars, t = traded(seed, actions), CLOSES[cut]
    known = stamped(actions, bars)
    if known is not None:
        changed = [known.iloc[[i]].assign(timestamp=CLOSES[day] + pd.Timedelta("1h"), split_ratio=2.0, cash_dividend=0.1) for i, day in corrections if i < len(known)]
        known = pd.concat([known, *changed]).drop_duplicates(["asset_id", "effective", "timestamp"])
    whole = adjust(bars, known, CLOSES[-1], method)
    for world in (known, None if known is None else known[known["timestamp"] <= t], None if known is None else known[(known["timestamp"] <= t) & (known["effective"] <= t)]):
        pd.testing.assert_frame_equal(adjust(bars[bars["timestamp"] <= t], world, t, method), whole[whole["event_time"] <= t].reset_index(drop=True))
    then = adjust(bars, known, t, method, vintage="latest")                       # what was the latest at a bar is what that bar saw
    for c in ("split_factor", "tr_factor"): np.testing.assert_allclose(then[c][then["event_time"] == t], whole[c][whole["event_time"] == t], rtol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10**6), ACTIONS, st.integers(1, len(CLOSES) - 1), st.sampled_from([(2.0, 3.0), (1.5, 4.0), (0.1, 7.0), (2.0, 0.5)]), st.integers(0, 3))
def test_two_splits_are_their_product(seed, actions, first, ratios, apart):
    actions = [x for x in actions if x[0] == "B"]
    bars, second = traded(seed, actions), min(first + apart, len(CLOSES) - 1)
    one, two = [("A", first, ratios[0]*ratios[1], 0.0, 0)], [("A", first, ratios[0], 0.0, 0), ("A", second, ratios[1], 0.0, 0)]
    if second == first: two[1] = ("A", first, ratios[1], 0.0, 0)
    together, apiece = (stamped(actions + x, bars) for x in (one, two))
    if second == first: apiece = apiece.assign(effective=apiece["effective"] + np.arange(len(apiece))*pd.Timedelta("1min"))
    for c in ("split_factor", "tr_factor"):
        a, b = (adjust(bars, x, CLOSES[-1]).set_index(["asset_id", "event_time"])[c] for x in (together, apiece))
        outside = (a.index.get_level_values(1) < CLOSES[first]) | (a.index.get_level_values(1) >= CLOSES[second]) | (a.index.get_level_values(0) == "B")
        np.testing.assert_allclose(a[outside], b[outside], rtol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), ACTIONS)
def test_a_split_moves_neither_value_nor_returns(seed, actions):
    bars = traded(seed, actions)
    known = stamped(actions, bars)
    wide = wide_bars(adjust(bars, known, CLOSES[-1], "vendor"), known, calendar=CALENDAR)
    np.testing.assert_allclose(wide["close"]*wide["volume"], wide["raw_close"]*wide["raw_volume"], rtol=1e-12)
    pd.testing.assert_frame_equal(wide["raw_close"]*wide["split_factor"], wide["close"])
    paid = (wide["close"] + wide["dividend"])/wide["close"].shift() - 1
    in_time = set("AB") - {a for a, _, _, _, late in actions if late > 0}        # what was recorded late is a jump in what was known
    for a in sorted(in_time): np.testing.assert_allclose(wide["tr_close"][a].pct_change()[1:], paid[a][1:], rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    "A year of a few assets, in which splits, dividends, delistings and halts happen."
    provider, calendar = SimulatedProvider(n_assets=14, start="2021-01-04", end="2022-03-31", seed=36, signal_ic=0.0), Calendar()
    lake = Lake(tmp_path_factory.mktemp("lake"))
    ingest(provider, lake, calendar, pd.Timestamp("2024-01-02", tz="UTC"))
    found = load_market(lake, calendar=calendar)
    assert (found.actions["split_ratio"] != 1).sum() >= 2 and (found.actions["cash_dividend"] > 0).sum() >= 5 and len(found.delistings) >= 1
    return found


def random_weights(bars, seed, every, gross):
    "Weights of a few assets, decided every few sessions and NaN in between; never for an asset that has left."
    rng, close = np.random.default_rng(seed), bars["close"]
    drawn = pd.DataFrame(rng.random(close.shape)*(rng.random(close.shape) < 0.4), close.index, close.columns).where(close.notna(), 0.0)
    weights = drawn.div(drawn.sum(axis=1).replace(0.0, 1.0), axis=0)*gross
    weights.loc[np.arange(len(close)) % every != 0] = np.nan
    return weights


def replayed(result, bars):
    "Equity at every session, from nothing but fills, payments, splits and closes, in plain numbers."
    factor, close, cash, held, mark, equity = bars["split_factor"], bars["raw_close"], result.capital, {}, {}, []
    flows = result.trades.groupby("timestamp")
    paid = result.dividends.groupby("timestamp")
    for i, t in enumerate(close.index):
        for a in held:
            ratio = factor.at[t, a]/factor[a].iloc[max(i - 1, 0)]
            held[a], mark[a] = held[a]*ratio, mark[a]/ratio
        for d in paid.get_group(t).itertuples() if t in paid.groups else ():
            assert d.shares == pytest.approx(held[d.asset_id], rel=1e-12)
            cash += d.shares*d.per_share
        for f in flows.get_group(t).itertuples() if t in flows.groups else ():
            cash -= f.shares*f.price + f.half_spread + f.impact + f.commission
            held[f.asset_id] = held.get(f.asset_id, 0.0) + f.shares
        mark.update({a: close.at[t, a] for a in close.columns if np.isfinite(close.at[t, a])})
        assert cash >= -1e-6 and all(n >= -1e-9 for n in held.values())
        equity.append(cash + sum(n*mark[a] for a, n in held.items() if abs(n) > 1e-9))
    return pd.Series(equity, close.index)


@settings(max_examples=14)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 10]), st.sampled_from([0.3, 1.0]), st.sampled_from(["open", "vwap", "close"]), st.sampled_from(["decision", "fill"]),
       st.booleans(), st.integers(0, 2), st.sampled_from([None, "base", "pessimistic"]), st.sampled_from([30_000, 5e7]))
def test_a_ledger_reconciles(market, seed, every, gross, fill, size_at, fractional, delay, costs, capital):
    weights = random_weights(market.bars, seed, every, gross)
    result = backtest(weights, market.bars, capital=capital, fill=fill, size_at=size_at, fractional=fractional, delay=delay,
                      costs=costs and scenario(costs), delistings=market.delistings)
    assert len(result.trades) and check_ledger(result, market.bars) <= 1e-6
    pd.testing.assert_series_equal(replayed(result, market.bars), result.equity, check_names=False, rtol=0, atol=1e-6)
    ordered = result.trades[result.trades["kind"] == "order"]
    assert (ordered["decided_at"] < ordered["timestamp"]).all()
    assert (ordered[["half_spread", "impact", "commission"]] >= 0).all(axis=None)
    gone = market.delistings.index
    assert not result.positions.loc[market.bars.index > market.delistings["last_session"].max(), gone].any(axis=None)


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from([1, 7]), st.sampled_from(["open", "close"]), st.sampled_from(["decision", "fill"]), st.integers(0, 2),
       st.sampled_from([(None, 1e6), ("base", 1e6), ("base", 1e9)]))
def test_a_split_changes_nothing(market, seed, every, fill, size_at, delay, paid):
    plain = market.bars.copy()
    for name in ("open", "high", "low", "close", "volume"): plain[f"raw_{name}"] = plain[name]
    plain["split_factor"] = 1.0
    weights = random_weights(market.bars, seed, every, 0.9)
    asked = dict(capital=paid[1], fill=fill, size_at=size_at, delay=delay, costs=paid[0] and scenario(paid[0]), fractional=True, delistings=market.delistings)
    split, whole = (backtest(weights, bars, **asked).equity for bars in (market.bars, plain))
    pd.testing.assert_series_equal(split, whole, rtol=1e-9)
