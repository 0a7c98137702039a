"""Rolling kernels: against a window recomputed in the plainest way there is, on any input; and the same bits from any start, to any end, on any number of threads."""
import math
from fractions import Fraction

import numba
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qtp.core.errors import AlignmentError, ParameterError
from qtp.features import rolling as r
from qtp.features.windows import ALONE, FLAT

settings.register_profile("rolling", deadline=None, derandomize=True, database=None, max_examples=40)
QUICK = settings.get_profile("rolling")

ONE = {"sum": r.rolling_sum, "mean": r.rolling_mean, "product": r.rolling_product, "count": r.rolling_count, "var": r.rolling_var, "std": r.rolling_std, "skew": r.rolling_skew,
       "kurt": r.rolling_kurt, "max": r.rolling_max, "min": r.rolling_min, "argmax": r.rolling_argmax, "argmin": r.rolling_argmin, "rank": r.rolling_rank,
       "quantile": lambda f, w, m=None: r.rolling_quantile(f, w, .3, m), "slope": r.rolling_slope, "r2": r.rolling_r2, "residual": r.rolling_residual, "decay": r.decay_linear}
TWO = {"corr": r.rolling_corr, "cov": r.rolling_cov, "beta": r.rolling_beta}
EWM = {"ewm_mean": r.ewm_mean, "ewm_std": r.ewm_std}


def exact(values): return [Fraction(float(v)) for v in values]
def spread(values): return sum((v - sum(values)/len(values))**2 for v in values)


def oracle(name, v, window, least, u=None):
    "One window, oldest first, in exact fractions where sums are taken; NaN is no value, infinity silences. (value, scale of what was added)."
    if np.isinf(v).any() or (u is not None and np.isinf(u).any()): return math.nan, 0
    there = ~np.isnan(v) & (True if u is None else ~np.isnan(u))
    x, n, age = v[there], there.sum(), (len(v) - 1 - np.arange(len(v)))[there]
    if n < max(least, 1): return math.nan, 0
    if name in ("rank", "residual") and not there[-1]: return math.nan, 0
    e = exact(x)
    size = float(abs(x).max())
    if name == "sum": return float(sum(e)), n*size
    if name == "mean": return float(sum(e)/int(n)), size
    if name == "product": return float(math.prod(e)), 0
    if name == "count": return float((x != 0).sum()), 0
    if name == "max": return x.max(), 0
    if name == "min": return x.min(), 0
    if name == "argmax": return age[x.argmax()], 0
    if name == "argmin": return age[x.argmin()], 0
    if name == "rank": return stats.rankdata(x)[-1]/n, 0
    if name == "quantile": return np.quantile(x, .3), size
    if name == "decay":
        weights = [int(window - a) for a in age]
        return float(sum(w*k for w, k in zip(weights, e))/sum(weights)), size
    if n < 2: return math.nan, 0
    return second_order(name, e, x, n, age, v if u is None else u[there])


def second_order(name, e, x, n, age, u):
    m2, flat = spread(e), lambda k: float(spread(k)) <= n*(FLAT*abs(float(sum(k)/int(n))))**2
    if name in ("var", "std"):
        v = 0.0 if flat(e) else float(m2/(int(n) - 1))
        return (v if name == "var" else math.sqrt(v)), 0
    if name in ("skew", "kurt"):
        if flat(e) or n < (3 if name == "skew" else 4): return math.nan, 0
        around = np.array([float(k - sum(e)/int(n)) for k in e])
        return (stats.skew if name == "skew" else stats.kurtosis)(around/abs(around).max(), bias=False), 1
    t = exact(-age) if name in ("slope", "r2", "residual") else exact(u)
    mt, me = sum(t)/int(n), sum(e)/int(n)
    tt, te = spread(t), sum((a - mt)*(b - me) for a, b in zip(t, e))
    if name == "cov": return (0.0 if flat(t) or flat(e) else float(te/(int(n) - 1))), math.sqrt(float(tt)*float(m2))/(n - 1)
    if flat(t): return math.nan, 0
    if name in ("slope", "beta"): return (0.0 if flat(e) else float(te/tt)), math.sqrt(float(m2)/float(tt))
    if name == "residual": return (0.0 if flat(e) else float(e[-1] - me - te/tt*(t[-1] - mt))), math.sqrt(float(m2))
    if flat(e): return math.nan, 0
    return (float(te*te/(tt*m2)) if name == "r2" else float(te)/math.sqrt(float(tt*m2))), 1


