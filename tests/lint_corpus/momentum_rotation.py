# Sector rotation: buy the three strongest sector ETFs at month end, hold for a month.
import numpy as np
import pandas as pd
import yfinance as yf

tickers = ["XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY"]
data = yf.download(tickers + ["SPY"], start="2004-01-01", auto_adjust=True)["Close"]
data = data.dropna(how="all").ffill()
monthly = data.resample("ME").last()
mom = monthly[tickers].pct_change(6)
ranks = mom.rank(axis=1, ascending=False)
picks = (ranks <= 3).astype(float)
weights = picks.div(picks.sum(axis=1), axis=0).shift(1)
trend_ok = (monthly["SPY"] > monthly["SPY"].rolling(10).mean()).shift(1).fillna(False)
weights = weights.mul(trend_ok.astype(float), axis=0)
rets = monthly[tickers].pct_change()
port = (weights * rets).sum(axis=1).dropna()
bench = monthly["SPY"].pct_change().reindex(port.index)
active = port - bench
te = active.std() * np.sqrt(12)
beta = np.cov(port, bench)[0, 1] / bench.var()
alpha = (port.mean() - beta * bench.mean()) * 12
up, down = bench > 0, bench < 0
capture = port[up].mean() / bench[up].mean(), port[down].mean() / bench[down].mean()
print(f"IR {active.mean() * 12 / te:.2f} alpha {alpha:.2%} beta {beta:.2f} capture {capture}")
annual = port.groupby(port.index.year).apply(lambda r: (1 + r).prod() - 1)
best, worst = annual.idxmax(), annual.idxmin()
print(best, annual[best], worst, annual.loc[worst])
curve = (1 + port).cumprod()
curve = curve / curve.iloc[0] * 100
underwater = 1 - curve / curve.expanding().max()
duration = underwater.gt(0).astype(int).groupby(underwater.eq(0).cumsum()).cumsum()
print("longest drawdown", duration.max(), "months")
latest = weights.iloc[-1]
print(latest[latest > 0].sort_values(ascending=False))
top = mom.iloc[-1].nlargest(3)
print("buy now:", list(top.index))
