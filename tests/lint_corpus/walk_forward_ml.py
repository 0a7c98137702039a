"""Walk-forward gradient boosting on a panel of stocks."""
import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HORIZON = 5
FEATURES = ["mom_20", "mom_60", "rev_5", "vol_20", "dollar_volume", "rank_mom", "z_mom", "sector_rel"]


def build(panel):
    panel = panel.sort_values(["symbol", "date"]).reset_index(drop=True)
    by_stock = panel.groupby("symbol")["close"]
    panel["ret_1"] = by_stock.pct_change()
    panel["mom_20"] = by_stock.pct_change(20)
    panel["mom_60"] = by_stock.transform(lambda s: s / s.shift(60) - 1)
    panel["rev_5"] = -by_stock.pct_change(5)
    panel["vol_20"] = panel.groupby("symbol")["ret_1"].transform(lambda s: s.rolling(20).std())
    panel["dollar_volume"] = (panel["close"] * panel["volume"]).groupby(panel["symbol"]).transform(lambda s: s.rolling(20).median())
    daily = panel.groupby("date")["mom_20"]
    panel["rank_mom"] = daily.rank(pct=True)
    panel["z_mom"] = (panel["mom_20"] - daily.transform("mean")) / daily.transform("std")
    panel["sector_rel"] = panel["mom_20"] - panel.groupby(["date", "sector"])["mom_20"].transform("mean")
    panel["target"] = by_stock.transform(lambda s: s.shift(-HORIZON) / s - 1)
    panel["target_rank"] = panel.groupby("date")["target"].rank(pct=True)
    return panel


def winsorise(frame, columns, lower=0.01, upper=0.99):
    for c in columns:
        frame[c] = frame.groupby("date")[c].transform(lambda s: s.clip(s.quantile(lower), s.quantile(upper)))
    return frame


def walk_forward(panel, first_year=2012, last_year=2020):
    scores = []
    for year in range(first_year, last_year + 1):
        start = pd.Timestamp(year, 1, 1)
        end = pd.Timestamp(year + 1, 1, 1)
        embargo = start - pd.Timedelta(days=2 * HORIZON)
        train = panel[panel["date"] < embargo].dropna(subset=FEATURES + ["target_rank"])
        test = panel[(panel["date"] >= start) & (panel["date"] < end)].dropna(subset=FEATURES)
        model = lgb.LGBMRegressor(n_estimators=300, learning_rate=0.03, num_leaves=15)
        model.fit(train[FEATURES], train["target_rank"])
        test = test.assign(score=model.predict(test[FEATURES]))
        scores.append(test)
        print(year, mean_squared_error(test["target_rank"].fillna(0.5), test["score"]))
    return pd.concat(scores)


def evaluate(scored):
    ic = scored.groupby("date").apply(lambda d: spearmanr(d["score"], d["target"], nan_policy="omit")[0])
    quintile = scored.groupby("date")["score"].transform(lambda s: pd.qcut(s, 5, labels=False, duplicates="drop"))
    by_quintile = scored.groupby(["date", quintile])["target"].mean().unstack()
    spread = by_quintile[4] - by_quintile[0]
    print("IC", ic.mean(), "ICIR", ic.mean() / ic.std(), "spread", spread.mean())
    return ic, by_quintile


def linear_baseline(panel):
    data = panel.dropna(subset=FEATURES + ["target"]).sort_values("date")
    X, y = data[FEATURES], data["target"]
    pipe = make_pipeline(StandardScaler(), Ridge())
    folds = TimeSeriesSplit(n_splits=5, gap=HORIZON)
    search = GridSearchCV(pipe, {"ridge__alpha": [0.1, 1, 10, 100]}, cv=folds, scoring="neg_mean_squared_error")
    search.fit(X, y)
    print(search.best_params_, cross_val_score(pipe, X, y, cv=folds).mean())
    split = int(len(X) * 0.8)
    X_train, X_test, y_train, y_test = X[:split], X[split:], y[:split], y[split:]
    scaler = StandardScaler().fit(X_train)
    model = Ridge(alpha=10).fit(scaler.transform(X_train), y_train)
    predicted = model.predict(scaler.transform(X_test))
    ss_res = ((y_test - predicted) ** 2).sum()
    ss_tot = ((y_test - y_test.mean()) ** 2).sum()
    print("r2", 1 - ss_res / ss_tot, "hit", (np.sign(predicted) == np.sign(y_test)).mean())
    importance = pd.Series(np.abs(model.coef_), FEATURES)
    print((importance / importance.sum()).sort_values(ascending=False))


if __name__ == "__main__":
    panel = winsorise(build(pd.read_parquet("panel.parquet")), ["mom_20", "mom_60"])
    evaluate(walk_forward(panel))
    linear_baseline(panel)