def column(name, f, values, window, least, other=None):
    "Every row of one column against the oracle, to 1e-9 of the value or of the scale of what was added up."
    frame = pd.DataFrame({"A": values})
    found = f(frame, window, least)["A"] if other is None else f(frame, pd.DataFrame({"A": other}), window, least)["A"]
    with np.errstate(all="ignore"):
        for t in range(len(values)):
            s = slice(max(0, t - window + 1), t + 1)
            expected, scale = oracle(name, np.asarray(values[s]), window, least, None if other is None else np.asarray(other[s]))
            assert np.isclose(found.iloc[t], expected, rtol=1e-9, atol=1e-9*scale, equal_nan=True), (name, t, found.iloc[t], expected)


LEVELS = st.sampled_from([0.0, 1.0, 1e5, -1e5])
SCALES = st.sampled_from([1e-12, 1e-3, 1.0, 1e6, 1e12])


@st.composite
def series(draw, n=None):
    "Values around a level, at a scale, with repeats, constants, NaN, and seldom an infinity."
    n = n or draw(st.integers(1, 40))
    level, scale = draw(LEVELS), draw(SCALES)
    steps = draw(st.lists(st.integers(-1000, 1000) if draw(st.booleans()) else st.integers(-1, 1), min_size=n, max_size=n))
    holes = draw(st.lists(st.sampled_from([0.0]*12 + [math.nan]*2 + ([math.inf, -math.inf] if draw(st.integers(0, 4)) == 0 else [0.0])), min_size=n, max_size=n))
    return [scale*(level + k/8) + h for k, h in zip(steps, holes)]


@pytest.mark.parametrize("name", ONE)
@settings(QUICK)
@given(values=series(), window=st.integers(1, 45), least=st.integers(1, 6))
def test_one_column(name, values, window, least):
    if name == "product": values = [v if not math.isfinite(v) else 1 + v/1e18 for v in values]
    column(name, ONE[name], values, window, min(least, window))


@pytest.mark.parametrize("name", TWO)
@settings(QUICK)
@given(data=st.data(), n=st.integers(1, 40), window=st.integers(2, 45), least=st.integers(1, 6))
def test_two_columns(name, data, n, window, least):
    column(name, TWO[name], data.draw(series(n)), window, least, data.draw(series(n)))


@pytest.mark.parametrize("name", EWM)
@settings(QUICK)
@given(values=series(), half_life=st.sampled_from([.5, 1, 2.5, 20]), least=st.integers(1, 4))
def test_exponential(name, values, half_life, least):
    v, found, memory = np.array(values), EWM[name](pd.DataFrame({"A": values}), half_life, least)["A"], r.ewm_lookback(half_life)
    for t in range(len(v)):
        x = v[max(0, t - memory + 1):t + 1]
        there, w = ~np.isnan(x), .5**((len(x) - 1 - np.arange(len(x)))/half_life)
        expected, few = math.nan, max(least, 2 if name == "ewm_std" else 1)
        if there[-1] and there.sum() >= few and not np.isinf(x).any():
            k, e = exact(w[there]), exact(x[there])
            mean = sum(a*b for a, b in zip(k, e))/sum(k)
            m2 = sum(a*(b - mean)**2 for a, b in zip(k, e))
            flat = float(spread(e)) <= there.sum()*(FLAT*float(mean))**2
            expected = float(mean) if name == "ewm_mean" else 0.0 if flat else math.sqrt(m2*sum(k)/(sum(k)**2 - sum(a*a for a in k)))
        scale = abs(x[np.isfinite(x)]).max(initial=0)*(name == "ewm_mean")
        assert np.isclose(found.iloc[t], expected, rtol=1e-8, atol=1e-9*scale, equal_nan=True), (t, found.iloc[t], expected)


