"""Implied volatility by expiry and term-structure signals."""
import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline, interp1d
from scipy.optimize import brentq
from scipy.stats import norm


def price(s, k, t, r, v, call=True):
    d1 = (np.log(s / k) + (r + v * v / 2) * t) / (v * np.sqrt(t))
    d2 = d1 - v * np.sqrt(t)
    sign = 1 if call else -1
    return sign * (s * norm.cdf(sign * d1) - k * np.exp(-r * t) * norm.cdf(sign * d2))


def implied(p, s, k, t, r, call=True):
    try:
        return brentq(lambda v: price(s, k, t, r, v, call) - p, 1e-3, 5)
    except ValueError:
        return np.nan


def binomial(s, k, t, r, v, n=200):
    dt = t / n
    u = np.exp(v * np.sqrt(dt))
    p = (np.exp(r * dt) - 1 / u) / (u - 1 / u)
    prices = s * u ** (2 * np.arange(n + 1) - n)
    values = np.maximum(k - prices, 0)
    for i in range(n - 1, -1, -1):
        prices = prices[:-1] * u
        values = np.maximum(np.exp(-r * dt) * (p * values[1:] + (1 - p) * values[:-1]), k - prices)
    return values[0]


chain = pd.read_parquet("spx_chain.parquet")
chain["t"] = (chain["expiry"] - chain["date"]).dt.days / 365
chain["mid"] = (chain["bid"] + chain["ask"]) / 2
chain = chain[(chain["bid"] > 0) & (chain["t"] > 7 / 365)]
chain["iv"] = [implied(p, s, k, t, 0.02, c == "C") for p, s, k, t, c in chain[["mid", "spot", "strike", "t", "type"]].itertuples(index=False)]

rows = []
for date, day in chain.groupby("date"):
    atm = day.loc[(day["strike"] / day["spot"] - 1).abs() < 0.02].groupby("t")["iv"].mean()
    if len(atm) < 3:
        continue
    curve = interp1d(np.sqrt(atm.index), atm, fill_value="extrapolate")
    smile = day[day["t"] == atm.index.min()].groupby("strike")["iv"].mean().sort_index()
    spline = CubicSpline(smile.index, smile)
    rows.append({"date": date, "iv30": float(curve(np.sqrt(30 / 365))), "iv90": float(curve(np.sqrt(90 / 365))), "skew": float(spline(0.95 * day["spot"].iloc[0]) - spline(day["spot"].iloc[0]))})
surface = pd.DataFrame(rows).set_index("date").sort_index()
surface["slope"] = surface["iv90"] / surface["iv30"] - 1
surface["iv_rank"] = surface["iv30"].rolling(252).apply(lambda x: (x[-1] > x[:-1]).mean(), raw=True)
surface["skew_z"] = (surface["skew"] - surface["skew"].rolling(252).mean()) / surface["skew"].rolling(252).std()
spot = chain.groupby("date")["spot"].first()
rv = np.log(spot).diff().rolling(21).std() * np.sqrt(252)
surface["vrp"] = surface["iv30"] - rv
future_rv = rv.shift(-21)
print(surface["iv30"].corr(future_rv), (surface["iv30"] ** 2 - future_rv ** 2).mean())
signal = (surface["vrp"] > surface["vrp"].expanding(252).quantile(0.5)).astype(int).shift(1)
print(signal.describe(), surface.tail())
