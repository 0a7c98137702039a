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
from qtp.data.calendar import Calendar
from qtp.data.ingest import ingest, load_market
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


@given(RECORDS, st.lists(st.integers(-1, 16), min_size=1, max_size=8, unique=True).map(sorted), st.none() | st.integers(0, 6))
def test_asof_join_agrees_with_sql(records, days, max_age):
    stamps, frame = pd.DatetimeIndex([ZERO + d*DAY for d in days]), long(records)
    found = asof_join(stamps, frame, by="asset_id", max_age=None if max_age is None else max_age*DAY)
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE records (period, asset, known, value)")
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", [(p, a, p + d, v) for p, a, d, v in records])
        for (asset, stamp), row in found.iterrows():
            day = (stamp - ZERO)//DAY
            told = db.execute("SELECT value, known FROM records WHERE asset = ? AND known <= ? ORDER BY period DESC, known DESC LIMIT 1", (asset, day)).fetchone()
            if told and max_age is not None and day - told[1] > max_age: told = None
            assert (None if pd.isna(row["value"]) else (row["value"], (row["known_at"] - ZERO)//DAY)) == told
    assert len(found) == len(stamps)*frame["asset_id"].nunique()


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


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    "A year of a few assets, in which splits, dividends, delistings and halts happen."
    provider, calendar = SimulatedProvider(n_assets=14, start="2021-01-04", end="2022-03-31", seed=36, signal_ic=0.0), Calendar()
    lake = Lake(tmp_path_factory.mktemp("lake"))
    ingest(provider, lake, calendar, pd.Timestamp("2024-01-02", tz="UTC"))
    found = load_market(lake, calendar=calendar, fingerprints=False)
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
