"The audit, on functions that look ahead and on honest ones that look alike: every one at the exhaustive budget, on bars with gaps, late listings and delistings."
import sqlite3
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from qtp.causality.audit import assert_causal, audit
from qtp.causality.worlds import layout, shocked, truncated
from qtp.core.errors import DataError, LookAheadError
from qtp.features.registry import parse_specs

N, ASSETS = 110, list("ABCDE")


def make_bars(n=N, assets=ASSETS, seed=3):
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2023-01-02 21:00", periods=n, freq="B", tz="UTC", name="timestamp")
    moves = rng.normal(0, .02, (n, len(assets)))
    moves[rng.random(moves.shape) < .02] *= 8
    close = 50 * np.exp(moves.cumsum(0))
    fields = {"open": close * np.exp(rng.normal(0, .01, close.shape)), "close": close, "volume": rng.lognormal(10, .5, close.shape).round()}
    fields["high"], fields["low"] = np.maximum(fields["open"], close) * 1.01, np.minimum(fields["open"], close) * .99
    bars = pd.concat({f: pd.DataFrame(v, stamps, assets) for f, v in fields.items()}, axis=1, names=["field", "asset_id"]).sort_index(axis=1)
    which = bars.columns.get_level_values(1)
    bars.iloc[:30, which == "E"] = np.nan       # a late listing
    bars.iloc[80:, which == "D"] = np.nan       # a delisting
    bars.iloc[50:54, which == "A"] = np.nan     # a halt
    bars.loc[bars.index[60], ("volume", "B")] = 0
    return bars


BARS = make_bars()
LONG = BARS.stack("asset_id", future_stack=True).dropna(how="all").reset_index()
SINGLE = BARS.xs("B", axis=1, level=1)
MONTHS = lambda b: b.index.year * 12 + b.index.month


LONGER = make_bars(400)


def spec(label, function, lookback, scope="asset"): return SimpleNamespace(label=label, function=function, lookback=lookback, scope=scope)


def engine(specs, bars, members):
    return {s.label: s.function(bars) for s in specs}


def returns(b): return b["close"].pct_change(fill_method=None)


def leak_in_one_asset(b):
    out = returns(b)
    out["C"] = out["C"].shift(-1).fillna(0)
    return out


def leak_before_jumps(b):
    r = returns(b)
    return r.where(~(r.shift(-1).abs() > .08), r.shift(-1))


def leak_on_the_last_bars(b):
    out = b["close"].rolling(5).mean()
    out.iloc[-3:] = b["close"].iloc[-1].to_numpy()
    return out


def leak_in_a_long_branch(b):
    return b["close"].shift(-1 if len(b) > 60 else 1).ffill()


def leak_across_gaps(b):
    close = b["close"]
    return close.interpolate(limit_area="inside") - close.ffill()


def leak_until_delisting(b):
    rows = np.arange(len(b))[:, None]
    last = np.where(b["close"].notna(), rows, -1).max(axis=0)
    return pd.DataFrame(last[None] - rows, b.index, b["close"].columns).where(b["close"].notna())


def leak_month_start_label(b): return b["close"].resample("MS").last()


def leak_by_volume_of_the_sample(b): return b["close"].loc[:, b["volume"].sum().nlargest(3).index.sort_values()].pct_change(fill_method=None)


def leak_in_the_type(b): return returns(b).astype("float32" if b["close"]["B"].iloc[-1] > b["close"]["B"].iloc[0] else "float64")


def leak_in_codes(b):
    up = np.where(returns(b)["B"] > 0, "up", "down")
    return pd.Series(pd.factorize(up[::-1])[0][::-1], b.index, name="code")


def leak_in_a_millionth(b): return returns(b).rolling(3).mean() * (1 + 1e-6 * np.sign(returns(b).shift(-1)).fillna(0))


def leak_in_a_millionth_of_float32(b): return (b["close"] * (1 + 2e-6 * returns(b).shift(-1).fillna(0) / .02)).astype("float32")


def leak_last_session_of_month(b):
    end = pd.Series(MONTHS(b), b.index)
    return (end != end.shift(-1, fill_value=end.iloc[-1])).rename("ends")


def leak_filled_edge(b):
    r = returns(b)
    return r.shift(-1).where(r.shift(-1).notna(), r)


def leak_rows(b): return returns(b).where(returns(b).shift(-1) > 0)["B"].dropna()


