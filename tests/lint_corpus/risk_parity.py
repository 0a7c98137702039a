"""Monthly rebalanced risk parity and minimum variance portfolios."""
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

prices = pd.read_csv("etfs.csv", index_col="date", parse_dates=True).ffill(limit=3)
returns = prices.pct_change(fill_method=None)
month_ends = returns.resample("BME").last().index.intersection(returns.index)


def inverse_vol(window):
    vol = window.std()
    w = 1 / vol
    return w / w.sum()


def min_variance(window):
    cov = LedoitWolf().fit(window.dropna()).covariance_
    n = cov.shape[0]
    bounds, budget = [(0, 0.4)] * n, {"type": "eq", "fun": lambda w: w.sum() - 1}
    found = minimize(lambda w: w @ cov @ w, np.ones(n) / n, bounds=bounds, constraints=[budget])
    return pd.Series(found.x, window.columns)


def risk_parity(window, steps=500):
    cov = window.cov().to_numpy() * 252
    w = np.ones(len(cov)) / len(cov)
    for _ in range(steps):
        marginal = cov @ w
        contribution = w * marginal
        w = w * np.sqrt((contribution.mean() / contribution))
        w = w / w.sum()
    return pd.Series(w, window.columns)


def first_component(window):
    scaled = (window - window.mean()) / window.std()
    return pd.Series(PCA(1).fit(scaled.fillna(0)).components_[0], window.columns)


def run(rule, lookback=252):
    weights = {}
    for t in month_ends:
        window = returns.loc[:t].tail(lookback)
        alive = window.columns[window.notna().sum() >= lookback * 0.9]
        if len(window) < lookback or len(alive) < 3:
            continue
        weights[t] = rule(window[alive])
    return pd.DataFrame(weights).T.reindex(columns=returns.columns).fillna(0)


for rule in (inverse_vol, min_variance, risk_parity):
    target = run(rule)
    held = target.reindex(returns.index).ffill().shift(1)
    portfolio = (held * returns).sum(axis=1)
    turnover = target.diff().abs().sum(axis=1).mean()
    equity = (1 + portfolio).cumprod()
    print(rule.__name__, portfolio.mean() / portfolio.std() * np.sqrt(252), (equity / equity.cummax() - 1).min(), turnover)

target_vol = 0.10
realised = portfolio.rolling(60).std() * np.sqrt(252)
leverage = (target_vol / realised).clip(upper=2).shift(1)
scaled = leverage * portfolio
print(scaled.std() * np.sqrt(252))
correlation = returns.corr()
order = correlation.mean().sort_values().index
print(correlation.loc[order, order].round(2))