def market(n=700, k=8, seed=0):
    "Badly scaled columns: walks, a constant, halts, a late listing, a delisting, a wild price, an infinity."
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(50*np.exp(rng.normal(0, .02, (n, k)).cumsum(axis=0)), columns=list("ABCDEFGH")[:k])
    x["B"] = x["B"].mask(rng.random(n) < .1)
    x.loc[:n//3, "C"], x.loc[n//2:, "D"], x["E"] = np.nan, np.nan, .1
    x.loc[n//4, "F"], x.loc[n//3, "G"], x["H"] = 1e14, np.inf, 1e9 + rng.normal(size=n)
    return x


def every(window):
    other = market(seed=1)
    both = {n: (lambda f, k=k: k(f, other.loc[f.index], window)) for n, k in TWO.items()}
    return {**{n: (lambda f, k=k: k(f, window)) for n, k in ONE.items()}, **both, **({n: (lambda f, k=k: k(f, 2)) for n, k in EWM.items()} if window == 54 else {})}


def bits(frame): return np.ascontiguousarray(frame.to_numpy()).view(np.int64)


@pytest.mark.parametrize("window", [2, 3, 5, 20, 54, 60, 250])
def test_start_end_and_chunks_change_no_bit(window):
    x, rng = market(), np.random.default_rng(window)
    for name, f in every(window).items():
        whole = bits(f(x))
        for first, end in np.sort(rng.integers(0, len(x), (6, 2)), axis=1):
            assert (bits(f(x.iloc[:end + 1])) == whole[:end + 1]).all(), (name, "cut", end)
            warm = min(first + window - 1, len(x))
            assert (bits(f(x.iloc[first:]))[window - 1:] == whole[warm:]).all(), (name, "started", first)
        for t in rng.integers(window, len(x), 5): assert (bits(f(x.iloc[t - window + 1:t + 1]))[-1] == whole[t]).all(), (name, "last row", t)


def test_threads_and_layout_change_no_bit(monkeypatch):
    x = pd.concat([market(ALONE//80, seed=s) for s in range(12)], axis=1, ignore_index=True)
    assert x.size > ALONE
    for name, f in ONE.items():
        found = []
        for threads, frame in ((1, x), (2, x), (5, pd.DataFrame(np.asfortranarray(x.to_numpy()))), (2, pd.DataFrame(np.ascontiguousarray(x.to_numpy())))):
            monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
            found.append(bits(f(frame, 20)))
        assert all((found[0] == other).all() for other in found[1:]), name
        order = np.random.default_rng(0).permutation(x.shape[1])
        assert (bits(f(x.iloc[:, order], 20)) == found[0][:, order]).all(), name


def test_where_running_sums_drift():
    x = market()[["F", "H"]]
    after = slice(420, None)
    for f, fresh in ((r.rolling_std, lambda v: math.sqrt(spread(exact(v))/(len(v) - 1))), (r.rolling_sum, math.fsum)):
        oracle_ = x.rolling(60).apply(fresh, raw=True)[after]
        pd.testing.assert_frame_equal(f(x, 60)[after], oracle_, rtol=1e-12)
    assert (x.rolling(60).std()[after]/r.rolling_std(x, 60)[after] - 1).abs().max().max() > 1e-9      # pandas, the reason for all this


def test_line_against_statsmodels():
    y, x = market()["A"].to_numpy()[-60:], market()["H"].to_numpy()[-60:]
    last = lambda f, *frames: f(*[pd.DataFrame({"A": v}) for v in frames], 60)["A"].iloc[-1]
    time = sm.OLS(y, sm.add_constant(np.arange(60.))).fit()
    np.testing.assert_allclose([last(r.rolling_slope, y), last(r.rolling_r2, y), last(r.rolling_residual, y)], [time.params[1], time.rsquared, time.resid[-1]], rtol=1e-9)
    np.testing.assert_allclose(last(r.rolling_beta, y, x - 1e9), sm.OLS(y, sm.add_constant(x - 1e9)).fit().params[1], rtol=1e-9)
    np.testing.assert_allclose(last(r.rolling_corr, y, x), stats.pearsonr(y, x - 1e9).statistic, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-70, 1e70])
def test_tiny_and_huge(scale):
    x = market()[["A", "B"]]
    for name in ("sum", "mean", "std", "slope", "residual", "max", "decay"): pd.testing.assert_frame_equal(ONE[name](x*scale, 20)/scale, ONE[name](x, 20), rtol=1e-9)
    for name in ("skew", "kurt", "r2", "rank", "argmin"): pd.testing.assert_frame_equal(ONE[name](x*scale, 20), ONE[name](x, 20), rtol=1e-9, atol=1e-9)


def test_shapes_and_types():
    for f in ONE.values():
        assert f(pd.DataFrame({"A": [1.0]}), 5).shape == (1, 1)
        assert f(pd.DataFrame({"A": []}, dtype=float), 5).shape == (0, 1)
        assert f(pd.DataFrame(index=range(3)), 5).shape == (3, 0)
        x = market()[["A", "B"]]
        before = x.copy()
        f(x, 20)
        pd.testing.assert_frame_equal(x, before)
    single = market().astype("float32")
    pd.testing.assert_frame_equal(r.rolling_mean(single, 20), r.rolling_mean(single.astype("float64"), 20), check_exact=True)
    pd.testing.assert_frame_equal(r.rolling_count(market() > 50, 20, 1), (market() > 50).rolling(20, min_periods=1).sum())


def test_refusals():
    x = market()
    for window in (0, -1, 2.5):
        with pytest.raises(ParameterError, match="window: found"): r.rolling_mean(x, window)
    with pytest.raises(ParameterError, match="q: found 1.5"): r.rolling_quantile(x, 5, 1.5)
    with pytest.raises(ParameterError, match="half_life: found -1"): r.ewm_std(x, -1)
    with pytest.raises(AlignmentError): r.rolling_cov(x, x.iloc[1:], 5)
