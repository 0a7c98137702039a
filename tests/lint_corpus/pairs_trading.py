"""Pairs trading with a rolling hedge ratio and a rolling z-score."""
import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.tsa.stattools import adfuller, coint

prices = pd.read_parquet("energy.parquet").sort_index()
a, b = np.log(prices["XOM"]), np.log(prices["CVX"])

formation, trading = prices.loc[:"2017-12-31"], prices.loc["2018-01-01":]
score, pvalue, _ = coint(np.log(formation["XOM"]), np.log(formation["CVX"]))
print(f"cointegration p-value in the formation period: {pvalue:.3f}")

hedge = sm.OLS(np.log(formation["XOM"]), sm.add_constant(np.log(formation["CVX"]))).fit()
print(hedge.summary())
beta = hedge.params.iloc[1]

static_spread = np.log(trading["XOM"]) - beta * np.log(trading["CVX"])
formation_spread = np.log(formation["XOM"]) - beta * np.log(formation["CVX"])
mu, sigma = formation_spread.mean(), formation_spread.std()
static_z = (static_spread - mu) / sigma


def rolling_beta(y, x, window=120):
    cov = y.rolling(window).cov(x)
    return cov / x.rolling(window).var()


def half_life(spread):
    lagged = spread.shift(1).dropna()
    change = spread.diff().dropna()
    fit = sm.OLS(change, sm.add_constant(lagged)).fit()
    return -np.log(2) / fit.params.iloc[1]


dynamic_beta = rolling_beta(a, b).shift(1)
spread = a - dynamic_beta * b
z = (spread - spread.rolling(60).mean()) / spread.rolling(60).std()
print("half-life", half_life(spread.dropna()), "adf", adfuller(spread.dropna())[1])


def positions(z, enter=2.0, leave=0.5):
    held, out = 0, []
    for value in z:
        if held == 0 and value > enter:
            held = -1
        elif held == 0 and value < -enter:
            held = 1
        elif abs(value) < leave:
            held = 0
        out.append(held)
    return pd.Series(out, z.index)


pos = positions(z)
pair_return = a.diff() - dynamic_beta * b.diff()
pnl = (pos.shift(1) * pair_return).fillna(0)
print("sharpe", np.sqrt(252) * pnl.mean() / pnl.std())


class KalmanHedge:
    """Recursive least squares; each state uses prices up to its own bar."""

    def __init__(self, delta=1e-4, noise=1e-3):
        self.delta, self.noise = delta, noise

    def filter(self, y, x):
        theta, cov = np.zeros(2), np.eye(2)
        q, states = self.delta / (1 - self.delta) * np.eye(2), []
        for t in range(len(y)):
            cov = cov + q
            h = np.array([x[t], 1.0])
            error = y[t] - h @ theta
            gain = cov @ h / (h @ cov @ h + self.noise)
            theta = theta + gain * error
            cov = cov - np.outer(gain, h) @ cov
            states.append(theta.copy())
        return np.array(states)


states = KalmanHedge().filter(a.to_numpy(), b.to_numpy())
kalman_beta = pd.Series(states[:, 0], a.index)
residual = a - kalman_beta.shift(1) * b
print(residual.describe())
