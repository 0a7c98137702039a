"""Captured data, tables with publication times, files and memories: what is found, what is perturbed, and that everything is put back."""
import functools
import importlib
import sqlite3
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest

from qtp.causality.captured import WORLDS, captured, captured_worlds, connections, hiding, holds_future, holds_sample, named, noting, put, readers, stamps_of, world_of
from qtp.causality.process import close_servers, fresh, packed
from qtp.causality.sources import AsOf, ended, handed, refuse_sources, source_worlds
from qtp.core.errors import DataError, LookAheadError, ParameterError

DAYS = pd.bdate_range("2023-01-02", periods=80, tz="UTC") + pd.Timedelta(hours=21)
CLOSE = pd.DataFrame(np.exp(np.random.default_rng(1).normal(0, .02, (80, 3)).cumsum(axis=0)) * 50, DAYS, list("ABC"))
BARS = pd.concat({"close": CLOSE, "open": CLOSE.shift(1).fillna(50.)}, axis=1)
T = DAYS[40]

HELPERS = """
import functools, types
import numpy as np, pandas as pd
from dataclasses import dataclass, field
DAYS = pd.bdate_range("2023-01-02", periods=80, tz="UTC") + pd.Timedelta(hours=21)
TABLE = pd.DataFrame(np.random.default_rng(3).normal(1, .1, (80, 3)), DAYS, list("ABC"))
OTHER = TABLE * 2
BY_DAY = {d: float(v) for d, v in zip(DAYS, TABLE["A"])}
BY_ROW = {d: TABLE.loc[d] for d in DAYS}
NESTED = {"x": [(1, TABLE)]}
PRIVATE = types.MappingProxyType({"t": TABLE})
def last(bars): return TABLE.iloc[-1]
def bare(bars): return NESTED["x"][0][1].mean()
class Config:
    frame = TABLE
@dataclass(frozen=True)
class Model:
    frame: pd.DataFrame = field(default_factory=lambda: TABLE)
    def scale(self): return self.frame.mean()
    def __call__(self, bars): return bars["close"] * self.scale()
class Slotted:
    __slots__ = ("held",)
    def __init__(self): self.held = TABLE
    def feature(self, bars): return bars["close"] * self.held.mean()
MODEL, SLOTTED = Model(), Slotted()
@functools.lru_cache
def level(): return TABLE.mean()
"""

