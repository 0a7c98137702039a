"""Leaks as they are found in public notebooks: every function looks ahead once."""
import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import signal as sps
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

LEAD = -1
SETTINGS = {"smooth": {"window": 11, "center": True}, "fill": {"method": "bfill"}}


def lstm_scaled_before_the_split(df, look_back=60):
    scaler = MinMaxScaler(feature_range=(0, 1))
    dataset = scaler.fit_transform(df[["Close"]].values)
    training_data_len = int(np.ceil(len(dataset) * 0.95))
    train_data = dataset[0:training_data_len, :]
    x_train, y_train = [], []
    for i in range(look_back, len(train_data)):
        x_train.append(train_data[i - look_back:i, 0])
        y_train.append(train_data[i, 0])
    return np.array(x_train), np.array(y_train)


def random_split_of_days(df):
    df["y"] = (df["Close"].shift(-1) > df["Close"]).astype(int)
    df["sma_ratio"] = df["Close"] / df["Close"].rolling(20).mean()
    X_train, X_test, y_train, y_test = train_test_split(df[["sma_ratio"]], df["y"], test_size=0.2, random_state=42)
    return RandomForestClassifier().fit(X_train, y_train).score(X_test, y_test)


def tomorrow_among_the_features(df):
    df["next_open"] = df["Open"].shift(-1)
    df["gap"] = df["next_open"] / df["Close"] - 1
    df["y"] = df["Close"].shift(-1)
    features = ["gap", "Volume"]
    return LinearRegression().fit(df[features].iloc[:-100], df["y"].iloc[:-100])


def smoothed_from_settings(close):
    return close.rolling(**SETTINGS["smooth"]).mean() - close


def filled_from_settings(close):
    return close.fillna(**SETTINGS["fill"]).pct_change()


def led_by_a_constant(close):
    return np.log(close.shift(LEAD) / close)


def pivot_highs(df, n=5):
    window = df["High"].rolling(2 * n + 1, center=True).max()
    df["pivot"] = np.where(df["High"] == window, df["High"], np.nan)
    df["resistance"] = df["pivot"].ffill()
    return df


def swing_points(df, order=5):
    highs = sps.argrelextrema(df["High"].values, np.greater, order=order)[0]
    out = pd.Series(0, df.index)
    out.iloc[highs] = 1
    return out


def zero_phase(df):
    b, a = sps.butter(3, 0.05)
    df["trend"] = sps.filtfilt(b, a, df["Close"])
    df["signal"] = np.where(df["Close"] > df["trend"], 1, -1)
    return df


def static_hedge(a, b):
    model = sm.OLS(a, sm.add_constant(b)).fit()
    spread = a - model.params["const"] - model.params["b"] * b
    return (spread - spread.rolling(20).mean()) / spread.rolling(20).std()


def z_of_the_spread(a, b):
    spread = a / b
    z = (spread - spread.mean()) / np.std(spread)
    return pd.DataFrame({"long": z < -1, "short": z > 1})


def today_s_signal_earns_today(df):
    df["returns"] = df["Close"].pct_change()
    df["signal"] = np.where(df["Close"].rolling(10).mean() > df["Close"].rolling(50).mean(), 1, 0)
    df["strategy"] = df["signal"] * df["returns"]
    return (1 + df["strategy"]).cumprod()


def components(returns):
    pca = PCA(n_components=3)
    factors = pca.fit_transform(returns.fillna(0))
    return pd.DataFrame(factors, index=returns.index)


def survivors(prices):
    prices = prices.dropna(axis=1, how="any")
    mom = prices.pct_change(252)
    return mom.rank(axis=1, pct=True)


def month_end_known_early(df):
    df["month"] = df.index.to_period("M")
    df["month_close"] = df.groupby("month")["Close"].transform("last")
    return df["month_close"] / df["Close"] - 1


def weekly_bars_from_their_monday(df):
    weekly = df["Close"].resample("W-FRI", label="left").last()
    df["weekly"] = weekly.reindex(df.index, method="ffill")
    return df["Close"] > df["weekly"]


def nearest_report(prices, reports):
    return pd.merge_asof(prices.sort_values("date"), reports.sort_values("date"), on="date", by="symbol", direction="nearest")


def quarter_known_at_its_end(prices, fundamentals):
    prices["quarter"] = prices["date"].dt.to_period("Q")
    return prices.merge(fundamentals, on=["symbol", "quarter"], how="left")


def mean_target_encoding(df):
    df["fwd"] = df.groupby("symbol")["close"].shift(-5) / df["close"] - 1
    encoding = df.groupby("industry")["fwd"].mean()
    df["industry_code"] = df["industry"].map(encoding)
    return df


def tuned_on_shuffled_folds(X, y):
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
    return GridSearchCV(RandomForestClassifier(), {"max_depth": [3, 5]}, cv=folds).fit(X, y)


def looped_ahead(close, horizon=5):
    out = pd.Series(np.nan, close.index)
    for i in range(len(close) - horizon):
        out.iloc[i] = close.iloc[i + horizon] / close.iloc[i] - 1
    return out


def best_of_the_sample(prices):
    returns = prices.pct_change()
    winners = returns.sum().sort_values(ascending=False).head(10).index
    return returns[winners].mean(axis=1)


def winsorised_with_the_future(factor):
    lo, hi = factor.quantile(0.01), factor.quantile(0.99)
    return factor.clip(lower=lo, upper=hi, axis=1)


def newest_first(csv):
    df = pd.read_csv(csv, parse_dates=["date"]).sort_values("date", ascending=False)
    df["ma"] = df["close"].rolling(20).mean()
    return df.set_index("date")["ma"]


def aligned_arrays(prices):
    p = prices.values
    r = np.zeros_like(p)
    r[:-1] = p[1:] / p[:-1] - 1
    return pd.DataFrame(r, prices.index, prices.columns)


class Signal:
    def __init__(self, lag=-1):
        self.lag = lag

    def __call__(self, df):
        return df["Close"].pct_change().shift(self.lag)


def standardised_panel(panel):
    def standardise(x):
        return (x - x.mean()) / x.std()

    return panel.groupby("ticker")["turnover"].transform(standardise)


def decomposed(df):
    from statsmodels.tsa.seasonal import seasonal_decompose
    parts = seasonal_decompose(df["Close"], model="additive", period=21)
    df["trend"], df["resid"] = parts.trend, parts.resid
    return df


def regime_labels(returns):
    from hmmlearn.hmm import GaussianHMM
    X = returns.values.reshape(-1, 1)
    hmm = GaussianHMM(n_components=2).fit(X)
    return pd.Series(hmm.predict(X), returns.index)


def gaps_interpolated(df):
    df["earnings"] = df["earnings"].interpolate()
    return df["Close"] / df["earnings"]


def rebased(prices):
    return prices / prices.iloc[-1] * 100


def scaled_then_cut(df):
    X = StandardScaler().fit_transform(df.drop(columns="target"))
    n = int(0.8 * len(X))
    return X[:n], X[n:]


def opening_trade_on_the_close(df):
    position = np.sign(df["Close"] - df["Close"].shift(1))
    return position * (df["Close"] - df["Open"]) / df["Open"]