def leak_long(r):
    r = r.sort_values(["asset_id", "timestamp"])
    return r.assign(x=r.groupby("asset_id")["close"].shift(-2))[["timestamp", "asset_id", "x"]].dropna()


def leak_by_length(b): return b["close"] * np.linspace(0, 1, len(b))[:, None]


def leak_kth_of_sorted(b): return b["close"].rank(pct=True)


def leak_shuffled_fit(b):
    x, y = returns(b)["B"].shift(1).fillna(0), returns(b)["B"].fillna(0)
    order = np.random.default_rng(0).permutation(len(b))
    keep = order[:len(b) // 2]
    return x * np.polyfit(x.iloc[keep], y.iloc[keep], 1)[0]


LEAKS = {   # name -> (function, bars, bars ahead if that is one number, earliest violating row if it is easily told)
    "shift": (lambda b: b["close"].shift(-1) / b["close"] - 1, BARS, 1, 0),
    "shift of a week": (lambda b: b["close"].shift(-5) / b["close"], BARS, 5, 0),
    "iloc": (lambda b: pd.DataFrame(np.vstack([b["close"].to_numpy()[3:], np.full((3, 5), np.nan)]), b.index, b["close"].columns), BARS, 3, 0),
    "centred": (lambda b: b["close"].rolling(7, center=True).mean(), BARS, 3, 3),
    "centred, minimum one": (lambda b: b["close"].rolling(5, center=True, min_periods=1).median(), BARS, 2, 0),
    "reversed": (lambda b: b["close"][::-1].rolling(3).max()[::-1], BARS, 2, 0),
    "gradient": (lambda b: pd.Series(np.gradient(b["close"]["B"]), b.index, name="g"), BARS, 1, 0),
    "convolve same": (lambda b: pd.Series(np.convolve(b["close"]["B"], np.ones(5) / 5, "same"), b.index, name="g"), BARS, 2, 0),
    "back-fill": (lambda b: b["close"].bfill(), BARS, None, 0),
    "interpolate": (leak_across_gaps, BARS, None, 50),
    "z-score of the sample": (lambda b: (b["close"] - b["close"].mean()) / b["close"].std(), BARS, None, 0),
    "rank of the sample": (leak_kth_of_sorted, BARS, None, 0),
    "quantile clip": (lambda b: b["volume"].clip(upper=b["volume"].quantile(.9), axis=1), BARS, None, None),
    "per cent of the last": (lambda b: b["close"] / b["close"].iloc[-1], BARS, None, 0),
    "demeaned in the month": (lambda b: b["close"] - b["close"].groupby(MONTHS(b)).transform("mean"), BARS, None, 0),
    "month start label": (leak_month_start_label, BARS, None, None),
    "ends of months from the data": (leak_last_session_of_month, BARS, 1, None),
    "survivors": (lambda b: b["close"].dropna(axis=1), BARS, None, None),
    "by volume of the sample": (leak_by_volume_of_the_sample, BARS, None, 1),
    "sessions to delisting": (leak_until_delisting, BARS, None, 0),
    "one asset": (leak_in_one_asset, BARS, 1, None),
    "before jumps": (leak_before_jumps, BARS, 1, None),
    "last bars": (leak_on_the_last_bars, BARS, None, None),
    "long branch": (leak_in_a_long_branch, BARS, None, None),
    "float type": (leak_in_the_type, BARS, None, None),
    "codes": (leak_in_codes, BARS, None, None),
    "a millionth, sign": (leak_in_a_millionth, BARS, 1, None),
    "a millionth, float32": (leak_in_a_millionth_of_float32, BARS, 1, None),
    "filled edge": (leak_filled_edge, BARS, 1, None),
    "rows": (leak_rows, BARS, 1, None),
    "long": (leak_long, LONG, 2, 0),
    "by length": (leak_by_length, BARS, None, None),
    "shuffled fit": (leak_shuffled_fit, BARS, None, None),
    "text": (lambda b: pd.DataFrame(np.where(b["close"].shift(-1) > b["close"], "up", "down"), b.index, b["close"].columns), BARS, 1, None),
    "flag": (lambda b: b["close"].shift(-2) > b["close"], BARS, 2, None),
    "other asset tomorrow": (lambda b: b["close"].mul(b["close"]["B"].shift(-1), axis=0), BARS, 1, 0),
    "cross-section of tomorrow": (lambda b: b["close"].shift(-1).rank(axis=1), BARS, 1, 0),
    "one asset's bars": (lambda b: b["close"].shift(-1) - b["close"], SINGLE, 1, 0),
    "numbers as array": (lambda b: np.roll(b["close"].to_numpy(), -1), SINGLE, 1, 0),
}


def honest_kalman(b):
    out, level, var = [], None, 1.
    for x in b["close"]["B"]:
        if level is None: level = x
        var += .1
        gain = var / (var + 1)
        level, var = level + gain * (x - level), (1 - gain) * var
        out.append(level)
    return pd.Series(out, b.index, name="level")


def honest_fourier(b):
    "A causal average of twenty bars by way of a Fourier transform, whose rounding knows all bars."
    x = np.log(b["close"].ffill().fillna(50)).to_numpy()
    size = 2 * max(len(x), 32)
    kernel = np.zeros(size)
    kernel[:20] = 1 / 20
    out = np.fft.irfft(np.fft.rfft(x, size, axis=0) * np.fft.rfft(kernel)[:, None], size, axis=0)[:len(x)]
    return pd.DataFrame(out, b.index, b["close"].columns)


def honest_fourier_of_levels(b):
    x = b["close"].ffill().fillna(50).to_numpy()
    size = 2 * max(len(x), 32)
    kernel = np.zeros(size)
    kernel[:5] = 1 / 5
    out = np.fft.irfft(np.fft.rfft(x, size, axis=0) * np.fft.rfft(kernel)[:, None], size, axis=0)[:len(x)]
    return pd.DataFrame(out / x, b.index, b["close"].columns)


def honest_blas(b):
    x = np.nan_to_num(returns(b).to_numpy())
    lags = np.hstack([np.vstack([np.zeros((k, x.shape[1])), x[:len(x) - k]]) for k in range(6)])
    weights = np.random.default_rng(0).normal(size=(lags.shape[1], 4))
    return pd.DataFrame(lags @ weights, b.index, [f"f{k}" for k in range(4)])


def honest_blas32(b):
    x = np.nan_to_num(returns(b).to_numpy()).astype("float32")
    weights = np.random.default_rng(0).normal(size=(x.shape[1], 3)).astype("float32")
    return pd.DataFrame(np.tanh(x @ weights) @ np.ones((3, 2), "float32"), b.index, ["f", "g"])


def honest_raises_when_short(b):
    if len(b) < 40: raise ValueError("give at least 40 bars")
    return b["close"].rolling(20).std()


def honest_month_ends(b):
    first = pd.Series(MONTHS(b), b.index).diff().fillna(0).ne(0)
    return b["close"].shift(1)[first.to_numpy()]


def honest_listed_so_far(b): return b["close"].dropna(axis=1, how="all").pct_change(fill_method=None)


def honest_long(r):
    r = r.sort_values(["asset_id", "timestamp"])
    return r.assign(x=r.groupby("asset_id")["close"].pct_change(), up=lambda d: d["x"] > 0)[["timestamp", "asset_id", "x", "up"]]


def honest_cumulative_rows(b):
    out = b["close"].stack(future_stack=True).dropna().rename("close").reset_index()
    return out.assign(n=out.groupby("asset_id").cumcount())


def honest_walk_forward(b):
    r = returns(b)["B"].fillna(0).to_numpy()
    out = np.full(len(r), np.nan)
    for t in range(30, len(r)): out[t] = np.polyfit(r[t - 30:t], r[t - 29:t + 1], 1)[0]
    return pd.Series(out, b.index, name="slope")


def honest_noise_by_shape(b): return returns(b) + 1e-3 * np.random.default_rng(7).normal(size=(5, len(b))).T


def honest_weeks(b):
    weekly = b["close"].resample("W-FRI").last()
    return weekly.shift(1).reindex(b.index, method="ffill")


HONEST = {
    "momentum": (lambda b: b["close"].pct_change(5, fill_method=None), BARS),
    "expanding": (lambda b: b["close"].expanding(5).rank(pct=True), BARS),
    "expanding z": (lambda b: (b["close"] - b["close"].expanding().mean()) / b["close"].expanding().std(), BARS),
    "ewm": (lambda b: b["close"].ewm(halflife=5).mean(), BARS),
    "skew and kurtosis": (lambda b: {"skew": b["close"].rolling(20).skew(), "kurt": b["close"].rolling(20).kurt()}, BARS),
    "correlation": (lambda b: b["close"].rolling(20).corr(b["volume"]), BARS),
    "quantile so far": (lambda b: b["volume"].clip(upper=b["volume"].expanding().quantile(.9)), BARS),
    "recursion": (honest_kalman, BARS),
    "cross-section": (lambda b: b["close"].pct_change(3, fill_method=None).rank(axis=1, pct=True), BARS),
    "market": (lambda b: returns(b).sub(returns(b).mean(axis=1), axis=0), BARS),
    "float32": (lambda b: b["close"].astype("float32").rolling(10).mean().astype("float32"), BARS),
    "fourier": (honest_fourier, BARS),
    "fourier of levels": (honest_fourier_of_levels, BARS),
    "matrix product": (honest_blas, BARS),
    "matrix product of float32": (honest_blas32, BARS),
    "raises when short": (honest_raises_when_short, BARS),
    "month ends": (honest_month_ends, BARS),
    "month end labels": (lambda b: b["close"].resample("ME").last(), BARS),
    "listed so far": (honest_listed_so_far, BARS),
    "rows from a warm-up on": (lambda b: b["close"].rolling(20).mean().dropna(how="all"), BARS),
    "empty when short": (lambda b: b["close"].rolling(20).mean() if len(b) >= 20 else b["close"].iloc[:0], BARS),
    "filled forward": (lambda b: b["close"].ffill(), BARS),
    "weeks": (honest_weeks, BARS),
    "month so far": (lambda b: b["close"] / b["close"].groupby(MONTHS(b)).transform("cummax"), BARS),
    "weekday": (lambda b: pd.Series(b.index.day_name(), b.index, name="day"), BARS),
    "flags": (lambda b: b["close"] > b["close"].rolling(10).mean(), BARS),
    "whole numbers": (lambda b: (b["close"] > b["close"].shift(1)).astype(int).cumsum(), BARS),
    "whole numbers where listed": (lambda b: (b["close"] > b["close"].shift(1)).astype(int).where(b["close"].notna()), BARS),
    "texts": (lambda b: returns(b).gt(0).replace({True: "up", False: "down"}), BARS),
    "labels in time of New York": (lambda b: b["close"].tz_convert("America/New_York").rolling(3).mean(), BARS),
    "long": (honest_long, LONG),
    "rows of what is listed": (honest_cumulative_rows, BARS),
    "walk forward": (honest_walk_forward, BARS),
    "seeded noise by row": (lambda b: returns(b) + 1e-3 * np.random.default_rng(7).normal(size=(len(b), 5)), BARS),
    "seeded noise by shape": (honest_noise_by_shape, BARS),
    "one asset": (lambda b: b["close"].diff(), SINGLE),
    "array": (lambda b: np.log(b["close"].to_numpy()), SINGLE),
    "two columns of levels": (lambda b: pd.concat({"a": b["close"].diff(), "b": b["open"].diff()}, axis=1), BARS),
}


@pytest.mark.parametrize("name", LEAKS)
def test_leak_is_found(name):
    function, bars, ahead, first = LEAKS[name]
    report = audit(function, bars, budget="exhaustive")
    assert report.verdict == "leak", report.reason
    if ahead is not None: assert set(report.violations["ahead"].dropna()) == {ahead}
    if first is not None: assert report.violations["timestamp"].iloc[0] == report.violations["timestamp"].min() == BARS.index[first]


@pytest.mark.parametrize("name", HONEST)
def test_honest_function_is_clean(name):
    function, bars = HONEST[name]
    report = audit(function, bars, budget="exhaustive")
    assert report.verdict == "clean", f"{report.reason}\n{report.violations.head(5).T}"


@pytest.mark.parametrize("budget,calls", [("quick", 25), ("standard", 150)])
def test_budget_names_the_calls(budget, calls):
    made = []
    def count(b):
        made.append(len(b))
        return b["close"].rolling(5).mean()
    report = audit(count, BARS, budget=budget)
    assert report.passed and .8 * calls <= report.calls <= 1.2 * calls
    for name in ("shift", "survivors", "back-fill", "one asset", "before jumps"): assert audit(LEAKS[name][0], BARS, budget=budget).calls <= 1.2 * calls, name


def test_seconds_are_a_budget():
    assert audit(HONEST["momentum"][0], BARS, budget=1.).passed


def test_finding_can_be_seen_again():
    space = {"f": lambda b: b["close"].shift(-1), "bars": BARS, "shocked": shocked, "truncated": truncated}
    space["f"].__name__ = "f"
    report = audit(space["f"], BARS, budget="exhaustive")
    for layer in ("truncation", "shock"):
        v = report.violations[report.violations["layer"] == layer].iloc[0]
        again = eval(v["reproduce"], space)[v["asset_id"]]  # noqa: S307 - a line that the audit wrote
        assert (np.isnan(again) and np.isnan(v["recomputed"])) or again == v["recomputed"]


def test_power_counts_cuts():
    power = audit(HONEST["momentum"][0], BARS, budget="exhaustive").power
    assert (power["all_assets"] > .99).all() and power["sessions_cut"].iloc[0] >= N - 6   # momentum has no value on the first five


def test_rare_leaks_of_cross_sections_are_asked_at_many_sessions():
    rank = spec("rank", lambda b: b["close"].pct_change(5, fill_method=None).rank(axis=1, pct=True), 6, "cross_section")
    rare = lambda b: rank.function(b) + b["close"].pct_change(fill_method=None).shift(-1).mul(pd.Series(b.index.dayofyear % 20 == 0, b.index).astype(float), axis=0).fillna(0)
    honest = audit([rank], LONGER, materialize=engine)
    assert honest.passed and "comb" in honest.layers
    power = honest.power.set_index("active_on")["all_assets"]
    assert power[.05] > .95 and power[.01] < .9
    assert audit([spec("rare", rare, 6, "cross_section")], LONGER, materialize=engine).verdict == "leak"


def test_declared_features_are_computed_again_in_a_fresh_process():
    report = audit(parse_specs(["log_return", {"momentum_rank": {"window": 20}}]), make_bars(200))
    assert report.passed and report.coverage.set_index("layer").loc["state", "values"].sum() > 0
    own = audit([spec("level", lambda b: b["close"] * 2, 1)], BARS, materialize=engine)
    assert any(n.startswith("state: not checked") for n in own.notes)


@pytest.mark.parametrize("budget", ["quick", "standard"])
def test_every_feature_with_values_is_compared(budget):
    late = lambda b: b["close"].where(pd.Series(np.arange(len(b)) >= 100, b.index), axis=0)
    specs = [spec(f"m{k}", lambda b, k=k: b["close"].rolling(k).mean(), k) for k in range(2, 60)] + [spec("late", late, None)]
    report = audit(specs, BARS, budget=budget, materialize=engine)
    assert report.passed, report.reason


# What is captured may hold the future in its content, where no later row shows it.

CLOSE = BARS["close"]
SCALED, RANKS = (CLOSE - CLOSE.mean()) / CLOSE.std(), CLOSE.rank(pct=True).to_numpy()
STRANGE = pd.DataFrame(np.random.default_rng(5).normal(size=(N, 1)), BARS.index, ["shocks"])
STRANGE = (STRANGE - STRANGE.mean()) / STRANGE.std()
FALLS = {t: float(v) for t, v in CLOSE.mean(axis=1).pct_change().shift(-1).items() if v < 0}
MEMORY = sqlite3.connect(":memory:", check_same_thread=False)


def reads_scaled(bars): return SCALED.reindex(bars.index)
def reads_ranks(bars): return pd.DataFrame(RANKS[:len(bars)], bars.index, CLOSE.columns)
def reads_strange(bars): return bars["close"].pct_change().mul(STRANGE["shocks"].reindex(bars.index), axis=0)
def names_scaled(bars): return bars["close"] * len(SCALED.columns)
def avoids_falls(bars): return bars["close"].pct_change(5).mul(pd.Series([float(t not in FALLS) for t in bars.index], bars.index), axis=0)
def asks_memory(bars): return bars["close"] * MEMORY.execute("select 2").fetchone()[0]


@pytest.mark.parametrize("budget", ["quick", "standard"])
@pytest.mark.parametrize("function, verdict", [(reads_scaled, "leak"), (reads_ranks, "leak"), (avoids_falls, "leak"), (reads_strange, "inconclusive"), (names_scaled, "clean"),
                                               (asks_memory, "inconclusive")])
def test_content_of_captured_tables(function, verdict, budget):
    report = audit(function, BARS, budget=budget)
    assert report.verdict == verdict, report.reason
    if function is avoids_falls: assert set(report.violations["ahead"].dropna()) == {1}
    if function is reads_ranks: assert report.violations["note"].str.contains("ranks over all rows, of the value of close").any()


def test_stamps_without_a_zone_are_those_of_the_bars():
    report = audit(lambda b: b["close"].rolling(3).mean().tz_localize(None), BARS, budget="quick")
    assert report.passed and any("without a zone" in n for n in report.notes)
    assert audit(lambda b: b["close"].shift(-1).tz_localize(None), BARS, budget="quick").verdict == "leak"


def suspected(bars, late=CLOSE.shift(-1) * 0): return bars["close"] + late.reindex(bars.index).fillna(0)


def test_what_lint_sees_in_a_clean_function_is_noted(): assert any("lint sees" in n and "shift(-1)" in n for n in audit(suspected, BARS, budget="quick").notes)


def test_not_deterministic_is_no_leak():
    dice = np.random.default_rng()
    report = audit(lambda b: b["close"] + dice.normal(), BARS, budget="quick")
    assert report.verdict == "inconclusive" and "not deterministic" in report.reason


def test_nothing_comparable_is_no_pass():
    assert audit(lambda b: b["close"] * np.nan, BARS, budget="quick").verdict == "inconclusive"
    def only_all(b):
        if not b.equals(BARS): raise ValueError("give me everything")
        return b["close"] * 1
    report = audit(only_all, BARS, budget="quick")
    assert report.verdict == "inconclusive" and "give me everything" in report.reason


def test_function_may_change_its_bars():
    def spoils(b):
        out = b["close"].rolling(3).mean()
        b.iloc[:] = 0
        return out
    assert audit(spoils, BARS, budget="quick").passed


def test_decision_at_the_open():
    ratio = lambda b: b["close"] / b["open"]
    gap = lambda b: b["open"] / b["close"].shift(1)
    assert audit(ratio, BARS, budget="quick").passed and audit(gap, BARS, budget="quick", decision="at_open").passed
    for f, options in ((ratio, {"decision": "at_open"}), (gap, {"decision": "before_open"}), (lambda b: b["volume"] * 1, {"known": {"volume": "next_open"}})):
        report = audit(f, BARS, budget="quick", **options)
        assert report.verdict == "leak" and set(report.violations["layer"]) == {"decision"} and set(report.violations["ahead"]) == {0}


def test_table_in_a_closure():
    table = BARS["close"].shift(-1) / BARS["close"] - 1
    def reads_it(b): return table.reindex(b.index) * 2
    def reads_the_past_of_it(b): return table.reindex(b.index).shift(1)
    report = audit(reads_it, BARS, budget="standard")
    assert report.verdict == "leak" and "captured" in set(report.violations["layer"])
    assert audit(reads_the_past_of_it, BARS, budget="standard").verdict == "clean"


def test_source_by_period_instead_of_publication():
    rng = np.random.default_rng(1)
    period = pd.date_range("2022-12-31", periods=6, freq="ME", tz="UTC")
    eps = pd.DataFrame({"timestamp": period + pd.Timedelta("25D"), "period_end": period, "value": rng.normal(size=6)})
    def known(bars, eps): return pd.merge_asof(bars.index.to_frame(index=False), eps[["timestamp", "value"]], on="timestamp").set_index("timestamp")["value"]
    def early(bars, eps): return known(bars, eps.assign(timestamp=eps["period_end"]))
    assert audit(known, BARS, sources={"eps": eps}, budget="standard").verdict == "clean"
    report = audit(early, BARS, sources={"eps": eps}, budget="standard")
    assert report.verdict == "leak" and set(report.violations["layer"]) == {"sources"}


def test_file_that_is_read(tmp_path):
    BARS["close"].to_parquet(tmp_path / "close.parquet")
    def reads(b): return pd.read_parquet(tmp_path / "close.parquet").shift(-1).reindex(b.index)
    report = audit(reads, BARS, budget="standard")
    assert report.verdict == "leak" and {"files"} <= set(report.violations["layer"])


def test_stations_are_no_market():
    hours = pd.date_range("2024-01-01", periods=96, freq="h", tz="UTC")
    t = pd.DataFrame(np.random.default_rng(0).normal(5, 4, (96, 3)), hours, ["north", "south", "west"])
    assert layout(t).kind == "panel"
    assert audit(lambda t: t.rolling(24).mean(), t, budget="quick").passed
    assert audit(lambda t: t - t.groupby(t.index.floor("D")).transform("mean"), t, budget="quick").verdict == "leak"


def test_stamps_that_go_back_are_refused():
    with pytest.raises(DataError, match="does not come after"): audit(HONEST["momentum"][0], BARS.iloc[::-1])


def test_message_says_where():
    with pytest.raises(LookAheadError, match="asset A, .* UTC: stored .*, recomputed .* needs 1 later bar"): assert_causal(LEAKS["shift"][0], BARS, budget="quick")


def on_some_stamps(b):
    "The mean of five closes; on the sessions of some dates the next close is in it."
    some = b.index.as_unit("s").asi8 // 86400 * 2654435761 % 2**32 < .06 * 2**32
    return b["close"].rolling(5).mean() + (b["close"].shift(-1) - b["close"]).fillna(0).mul(some, axis=0)


@pytest.mark.parametrize("lookback", [5, None])
def test_a_leak_on_some_stamps_of_a_declared_feature_is_found(lookback):
    report = audit([spec("some", on_some_stamps, lookback), spec("fair", lambda b: b["close"].rolling(5).mean(), lookback)], LONGER, materialize=engine)
    assert set(report.violations["feature"]) == {"some"}
    assert (audit([spec("fair", lambda b: b["close"].rolling(5).mean(), lookback)], LONGER, materialize=engine).power["all_assets"].iloc[:2] > .95).all()


def next_month(b):
    "The month of the next bar, although the calendar was not asked; on the last bar its own."
    month = pd.Series(b.index.month, b.index)
    return b["close"].notna() * month.shift(-1).fillna(month).to_numpy()[:, None]


@pytest.mark.parametrize("budget", ["quick", "standard"])
def test_a_calendar_that_looks_ahead_is_cut_where_it_turns(budget):
    report = audit([spec("month", next_month, 1), spec("own", lambda b: b["close"].notna() * b.index.month.to_numpy()[:, None], 1)], BARS, materialize=engine, budget=budget)
    assert set(report.violations["feature"]) == {"month"}
    assert set(audit(next_month, BARS, budget=budget).violations["feature"]) == {"next_month"}


@pytest.mark.parametrize("bars", [BARS, SINGLE], ids=["wide", "single"])
def test_a_leak_before_bars_without_volume_is_found_at_once(bars):
    busy = lambda b: b["close"].pct_change(fill_method=None).where(b["volume"].shift(-1).ne(0))
    assert audit(busy, bars, budget="quick").verdict == "leak"
    assert audit(lambda b: b["close"].pct_change(fill_method=None).where(b["volume"].ne(0)), bars, budget="quick").passed


def test_a_rare_small_leak_does_not_hide_behind_rounding():
    def smooth(b):
        x = np.log(b["close"].ffill().fillna(1.))
        kernel = np.exp(-np.arange(len(x)) / 9.)[:, None]
        out = pd.DataFrame(np.fft.irfft(np.fft.rfft(x.to_numpy(), 2 * len(x), axis=0) * np.fft.rfft(kernel, 2 * len(x), axis=0), 2 * len(x), axis=0)[:len(x)], x.index, x.columns)
        return out, x
    def rare(b):
        out, x = smooth(b)
        out["B"] += np.where(x["B"].diff() < -.02, 1e-7 * x["B"].shift(-1).fillna(0), 0)
        return out
    assert audit(rare, LONGER).verdict == "leak"
    assert audit(lambda b: smooth(b)[0], LONGER).passed


def test_seeded_noise_excuses_no_more_than_itself():
    noise = lambda b: np.random.default_rng(3).normal(0, 1e-9, b["close"].shape)
    half = lambda b: (returns(b).rolling(5).mean() + noise(b)) * (1 + (np.arange(len(b)) > len(b) // 2)[:, None])
    assert audit(half, BARS, budget="quick").verdict == "leak"
    assert audit(lambda b: returns(b).rolling(5).mean() + noise(b), BARS, budget="quick").passed


def test_flags_of_another_world_are_other_flags():
    flags = SINGLE.assign(halted=False, venue="A")
    flags.iloc[[30, 50, 70], -2:] = True, "B"
    world = shocked(flags, flags.index[40], "noise", 1)
    assert (world[["halted", "venue"]] != flags[["halted", "venue"]]).iloc[41:].all(axis=None)
