"""Every registered feature, one way of computing it against another: the numbers are the same, bit for bit.

A small simulated market, half a year longer than the longest history that a feature declares. `BLAS` lists features that multiply matrices by a library whose sums
depend on how many rows it is given; they are compared to a relative tolerance, everything else exactly.
"""
from dataclasses import replace

import numba
import numpy as np
import pandas as pd
import pytest

from qtp.core.errors import DataError
from qtp.core.lake import Lake
from qtp.data.adjust import market_bars
from qtp.data.simulate import simulate_market
from qtp.features import engine
from qtp.features.graph import fields_of, leaves, sector_codes
from qtp.features.live import Live
from qtp.features.memory import check_memory
from qtp.features.registry import REGISTRY, load_families, parse_specs
from qtp.features.store import FeatureStore

ASSETS, NEW = 10, 5              # assets; sessions that are appended one by one
BLAS = {}                        # feature -> relative tolerance where its sums run in BLAS or LAPACK


@pytest.fixture(scope="module")
def fields():
    market = simulate_market(n_assets=ASSETS, start="2019-01-02", end="2023-06-30")
    fields = fields_of(market_bars(market))
    close, rng = fields["close"], np.random.default_rng(1)
    names = pd.DataFrame([market.sectors.reindex(close.columns).to_numpy(object)] * len(close), close.index, close.columns)
    fields["members"] = close.notna() & (pd.DataFrame(rng.random(close.shape), close.index, close.columns).rolling(40).mean() > .45)      # names come and go
    fields["sector"] = sector_codes(names)
    for name in sorted(set().union(*(leaves(s.name, fields) for s in every_spec(None))) - set(fields)):           # session statistics: one number a session
        fields[name] = pd.DataFrame(np.exp(rng.normal(-5, .3, close.shape)), close.index, close.columns).where(close.notna())
    return fields


def every_spec(fields):
    load_families()
    own = [n for n, f in sorted(REGISTRY.items()) if f.function.__module__.startswith("qtp.")]
    return parse_specs([*own, {"log_return": {"lag": 3}}, {"mom": {"window": 60, "lag": 2}}])


@pytest.fixture(scope="module")
def whole(fields): return engine.materialize(every_spec(fields), fields, normalise=None, dtype="float64", on_error="skip")


def same(found, expected, names, what):
    "Refuse the first feature that differs, with how many do."
    off = [(n, k) for k, n in enumerate(names) if not agree(found[k], expected[k], BLAS.get(n, 0))]
    if not off: return
    lines = []
    for name, k in off:
        a, b = found[k], expected[k]
        differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        row, column = np.argwhere(differ)[0]
        lines.append(f"{name}: {differ.sum()} of {a.size} values, first at row {row - len(a)} of asset {column}: {a[row, column]!r}, expected {b[row, column]!r}")
    raise AssertionError(f"{what}: {len(off)} of {len(names)} features differ\n" + "\n".join(lines))


def agree(a, b, tolerance):
    if not tolerance: return np.array_equal(a, b, equal_nan=True)
    return np.allclose(a, b, rtol=tolerance, atol=0, equal_nan=True)


def test_every_feature_runs(fields, whole):
    assert not whole.failures, "\n".join(m for _, m in whole.failures)
    empty = [n for n, c in zip(whole.names, np.isfinite(whole.raw).any(axis=(1, 2))) if not c]
    assert not empty, f"never a value: {empty}"


@pytest.mark.parametrize("field, value", [("close", np.inf), ("low", 0.0), ("open", -5.0), ("volume", -1.0)])
def test_what_no_market_has_is_a_fault_of_the_bars(fields, whole, field, value):
    "Each feature that reads the field says the same, in words of the bars; the others are there."
    bad, says = cut_after(fields, 40), f"bars.{field}, asset {fields[field].columns[3]}, "
    bad[field].iloc[20, 3] = value
    with pytest.raises(DataError, match=f"{says}.*found {value:g}"): engine.materialize(whole.specs, bad, normalise=None)
    found = engine.materialize(whole.specs, bad, normalise=None, on_error="skip")
    assert {k for k, message in found.failures if message.startswith(says)} == {s.label for s in whole.specs if field in leaves(s.name, bad)} == set(whole.names) - set(found.names)


@pytest.mark.parametrize("field, value", [("close", np.nan), ("volume", 0.0), ("volume", np.nan)])
def test_no_price_and_no_trade_are_no_fault(fields, whole, field, value):
    bare = cut_after(fields, 80)
    bare[field].iloc[:, 3], bare[field].iloc[30, :] = value, value
    assert not engine.materialize(whole.specs, bare, normalise=None, on_error="skip").failures


def cut_after(fields, n): return {k: v.iloc[:n].copy() for k, v in fields.items()}