FEATURES = """
import functools
import numpy as np, pandas as pd
import firewall_helpers as helpers
from firewall_helpers import TABLE, OTHER as SECOND, last, level
from pandas import read_csv as csv
LAST = None
def decorated(f):
    table = TABLE
    @functools.wraps(f)
    def wrapper(bars): return f(bars) * table.mean()
    return wrapper
def by_global(bars): return bars["close"] * TABLE.mean()
def by_module(bars): return bars["close"] * helpers.OTHER.mean()
def by_helper(bars): return bars["close"] * last(bars)
def by_container(bars): return bars["close"] * helpers.bare(bars)
def by_class(bars): return bars["close"] * helpers.Config.frame.mean()
def by_model(bars): return helpers.MODEL(bars)
def by_method(bars): return helpers.SLOTTED.feature(bars)
def by_cache(bars): return bars["close"] * level()
def by_mapping(bars): return bars["close"] * max(helpers.BY_DAY.values())
def by_row(bars): return bars["close"] * sum(r["A"] for r in helpers.BY_ROW.values())
def by_lambda(bars): return (lambda b: b["close"] * TABLE.mean())(bars)
def by_comprehension(bars): return bars["close"] * sum(float(t.mean()) for t in [TABLE["A"]])
def by_import(bars):
    from firewall_helpers import OTHER
    return bars["close"] * OTHER.mean()
def by_name(bars): return bars["close"] * getattr(helpers, "OTHER").mean()
def by_default(bars, table=TABLE): return bars["close"] * table.mean()
def by_keyword(bars, *, table=TABLE): return bars["close"] * table.mean()
@decorated
def by_decorator(bars): return bars["close"]
def by_set_global(bars):
    global LAST
    if LAST is None: LAST = TABLE.mean()
    return bars["close"] * LAST
def by_attribute(bars):
    if not hasattr(by_attribute, "mean"): by_attribute.mean = TABLE.mean()
    return bars["close"] * by_attribute.mean
def plain(bars, factor): return bars["close"] * factor.mean()
def honest(bars): return bars["close"].rolling(5).mean() * TABLE.reindex(bars.index)
def sums(bars): return bars.sum()
def unordered(bars): return bars["close"] * len(str(list({"some", "words", "in", "a", "set", "of", "text"})[0]))
def drawn(bars): return bars["close"] + np.random.rand()
def hangs(bars):
    while True: pass
def breaks(bars):
    import ctypes
    ctypes.string_at(0)
def ends(bars): raise SystemExit(4)
def too_short(bars):
    if len(bars) < 60: raise ValueError("60 bars at least")
    return bars["close"]
def writes(bars):
    bars["close"].to_csv("firewall_cache.csv")
    return bars["close"]
def prints(bars):
    print("x" * 100_000)
    import os
    os.write(1, b"y" * 10)
    return bars["close"]
def reads(bars): return bars["close"] * csv(PATH)["x"].mean()
@functools.lru_cache
def loaded(): return csv(PATH)
def keeps(bars): return bars["close"] * loaded()["x"].mean()
KEPT = {}
def opens_binary(bars): return bars["close"] * float(open(PATH, "rb").readlines()[1].split(b",")[1])
def keeps_binary(bars):
    if "x" not in KEPT: KEPT["x"] = opens_binary(bars).iloc[0, 0]
    return bars["close"] * KEPT["x"]
def opens(bars): return bars["close"] * float(open(PATH).readlines()[1].split(",")[1])
"""
WAYS = [n for n in ("by_global by_module by_helper by_container by_class by_model by_method by_cache by_mapping by_row by_lambda by_comprehension by_import by_name by_default "
                    "by_keyword by_decorator by_set_global by_attribute").split()]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    "Two modules of somebody's, importable by name, and a file that they read."
    folder = tmp_path_factory.mktemp("firewall")
    (folder / "table.csv").write_text("day,x\n2023-01-05,1.0\n2023-06-05,3.0\n")
    (folder / "firewall_helpers.py").write_text(textwrap.dedent(HELPERS))
    (folder / "firewall_features.py").write_text(textwrap.dedent(FEATURES) + f"\nPATH = {str(folder / 'table.csv')!r}\n")
    sys.path.insert(0, str(folder))
    yield importlib.import_module("firewall_features")
    sys.path.remove(str(folder))
    for name in ("firewall_features", "firewall_helpers"): sys.modules.pop(name)
    close_servers()


def moves(function, found, kind):
    "Whether the answer moves when captured rows after T are other ones; and that it is as before afterwards."
    before = function(BARS)
    with put(world_of(found, T, kind, np.random.default_rng(0))): other = function(BARS)
    pd.testing.assert_frame_equal(function(BARS), before)
    return not other.equals(before)


@pytest.mark.parametrize("way", WAYS)
def test_captured_data_is_found_replaced_and_put_back(features, way):
    function = getattr(features, way)
    found = captured(function, BARS)
    assert any(c.perturbable and c.size >= 80 for c in found), way
    assert moves(function, found, "changed") and (moves(function, found, "removed") or way == "by_mapping")


def test_partials_methods_objects_and_tuples(features):
    table, helpers = features.TABLE, sys.modules["firewall_helpers"]
    def inside(): return lambda bars: bars["close"] * pair[1].mean()
    pair = (0, table)
    partials = functools.partial(features.plain, factor=table), functools.partial(lambda t, bars: bars["close"] * t.mean(), table)
    for function in (*partials, helpers.MODEL, helpers.SLOTTED.feature, inside()):
        found = captured(function, BARS)
        assert [c.value is table for c in found if c.kind == "frame"] and moves(function, found, "changed")
    assert pair[1] is table and helpers.MODEL.frame is table


