from arch import arch_model
import numpy as np
import pandas as pd

r = 100 * pd.read_csv("ndx.csv", index_col=0, parse_dates=True)["Adj Close"].pct_change().dropna()
n_test = 500
rolling_predictions = []
for i in range(n_test):
    train = r[:-(n_test - i)]
    model = arch_model(train, p=1, q=1)
    model_fit = model.fit(disp="off")
    pred = model_fit.forecast(horizon=1)
    rolling_predictions.append(np.sqrt(pred.variance.values[-1, :][0]))
rolling_predictions = pd.Series(rolling_predictions, index=r.index[-n_test:])
realised = r.abs()[-n_test:]
qlike = (np.log(rolling_predictions ** 2) + realised ** 2 / rolling_predictions ** 2).mean()
var_95 = -1.645 * rolling_predictions
breaches = r[-n_test:] < var_95
print(qlike, breaches.mean(), np.corrcoef(rolling_predictions, realised)[0, 1])
standardised = r[-n_test:] / rolling_predictions
print(standardised.kurt(), standardised.skew())
demeaned = r - r.rolling(250).mean()
ewma = demeaned.pow(2).ewm(alpha=0.06).mean().pow(0.5)
position = (15 / (ewma * np.sqrt(252))).clip(0, 2).shift(1)
managed = (position * r).dropna()
print(managed.mean() / managed.std() * 252 ** 0.5, r.mean() / r.std() * 252 ** 0.5)
