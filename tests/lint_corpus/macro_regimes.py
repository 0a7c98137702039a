"""Macro regimes: vintages joined on release, expanding scaling, filtered regime probabilities."""
import numpy as np
import pandas as pd
from hmmlearn.hmm import GaussianHMM
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

releases = pd.read_csv("fred_vintages.csv", parse_dates=["observation", "released"]).sort_values("released")
sessions = pd.read_csv("spx.csv", parse_dates=["date"]).sort_values("date")
panel = pd.merge_asof(sessions, releases[["released", "cpi", "unemployment"]], left_on="date", right_on="released")
panel = panel.set_index("date")

for c in ("cpi", "unemployment"):
    past_mean = panel[c].expanding(min_periods=250).mean()
    past_std = panel[c].expanding(min_periods=250).std()
    panel[f"{c}_z"] = (panel[c] - past_mean) / past_std

panel["ret"] = panel["close"].pct_change()
panel["month"] = panel.index.month
panel["is_january"] = (panel["month"] == 1).astype(int)
panel["turn_of_month"] = panel.index.day <= 3
panel["trend"] = np.sign(panel["close"] - panel["close"].rolling(200).mean())
monthly = panel["close"].resample("ME").last()
momentum = monthly.pct_change(12).shift(1)
panel["mom_12"] = momentum.reindex(panel.index, method="ffill")
panel["drawdown"] = panel["close"] / panel["close"].cummax() - 1
panel["vol_regime"] = (panel["ret"].rolling(21).std() > panel["ret"].rolling(504).std()).astype(int)
panel["range_rank"] = panel["close"].rolling(252).rank(pct=True)


def filtered_states(returns, refit=63, start=1000):
    out = pd.Series(np.nan, returns.index)
    for i in range(start, len(returns), refit):
        history = returns.iloc[:i]
        model = GaussianHMM(2, n_iter=100).fit(history.to_numpy().reshape(-1, 1))
        ahead = returns.iloc[i:i + refit]
        for j in range(len(ahead)):
            seen = returns.iloc[:i + j + 1].to_numpy().reshape(-1, 1)
            out.iloc[i + j] = model.predict_proba(seen)[-1, np.argmax(model.means_)]
    return out


panel["calm"] = filtered_states(panel["ret"].dropna())
in_sample = MarkovRegression(panel["ret"].dropna() * 100, k_regimes=2, switching_variance=True).fit()
print(in_sample.summary())
y = panel["ret"].shift(-1)
rows = panel.dropna().index.intersection(y.dropna().index)
split = rows[int(0.7 * len(rows))]
X = panel[["cpi_z", "unemployment_z", "trend", "calm", "mom_12"]]
fit = np.linalg.lstsq(X.loc[rows[rows < split]].assign(one=1.0), y.loc[rows[rows < split]], rcond=None)[0]
forecast = X.loc[rows[rows >= split]].assign(one=1.0) @ fit
print("out of sample correlation", forecast.corr(y))
print(panel.groupby("month")["ret"].mean())
print(panel.groupby(panel.index.year)["ret"].std())