def test_names_say_how_the_function_reaches_the_data(features):
    path = lambda f: [c.path for c in captured(f) if c.kind == "frame"]
    assert path(features.by_helper) == ["global firewall_helpers.TABLE"] and path(features.by_module) == ["global helpers.OTHER"]
    assert path(features.by_decorator) == ["closure table"] and path(features.by_keyword) == ["default table"]
    assert path(features.by_container) == ["global firewall_helpers.NESTED['x'][0][1]"] and path(features.by_model) == ["global helpers.MODEL.frame"]


def test_an_exception_leaves_everything_in_place(features):
    found = captured(features.by_container)
    table = sys.modules["firewall_helpers"].NESTED["x"][0][1]
    with pytest.raises(ZeroDivisionError), put(world_of(found, T, "removed", np.random.default_rng(0))): raise ZeroDivisionError
    assert sys.modules["firewall_helpers"].NESTED["x"][0][1] is table


def test_an_honest_function_does_not_move(features):
    found, before = captured(features.honest, BARS), features.honest(BARS)
    for kind in WORLDS:
        with put(world_of(found, T, kind, np.random.default_rng(1))): pd.testing.assert_frame_equal(features.honest(BARS)[:41], before[:41])


def test_libraries_are_not_searched_and_parameters_are_only_named(features):
    weights, names = np.arange(3.), {"A": 1., "B": 2.}
    found = captured(lambda bars: bars["close"] * weights * names["A"] * np.log(2) + len(pd.__name__))
    assert {(c.path, c.kind, c.perturbable) for c in found} == {("closure weights", "array", False), ("closure names", "other", False)}


