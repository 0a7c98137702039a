"""Small helpers that every research repository has."""
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd


def rolling_sharpe(returns, window=252): return returns.rolling(window).mean() / returns.rolling(window).std() * np.sqrt(252)


def zscore(x, axis=1): return x.sub(x.mean(axis=axis), axis=0).div(x.std(axis=axis), axis=0)


def neutralise(scores, groups): return scores - scores.groupby(groups, axis=1).transform("mean")


def to_weights(scores, gross=1.0):
    centred = scores.sub(scores.mean(axis=1), axis=0)
    return centred.div(centred.abs().sum(axis=1), axis=0) * gross


def bootstrap_sharpe(returns, n=1000, block=20, seed=0):
    rng = np.random.default_rng(seed)
    values, out = returns.to_numpy(), []
    for _ in range(n):
        starts = rng.integers(0, len(values) - block, len(values) // block)
        sample = np.concatenate([values[s:s + block] for s in starts])
        out.append(sample.mean() / sample.std() * np.sqrt(252))
    return np.percentile(out, [5, 50, 95])


def newey_west(x, lags=5):
    x = np.asarray(x) - np.mean(x)
    total = x @ x
    for k in range(1, lags + 1):
        total += 2 * (1 - k / (lags + 1)) * (x[k:] @ x[:-k])
    return np.sqrt(total) / len(x)


def drawdowns(equity, top=5):
    peak = equity.cummax()
    depth = equity / peak - 1
    groups = (depth == 0).cumsum()
    worst = depth.groupby(groups).min().nsmallest(top)
    return [(depth[groups == g].index[0], depth[groups == g].idxmin(), depth[groups == g].index[-1], d) for g, d in worst.items()]


def latest_versions(folder):
    files = sorted(Path(folder).glob("*.json"))[::-1]
    seen = {}
    for f in files:
        meta = json.loads(f.read_text())
        seen.setdefault(meta["name"], meta)
    return seen


def decide(history, lookback=60, top=10):
    """Called once a day with history up to that day."""
    recent = history.tail(lookback)
    score = recent.iloc[-1] / recent.iloc[0] - 1
    z = (score - score.mean()) / score.std()
    chosen = z.nlargest(top).index
    return pd.Series(1 / top, chosen)


def monte_carlo(mu, sigma, days=252, paths=1000, seed=0):
    rng = np.random.default_rng(seed)
    shocks = rng.normal(mu / 252, sigma / np.sqrt(252), (days, paths))
    wealth = np.exp(np.cumsum(shocks, axis=0))
    final = wealth[-1]
    return {"median": np.median(final), "p5": np.percentile(final, 5), "loss": (final < 1).mean()}


def implied_curve(strikes, vols, grid): return np.interp(grid, strikes, vols)


def audit_cut(f, bars, t):
    whole, cut = f(bars).loc[:t], f(bars.loc[:t])
    pd.testing.assert_frame_equal(whole, cut)


monthly = partial(pd.DataFrame.resample, rule="ME")
qlib_config = {
    "feature": (["Ref($close, 1)/$close", "Mean($close, 5)/$close", "Std($close, 20)/$close"], ["REF1", "MA5", "STD20"]),
    "label": (["Ref($close, -2)/Ref($close, -1) - 1"], ["LABEL0"]),
}
