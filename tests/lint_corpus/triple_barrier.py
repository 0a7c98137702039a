"""Triple-barrier labels and meta-labelling, after Lopez de Prado."""
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import classification_report


def daily_vol(close, span=100):
    return close.pct_change().ewm(span=span).std()


def cusum_events(close, threshold):
    up = down = 0.0
    events = []
    for t, r in np.log(close).diff().dropna().items():
        up, down = max(0.0, up + r), min(0.0, down + r)
        if up > threshold or down < -threshold:
            events.append(t)
            up = down = 0.0
    return pd.DatetimeIndex(events)


def vertical_barriers(close, events, days=10):
    ends = close.index.searchsorted(events + pd.Timedelta(days=days))
    ends = ends[ends < len(close)]
    return pd.Series(close.index[ends], events[: len(ends)])


def barrier_labels(close, events, ends, vol, multiple=2.0):
    labels = pd.Series(0, ends.index)
    for t0, t1 in ends.items():
        path = close.loc[t0:t1] / close.loc[t0] - 1
        width = multiple * vol.loc[t0]
        hit_up, hit_down = path[path > width].index.min(), path[path < -width].index.min()
        if pd.notna(hit_up) and (pd.isna(hit_down) or hit_up < hit_down):
            labels.loc[t0] = 1
        elif pd.notna(hit_down):
            labels.loc[t0] = -1
    return labels


def features(close, volume):
    ret = close.pct_change()
    return pd.DataFrame({
        "mom": close.pct_change(20),
        "rsi": rsi(close),
        "vol": ret.rolling(20).std(),
        "vol_ratio": ret.rolling(5).std() / ret.rolling(60).std(),
        "volume_z": (volume - volume.rolling(50).mean()) / volume.rolling(50).std(),
        "autocorr": ret.rolling(50).apply(lambda x: pd.Series(x).autocorr(1), raw=True),
        "drawdown": close / close.rolling(252, min_periods=1).max() - 1,
    })


def rsi(close, n=14):
    change = close.diff()
    gain = change.clip(lower=0).ewm(alpha=1 / n).mean()
    loss = -change.clip(upper=0).ewm(alpha=1 / n).mean()
    return 100 - 100 / (1 + gain / loss)


data = pd.read_csv("aapl.csv", index_col=0, parse_dates=True)
close, volume = data["close"], data["volume"]
vol = daily_vol(close)
events = cusum_events(close, vol.loc[:"2015"].mean() * 1.5)
ends = vertical_barriers(close, events)
y = barrier_labels(close, events, ends, vol)
X = features(close, volume).shift(1).reindex(y.index).dropna()
y = y.reindex(X.index)
cut = pd.Timestamp("2019-01-01")
train = X.index < cut - pd.Timedelta(days=15)
model = RandomForestClassifier(500, min_samples_leaf=20, class_weight="balanced_subsample", n_jobs=-1)
model.fit(X[train], y[train])
print(classification_report(y[X.index >= cut], model.predict(X[X.index >= cut])))
