"""Intraday bars: session VWAP, opening range, time-of-day volume profile from past days only."""
import numpy as np
import pandas as pd

ticks = pd.read_parquet("es_ticks.parquet")
bars = ticks["price"].resample("5min", label="right", closed="right").ohlc()
bars["volume"] = ticks["size"].resample("5min", label="right", closed="right").sum()
bars = bars.dropna(subset=["close"]).tz_convert("America/New_York")
bars = bars.between_time("09:35", "16:00")
session = pd.Series(bars.index.date, bars.index, name="session")

typical = (bars["high"] + bars["low"] + bars["close"]) / 3
dollars = (typical * bars["volume"]).groupby(session).cumsum()
bars["vwap"] = dollars / bars["volume"].groupby(session).cumsum()
bars["from_vwap"] = bars["close"] / bars["vwap"] - 1
bars["minute"] = bars.groupby(session).cumcount()
bars["session_high"] = bars["high"].groupby(session).cummax()
bars["session_low"] = bars["low"].groupby(session).cummin()

opening = bars[bars["minute"] < 6]
opening_range = opening.groupby(session.loc[opening.index]).agg(or_high=("high", "max"), or_low=("low", "min"))
joined = bars.join(opening_range, on=session)
joined.loc[joined["minute"] < 6, ["or_high", "or_low"]] = np.nan
joined["breakout"] = (joined["close"] > joined["or_high"]).astype(int) - (joined["close"] < joined["or_low"]).astype(int)

daily = bars["close"].groupby(session).last()
previous_close = daily.shift(1)
joined["gap"] = bars["close"].groupby(session).transform("first") / session.map(previous_close).to_numpy() - 1

profile = bars.pivot_table(index=session, columns="minute", values="volume")
expected = profile.rolling(20).mean().shift(1)
usual = expected.stack().rename("usual")
relative = bars["volume"] / bars.set_index([session, "minute"]).index.map(usual.to_dict())

returns = np.log(bars["close"]).groupby(session).diff()
realised = np.sqrt((returns ** 2).groupby(session).sum())
forecast = realised.ewm(halflife=10).mean().shift(1)
size = (0.01 / forecast).clip(upper=3)

position = joined["breakout"].groupby(session).shift(1).fillna(0) * session.map(size).to_numpy()
pnl = (position * returns).groupby(session).sum()
print("daily sharpe", pnl.mean() / pnl.std() * np.sqrt(252))
print(pnl.groupby(pnl.index.map(lambda d: d.year)).agg(["mean", "std", "count"]))
worst = pnl.nsmallest(10)
print(worst, pnl.loc[worst.index[0]])
last = bars.iloc[-1]
print(f"last bar {last.name}: close {last['close']:.2f}, {last['close'] / bars['close'].iloc[-2] - 1:.2%}")
