import numpy as np
import pandas as pd
import talib
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import RobustScaler


def add_features(df):
    df = df.copy()
    c, h, l, v = df["close"], df["high"], df["low"], df["volume"]
    df["rsi"] = talib.RSI(c, 14)
    df["macd"], df["macd_signal"], _ = talib.MACD(c)
    df["atr"] = talib.ATR(h, l, c, 14) / c
    df["bb"] = (c - c.rolling(20).mean()) / (2 * c.rolling(20).std())
    df["vwma"] = (c * v).rolling(24).sum() / v.rolling(24).sum() / c - 1
    for lag in [1, 2, 3, 6, 12, 24]:
        df[f"ret_{lag}"] = c.pct_change(lag)
        df[f"vol_{lag}"] = v.pct_change(lag).replace([np.inf, -np.inf], np.nan)
    df["hour_sin"] = np.sin(2 * np.pi * df.index.hour / 24)
    df["hour_cos"] = np.cos(2 * np.pi * df.index.hour / 24)
    df["dow"] = df.index.dayofweek
    daily = c.resample("1D", label="right", closed="left").last()
    df["prev_day"] = daily.pct_change().reindex(df.index, method="ffill")
    df["imbalance"] = df["taker_buy"].sub(v - df["taker_buy"]).div(v).ewm(span=12).mean()
    return df


def add_target(df, horizon=6, threshold=0.002):
    df["future_return"] = df["close"].shift(-horizon) / df["close"] - 1
    df["target"] = (df["future_return"] > threshold).astype(int)
    return df.iloc[:-horizon]


raw = pd.read_csv("btcusdt_1h.csv", index_col="open_time", parse_dates=True)
raw.index = raw.index + pd.Timedelta(hours=1)          # stamped at the close of the hour
df = add_target(add_features(raw)).dropna()
drop = ["target", "future_return", "open", "high", "low", "close", "volume", "taker_buy"]
X, y = df.drop(columns=drop), df["target"]
edges = pd.date_range("2021-01-01", "2024-01-01", freq="QS")
out = []
for start, end in zip(edges[:-1], edges[1:]):
    train = X.index < start - pd.Timedelta(hours=6)
    test = (X.index >= start) & (X.index < end)
    scaler = RobustScaler()
    X_train = scaler.fit_transform(X[train])
    X_test = scaler.transform(X[test])
    clf = HistGradientBoostingClassifier(max_depth=4, early_stopping=False)
    clf.fit(X_train, y[train])
    p = clf.predict_proba(X_test)[:, 1]
    out.append(pd.Series(p, X.index[test]))
    print(start.date(), roc_auc_score(y[test], p))
prob = pd.concat(out)
long = (prob > 0.55).astype(int)
trade_return = df["future_return"].reindex(prob.index)
pnl = (long * trade_return)[::6]
print(pnl.sum(), pnl.mean() / pnl.std(), (trade_return[long == 1] > 0).mean())
threshold_table = pd.DataFrame({q: trade_return[prob > prob.quantile(q)].describe() for q in (0.5, 0.7, 0.9)})
print(threshold_table)
print(df.groupby(pd.cut(prob, 10))["future_return"].mean())