def test_types_stay_when_rows_are_hidden():
    n = len(DAYS)
    frame = pd.DataFrame({"day": DAYS, "whole": np.arange(n), "small": np.arange(n, dtype="int8"), "flag": np.arange(n) % 2 == 0, "text": ["u", "v"] * (n // 2),
                          "kind": pd.Categorical(["u", "v"] * (n // 2)), "maybe": pd.array([1, None] * (n // 2), dtype="Int64"),
                          "x": np.linspace(1, 2, n).astype("float32"), "asset_id": 7})
    for kind, other in captured_worlds(named("frame", frame), T, np.random.default_rng(0)):
        assert other.dtypes.to_dict() == frame.dtypes.to_dict() and not other.equals(frame)
        pd.testing.assert_frame_equal(other[:41], frame[:41])
        assert kind == "removed" or (other["day"].equals(frame["day"]) and other["asset_id"].equals(frame["asset_id"]) and (other["x"] > 0).all())


def test_knowledge_time_comes_from_publication_first():
    frame = pd.DataFrame({"published": ["2024-05-02"], "eps": [1.]}, pd.to_datetime(["2024-03-31"]))
    assert str(stamps_of(frame)[0][0].date()) == "2024-05-02" and str(stamps_of(frame[["eps"]])[0][0].date()) == "2024-03-31"
    assert str(stamps_of(pd.Series([1.], pd.PeriodIndex(["2024Q1"], freq="Q")))[0][0].date()) == "2024-03-31"
    wide = pd.DataFrame(np.ones((2, 3)), ["A", "B"], pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]))
    assert stamps_of(wide)[1] == 1 and stamps_of(pd.DataFrame({"x": [1, 2]}))[0] is None
    both = pd.DataFrame({"trade_date": ["2024-01-01"], "settle_date": ["2024-01-03"], "x": [1]})
    assert str(stamps_of(both)[0][0].date()) == "2024-01-03"


@pytest.mark.parametrize("ahead, made", [(1, lambda c: c.pct_change().shift(-1)), (5, lambda c: c.shift(-5) / c - 1), (3, lambda c: np.sign(c.shift(-3) - c)),
                                         (2, lambda c: np.log(c).diff().shift(-2) * 100 + 1), (1, lambda c: c.shift(-1).astype("float32").astype(float))])
def test_a_table_that_holds_the_future(ahead, made):
    found = holds_future(named("table", made(CLOSE)), BARS)
    if made(CLOSE).stack().abs().max() < 40 or ahead != 1: assert {f["ahead"] for f in found} == {ahead} and len(found) == 3
    records = made(CLOSE).rename_axis("timestamp").reset_index().melt("timestamp", var_name="asset_id", value_name="x")
    assert {f["asset_id"] for f in holds_future(named("records", records), BARS)} == {f["asset_id"] for f in found}


@pytest.mark.parametrize("made", [lambda c: c, lambda c: c.pct_change(), lambda c: c.shift(1), lambda c: np.sign(c.diff()), lambda c: c * 0 + 1, lambda c: c.rolling(5).mean(),
                                  lambda c: c.cumsum(), lambda c: pd.DataFrame(np.arange(c.size).reshape(c.shape), c.index, c.columns)])
def test_honest_tables_hold_no_future(made): assert not holds_future(named("table", made(CLOSE)), BARS)


def test_a_table_that_was_scaled_over_all_rows():
    scaled = (CLOSE - CLOSE.mean()) / CLOSE.std(ddof=0)
    assert [(f["column"], f["rows"]) for f in holds_sample(named("scaled", scaled))] == [(a, 80) for a in "ABC"]
    for honest in (CLOSE, CLOSE.diff(), CLOSE - CLOSE.mean(), np.sign(CLOSE.diff())): assert not holds_sample(named("honest", honest))


@pytest.mark.parametrize("make, what", [
    (lambda c: (c - c.mean()) / c.std(), "mean 0"), (lambda c: c.rank(pct=True), "ranks"), (lambda c: -c.rank(), "ranks"), (lambda c: c - c.mean(), "mean 0 over"),
    (lambda c: (c - c.min()) / (c.max() - c.min()), "least 0"), (lambda c: c / c.iloc[-1], "last row"), (lambda c: c / c.max(), "largest 1")])
def test_a_statistic_of_the_bars_over_all_rows_is_told_from_others(make, what):
    for table in (make(CLOSE), make(CLOSE).to_numpy()):
        found = holds_sample(named("scaled", table, BARS), BARS)
        assert len(found) == 3 and all(f["what"].startswith(what) and f["of"] == "value of close" for f in found)
    strange = make(np.exp(pd.DataFrame(np.random.default_rng(9).normal(0, .1, (80, 3)), DAYS)).cumsum() + 5 * np.random.default_rng(8).random((80, 3)))
    assert not [f for f in holds_sample(named("other", strange), BARS) if f["of"]]


def test_honest_columns_are_no_statistics_of_all_rows():
    rows = pd.DataFrame({"row": np.arange(80.), "share": np.arange(1, 81) / 80}, DAYS)
    for honest in (CLOSE, CLOSE.pct_change(), CLOSE / CLOSE.iloc[0], CLOSE.rank(axis=1, pct=True), CLOSE.expanding().rank(), rows, CLOSE.rolling(20).mean(), BARS["open"]):
        assert not holds_sample(named("honest", honest), BARS)


def test_a_table_of_market_returns_is_compared_with_the_mean_of_the_assets():
    for market in (CLOSE.mean(axis=1).pct_change(), CLOSE.pct_change().mean(axis=1)):
        assert not holds_future(named("market", market), BARS)
        found = holds_future(named("market", market.shift(-1)), BARS)
        assert [(f["asset_id"], f["ahead"]) for f in found] == [("mean of the assets", 1)]


def test_connections_and_open_files_are_named(tmp_path):
    base, file, log = sqlite3.connect(":memory:"), (tmp_path / "a.txt"), open(tmp_path / "log.txt", "w")
    file.write_text("x")
    with open(file) as held:
        def reads(bars): return base.execute("select 1"), held.read(), log.write("x")
        assert [(path, kind) for path, kind, _ in connections(reads)] == [("closure base", "sqlite3.Connection"), ("closure held", "_io.TextIOWrapper")]
        with readers(noting()) as paths: pd.read_sql("select 1 as one", base)
        assert any(x is base for x in paths.given)
    assert [path for path, *_ in connections(reads)][:1] == ["closure base"]
    log.close()


# Sources, by an oracle: what an honest loop over stamps would say.

def fundamentals():
    rng = np.random.default_rng(5)
    ends = pd.date_range("2022-09-30", "2023-06-30", freq="QE", tz="UTC")
    rows = pd.DataFrame([(e, a) for e in ends for a in "ABC"], columns=["period_end", "asset_id"])
    rows["published"] = rows["period_end"] + pd.to_timedelta(rng.integers(15, 40, len(rows)), "D")
    rows["eps"] = rng.normal(1, .3, len(rows)).round(3)
    again = rows[::3].assign(published=lambda r: r["published"] + pd.Timedelta(days=20), eps=lambda r: r["eps"] + .5)
    return pd.concat([rows, again]).sort_values("published", ignore_index=True)


def oracle(records, index, column="eps"):
    "For each stamp and asset: of what was published, the latest period, in its last version."
    out = pd.DataFrame(np.nan, index, sorted(records["asset_id"].unique()))
    for t in index:
        for a in out.columns:
            known = records[(records["published"] <= t) & (records["asset_id"] == a)].sort_values(["period_end", "published"])
            if len(known): out.loc[t, a] = known[column].iloc[-1]
    return out


EPS = fundamentals()
MACRO = pd.DataFrame({"value": [1., 1.5, 2., 2.5, 3.]}, pd.to_datetime(["2023-01-13", "2023-02-14", "2023-03-10", "2023-03-14", "2023-04-14"], utc=True))
MEMBERS = pd.DataFrame({"announced": ["2022-12-01", "2022-12-01", "2023-02-20", "2023-04-03"], "effective": ["2022-12-05", "2022-12-05", "2023-02-27", "2023-04-10"],
                        "asset_id": ["A", "B", "C", "A"], "member": [True, True, True, False]})
SPELLS = pd.DataFrame({"asset_id": list("AABC"), "start_date": ["2022-12-01", "2023-03-20", "2022-12-01", "2023-02-20"],
                       "end_date": ["2023-02-06", None, "2023-03-30", None]})
SPLITS = pd.DataFrame({"timestamp": DAYS[[5, 28, 45]], "effective": DAYS[[10, 36, 50]], "asset_id": list("ABC"), "ratio": [2., .5, 3.]})


def by_publication(bars, eps): return AsOf("eps", eps).join(bars.index, "eps") / bars["close"]


def by_period(bars, eps):
    wide = eps.pivot_table(index="period_end", columns="asset_id", values="eps", aggfunc="last")
    return wide.reindex(bars.index, method="ffill") / bars["close"]


def with_memory(bars, eps): return by_publication(bars, eps).rolling(10).mean()


def last_release(bars, macro): return macro["value"][~macro.index.duplicated(keep="last")].reindex(bars.index, method="ffill")


def next_release(bars, macro): return macro["value"][~macro.index.duplicated(keep="last")].reindex(bars.index, method="bfill")


def members_then(bars, members):
    since = pd.to_datetime(members[["announced", "effective"]].max(axis=1), utc=True)
    wide = members.assign(since=since).pivot_table(index="since", columns="asset_id", values="member", aggfunc="last").ffill()
    return bars["close"].pct_change().where(wide.reindex(bars.index, method="ffill").reindex(columns=list("ABC")) == 1)


def members_now(bars, members): return bars["close"].pct_change().where(members.groupby("asset_id")["member"].last().reindex(list("ABC"), fill_value=False), axis=1)


def adjusted(bars, splits):
    out = bars["close"].copy()
    for s in splits.itertuples(): out.loc[out.index >= s.effective, s.asset_id] *= s.ratio
    return out


def spell_by_spell(bars, spells):
    ends = pd.to_datetime(spells["end_date"], utc=True)
    inside = pd.DataFrame(False, bars.index, list("ABC"))
    for a, s, e in zip(spells["asset_id"], pd.to_datetime(spells["start_date"], utc=True), ends): inside.loc[(bars.index >= s) & ((bars.index < e) | pd.isna(e)), a] = True
    return bars["close"].pct_change().where(inside)


def to_the_end(bars, spells):
    lasting = spells[spells["end_date"].isna()]["asset_id"]
    return bars["close"].pct_change().where(pd.Series(bars["close"].columns.isin(lasting), bars["close"].columns), axis=1)


def both_honest(bars, sources): return by_publication(bars, sources["eps"]).add(last_release(bars, sources["macro"]), axis=0)


def one_leaks(bars, sources): return by_publication(bars, sources["eps"]).add(next_release(bars, sources["macro"]), axis=0)


def broken(function, sources, cuts=(30, 38, 52, 60)):
    "Invariants that a function breaks, by kind."
    out, full = set(), function(BARS, **handed(function, sources))
    for t in (DAYS[k] for k in cuts):
        for name in sources:
            for kind, other, holds in source_worlds(sources[name], t, np.random.default_rng(2)):
                answer = lambda table, name=name: function(BARS, **handed(function, {**sources, name: table}))
                again, at = answer(other), holds.same(DAYS)
                if not again[at].equals(full[at]): out.add(kind)
                if holds.back is not None and not again[holds.absent(DAYS)].equals(answer(holds.without)[holds.absent(DAYS)]): out.add("absent")
    return out


HONEST = [(by_publication, {"eps": EPS}), (by_publication, {"eps": EPS.sample(frac=1, random_state=1)}), (with_memory, {"eps": EPS}), (last_release, {"macro": MACRO}),
          (members_then, {"members": MEMBERS}), (adjusted, {"splits": SPLITS}), (spell_by_spell, {"spells": SPELLS}),
          (spell_by_spell, {"spells": SPELLS.fillna({"end_date": "2099-12-31"})}), (both_honest, {"eps": EPS, "macro": MACRO})]
LEAKS = [(by_period, {"eps": EPS}), (to_the_end, {"spells": SPELLS}), (next_release, {"macro": MACRO}),
         (members_now, {"members": MEMBERS}), (one_leaks, {"eps": EPS, "macro": MACRO})]


@pytest.mark.parametrize("function, sources", HONEST)
def test_honest_joins_break_nothing(function, sources): assert broken(function, sources) == set()


@pytest.mark.parametrize("function, sources", LEAKS)
def test_joins_around_publication_are_broken(function, sources): assert {"changed", "removed", "added"} & broken(function, sources)


def test_the_handle_agrees_with_a_loop():
    pd.testing.assert_frame_equal(AsOf("eps", EPS).join(DAYS, "eps"), oracle(EPS, DAYS), check_names=False, check_freq=False)
    for t in DAYS[::20]:
        known = AsOf("eps", EPS).asof(t).set_index(["period_end", "asset_id"])["eps"]
        loop = EPS[EPS["published"] <= t].groupby(["period_end", "asset_id"])["eps"].last()
        pd.testing.assert_series_equal(known.sort_index(), loop.sort_index())


def test_the_handle_refuses_to_read_past_its_instant():
    handle = AsOf("eps", EPS).ending(T)
    assert len(handle.history()) == (EPS["published"] <= T).sum()
    with pytest.raises(LookAheadError, match="eps: asked for 2023-03-01"): AsOf("eps", EPS).ending("2023-02-28").asof("2023-03-01")
    with pytest.raises(LookAheadError, match="Ask for the instant of the decision"): handle.join(DAYS, "eps")
    with pytest.raises(DataError, match="table: no column or index says when"): AsOf("table", pd.DataFrame({"x": [1, 2]})).history()


def test_a_source_keeps_its_type():
    for table in (EPS, AsOf("eps", EPS), MACRO, MEMBERS):
        assert type(ended(table, T)) is type(table)
        for _, other, _ in source_worlds(table, T, np.random.default_rng(0)):
            assert type(other) is type(table)
            if not isinstance(table, AsOf): assert other.dtypes.to_dict() == table.dtypes.to_dict() and type(other.index) is type(table.index)


def test_a_table_of_spells_does_not_tell_their_ends():
    for t, ends in (("2023-02-01", ["", ""]), ("2023-02-10", ["2023-02-06", ""])):
        for known in (AsOf("spells", SPELLS).asof(t), ended(SPELLS, t)): assert known["end_date"].fillna("").tolist() == ends
    assert ended(SPELLS.fillna({"end_date": "2099-12-31"}), T)["end_date"].tolist() == ["2023-02-06", "2099-12-31", "2099-12-31"]
    function = lambda bars: spell_by_spell(bars, SPELLS)
    before = function(BARS)[:41]
    for kind in WORLDS:
        with put(world_of(captured(function), T, kind, np.random.default_rng(0))): assert function(BARS)[:41].equals(before)


# Files.

def test_readers_are_intercepted_under_every_name(tmp_path, features):
    import pyarrow.dataset
    import pyarrow.parquet
    frame = pd.DataFrame({"timestamp": DAYS, "x": np.arange(80.)})
    at = {n: tmp_path / f"x.{n}" for n in ("parquet", "pkl", "feather", "json", "npy", "csv")}
    frame.to_parquet(at["parquet"]), frame.to_pickle(at["pkl"]), frame.to_feather(at["feather"]), frame.to_json(at["json"], date_format="iso")
    np.savez(tmp_path / "x.npz", x=frame["x"].to_numpy()), np.save(at["npy"], frame["x"].to_numpy()), frame.to_csv(at["csv"], index=False)
    reads = {"parquet": lambda: pd.read_parquet(at["parquet"]), "pickle": lambda: pd.read_pickle(at["pkl"]),  # noqa: S301 - its own
             "feather": lambda: pd.read_feather(at["feather"]), "json": lambda: pd.read_json(at["json"]), "arrow": lambda: pyarrow.parquet.read_table(at["parquet"]).to_pandas(),
             "file": lambda: pyarrow.parquet.ParquetFile(at["parquet"]).read().to_pandas(),
             "dataset": lambda: pyarrow.dataset.dataset(at["parquet"]).to_table().to_pandas(),
             "npz": lambda: pd.DataFrame({"x": np.load(tmp_path / "x.npz")["x"]}), "npy": lambda: pd.DataFrame({"x": np.load(at["npy"])}),
             "text": lambda: pd.DataFrame({"x": [float(line.split(",")[1]) for line in list(open(at["csv"]))[1:]]}),
             "path": lambda: pd.DataFrame({"x": [float(line.split(",")[1]) for line in at["csv"].read_text().splitlines()[1:]]}),
             "chunks": lambda: pd.concat(pd.read_csv(at["csv"], chunksize=30))}
    for name, read in reads.items():
        change = hiding(T, "changed", np.random.default_rng(0), BARS)
        before = read()["x"].to_numpy()
        with readers(change) as paths: after = read()["x"].to_numpy()
        assert change.touched and (before[:41] == after[:41]).all() and (before[41:] != after[41:]).all(), name
        assert paths and read()["x"].tolist() == before.tolist(), name


def test_delta_tables_are_intercepted(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(str(tmp_path / "t"), pd.DataFrame({"timestamp": DAYS, "x": np.arange(80.)}))
    with readers(hiding(T, "removed", np.random.default_rng(0))):
        assert len(deltalake.DeltaTable(str(tmp_path / "t")).to_pandas()) == 41 and deltalake.DeltaTable(str(tmp_path / "t")).to_pyarrow_table().num_rows == 41


def test_a_reader_imported_by_name_and_what_it_read(features):
    with readers(hiding(T, "removed", np.random.default_rng(0))) as paths: hidden = features.reads(BARS)
    with readers(kept := noting(), [features.reads]): features.reads(BARS)
    assert hidden.equals(BARS["close"] * 1.) and features.reads(BARS).equals(BARS["close"] * 2.) and list(kept.tables) == [features.PATH] == paths
    captured(features.keeps), features.keeps(BARS)
    with readers(hiding(T, "removed", np.random.default_rng(0)), [features.keeps]) as paths: assert features.keeps(BARS).equals(hidden) and paths
    assert features.keeps(BARS).equals(BARS["close"] * 2.)
    with pytest.raises(RuntimeError), readers(noting()): raise RuntimeError
    assert pd.read_csv.__module__ == "pandas" and features.csv is pd.read_csv and not hasattr(pd.read_csv, "__wrapped__")


# Processes.

def test_what_is_remembered_shows_in_a_fresh_process(features):
    stored = features.by_set_global(BARS)
    found = fresh(features.honest, BARS, cuts=[T, DAYS[60]], seeds=(0, 1))
    assert found.checked and found.how == "by name" and not found.notes and found.calls == 6 and found.read_bytes == 0 and not found.writes
    assert found.full.equals(features.honest(BARS)) and found.again.equals(found.full) and found.first[T].equals(found.full[:41]) and found.after.equals(found.full)
    assert fresh(features.by_set_global, BARS, cuts=[T]).full.equals(stored)


def test_functions_that_are_not_deterministic(features):
    words, drawn = (fresh(f, BARS, seeds=(0, 3)) for f in (features.unordered, features.drawn))
    assert not drawn.again.equals(drawn.full)
    assert words.full is not None and words.again is not None


@pytest.mark.parametrize("name, says", [("hangs", "it took longer than 2 s"), ("breaks", "ended by SIGSEGV"), ("ends", "ended itself with code|SystemExit")])
def test_a_process_that_dies_is_said_and_the_next_one_works(features, name, says):
    found = fresh(getattr(features, name), BARS, cuts=[T], timeout=2.)
    assert not found.checked and pytest.importorskip("re").search(f"state: not checked: {name}: .*({says})", found.reason), found
    assert fresh(features.honest, BARS, cuts=[T]).checked


def test_a_world_that_is_too_short_is_an_error_of_that_world(features):
    found = fresh(features.too_short, BARS, cuts=[T, DAYS[70]])
    assert list(found.first) == [DAYS[70]] and found.full is not None and "60 bars at least" in found.errors[T] and not found.reason


def test_bytes_read_and_written(features, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reads, opens, writes, prints = (fresh(getattr(features, n), BARS) for n in ("reads", "opens", "writes", "prints"))
    size = len(open(features.PATH).read())
    assert reads.read_bytes >= size and (reads.read_past, reads.paths) == (0, (features.PATH,)) and not reads.notes
    assert opens.read_bytes >= size and (opens.read_past, opens.paths) == (0, (features.PATH,)) and not opens.notes
    binary, kept = fresh(features.opens_binary, BARS), fresh(features.keeps_binary, BARS)
    assert binary.read_past == kept.read_past == size and features.PATH in binary.notes[0] and fresh(features.keeps, BARS).paths == (features.PATH,)
    assert writes.writes and "firewall_cache.csv" in writes.notes[0] and not prints.read_bytes


def test_what_cannot_travel_says_why(features, monkeypatch):
    offset, held = 1., threading.Lock()
    assert fresh(lambda bars: bars["close"] + offset, BARS, cuts=[T]).how == "by value"
    assert "cannot be sent to another process" in fresh(lambda bars: held.locked(), BARS).reason
    @functools.lru_cache
    def level(n): return n * offset
    kept = fresh(lambda bars: bars["close"] + level(2), BARS, cuts=[T])
    assert kept.checked and kept.first[T].equals(kept.full[:41])
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    assert "it is a lambda" in packed(lambda bars: offset).reason and not packed(features.honest).reason


def test_an_edited_file_is_not_taken_for_a_memory(features):
    file = sys.modules["firewall_features"].__file__
    source = open(file).read()
    try:
        with open(file, "w") as f: f.write(source.replace("def sums(bars): return bars.sum()", "def sums(bars): return bars.mean() + 1"))
        assert "has been edited since it was imported" in fresh(features.sums, BARS, cuts=[T]).reason
    finally:
        with open(file, "w") as f: f.write(source)


def test_sources_travel_as_they_are(features):
    found = fresh(by_publication, BARS, {"eps": AsOf("eps", EPS).frame}, [T])
    assert found.first[T].equals(by_publication(BARS, EPS)[:41])
    late = fresh(functools.partial(by_period), BARS, {"eps": EPS}, [DAYS[5]])
    assert not late.first[DAYS[5]].equals(late.full[:6])


def test_declared_features_take_no_table():
    from qtp.features.registry import parse_specs
    specs = parse_specs(["log_return", "mom", "price_zscore", "rsi"])
    refuse_sources(specs, None)
    with pytest.raises(ParameterError, match=r"table `eps` \(2 in all\).*log_return, mom_20, price_zscore_20, \.\.\.\) read fields.*def joined\(bars, eps\)"):
        refuse_sources(specs, {"eps": CLOSE, "rates": CLOSE})
    from qtp.causality.audit import audit
    with pytest.raises(ParameterError, match="sources: found table `eps`"): audit(specs, BARS, sources={"eps": CLOSE}, budget="quick")
