"""Event study: average abnormal return around earnings; looks ahead because that is the question."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

prices = pd.read_parquet("prices.parquet")
market = prices["SPY"].pct_change()
events = pd.read_csv("earnings.csv", parse_dates=["announced"])
returns = prices.pct_change()


def abnormal(symbol, day, before=10, after=20, estimation=250):
    position = returns.index.searchsorted(day, side="right") - 1
    if position < estimation + before or position + after >= len(returns):
        return None
    past = slice(position - before - estimation, position - before)
    r, m = returns[symbol].iloc[past], market.iloc[past]
    beta = r.cov(m) / m.var()
    alpha = r.mean() - beta * m.mean()
    window = slice(position - before, position + after + 1)
    ar = returns[symbol].iloc[window] - alpha - beta * market.iloc[window]
    return ar.to_numpy()


paths = [abnormal(e.symbol, e.announced) for e in events.itertuples() if e.symbol in returns]
paths = np.array([p for p in paths if p is not None])
car = np.nancumsum(paths, axis=1)
mean, error = car.mean(axis=0), car.std(axis=0) / np.sqrt(len(car))
horizon = np.arange(-10, 21)
plt.plot(horizon, mean)
plt.fill_between(horizon, mean - 2 * error, mean + 2 * error, alpha=0.2)
plt.axvline(0)
plt.show()

fwd = {h: prices.shift(-h) / prices - 1 for h in (1, 5, 20)}
surprise = events.pivot_table(index="announced", columns="symbol", values="surprise").reindex(prices.index)
for h, forward in fwd.items():
    print(h, surprise.corrwith(forward, axis=1).mean())
lead_lag = {k: market.corr(returns["XLF"].shift(k)) for k in range(-5, 6)}
print(pd.Series(lead_lag))