def test_appending_session_by_session(fields, whole, tmp_path):
    store, n = FeatureStore(Lake(tmp_path)), len(whole.index)
    for end in range(n - NEW, n + 1):
        cut = {k: v.iloc[:end] for k, v in fields.items()}
        fs = engine.materialize(whole.specs, cut, normalise=None, dtype="float64", store=store)
    same(fs.raw[:, -NEW:], whole.raw[:, -NEW:], whole.names, "appended")
    same(fs.raw[:, :-NEW], whole.raw[:, :-NEW], whole.names, "computed without the last sessions")
    assert store.lake.history("features_daily")["appended"].tolist() == [ASSETS] * NEW + [ASSETS * (n - NEW)]


def test_sessions_that_come_in_one_by_one(fields, whole):
    n = len(whole.index)
    live = Live(whole.specs, {k: v.iloc[:n - NEW] for k, v in fields.items()})
    found = [live.append({k: v.iloc[t:t + 1] for k, v in fields.items()}).to_numpy().T for t in range(n - NEW, n)]
    same(np.stack(found, axis=1), whole.raw[:, -NEW:], whole.names, "kept in memory")


def test_together_against_each_alone(fields, whole, monkeypatch):
    joint = [s for s in whole.specs if REGISTRY[s.name].joint]
    specs = parse_specs([*(s.item for s in joint), *({s.name: {**s.params, "window": w}} for s in joint if "window" in s.params for w in (7, 60) if s.params["window"] != w
                           and w >= REGISTRY[s.name].minimum.get("window", 1))])
    together = engine.materialize(specs, fields, normalise=None, dtype="float64")
    for s in joint: monkeypatch.setitem(REGISTRY, s.name, replace(REGISTRY[s.name], joint=None))
    alone = engine.materialize(specs, fields, normalise=None, dtype="float64")
    same(together.raw, alone.raw, together.names, "computed together")
    assert len(joint) >= 40 and any(s.scope == "cross_section" for s in joint)


def test_last_rows_need_their_lookback_alone(fields, whole):
    specs = [s for s in whole.specs if s.lookback is not None]
    for s in specs:
        cut = {k: v.iloc[-max(s.lookback, 8):] for k, v in fields.items()}
        found = engine.compute([s], cut).iloc[-1:].to_numpy()
        same(found[None], whole.raw[[whole.names.index(s.label)], -1:], [s.label], "from its lookback alone")


def test_last_rows_alone(fields, whole):
    "Features that know a shorter way to their last rows, and whatever else is asked for few of them."
    assert sum(REGISTRY[s.name].last is not None for s in whole.specs) >= 70
    for rows in (1, NEW):
        found = engine.materialize(whole.specs, fields, normalise=None, dtype="float64", rows=rows)
        same(found.raw, whole.raw[:, -rows:], whole.names, f"the last {rows} rows")


def test_declared_lookbacks_suffice_as_measured(fields, whole):
    table = check_memory(whole.specs, fields)
    assert table["measured"].notna().all() and table["kept"].all()


def test_one_chunk_against_many(fields, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "WORK_FRAMES", 0)
    budget = len(whole.index) * ASSETS * 8 * 40 / 2**30
    many = engine.materialize(whole.specs, fields, normalise=None, dtype="float64", store=FeatureStore(Lake(tmp_path)), memory_gb=budget)
    same(many.raw, whole.raw, whole.names, "in chunks of 40 features")


def test_one_thread_against_two(fields, whole):
    if numba.config.NUMBA_NUM_THREADS < 2: pytest.skip("one core")
    before = numba.get_num_threads()
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(engine.materialize(whole.specs, fields, normalise=None, dtype="float64").raw)
    numba.set_num_threads(before)
    same(found[0], found[1], whole.names, "one thread against two")


def test_the_order_of_the_assets_is_no_matter_to_a_feature_of_one(fields, whole):
    specs = [s for s in whole.specs if s.scope == "asset"]
    turned = engine.materialize(specs, {k: v[v.columns[::-1]] for k, v in fields.items()}, normalise=None, dtype="float64")
    same(turned.raw[:, :, ::-1], whole.raw[[whole.names.index(s.label) for s in specs]], turned.names, "assets in reverse")


def test_cross_sections_are_of_members_alone(fields, whole):
    "Whatever those outside the universe do moves no member's value."
    specs, members = [s for s in whole.specs if s.scope == "cross_section"], fields["members"]
    rng = np.random.default_rng(2)
    shocked = {k: v if k in ("members", "sector", "split_factor", "tr_factor") else v.where(members, v * np.exp(rng.normal(0, .5, v.shape))) for k, v in fields.items()}
    moved = engine.materialize(specs, shocked, normalise=None, dtype="float64")
    always = members.to_numpy() & members.rolling(len(members), min_periods=1).min().astype(bool).to_numpy()
    expected = whole.raw[[whole.names.index(s.label) for s in specs]]
    same(np.where(always, moved.raw, 0), np.where(always, expected, 0), moved.names, "members beside shocked others")
