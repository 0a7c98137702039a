"""The linter: leaks in many disguises, their honest twins, a corpus of honest code, the leak zoo, the command."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from qtp.causality.lint import lint, lint_paths
from qtp.causality.rules import RULES
from qtp.workbench.cli import app

CORPUS = Path(__file__).parent/"lint_corpus"

LEAKS = {   # source -> the rules that find it
    "f = df['close'].shift(-1)": "QTP101",
    "f = df['close'].shift(periods=-1)": "QTP101",
    "k = -1\nf = df['close'].shift(k)": "QTP101",
    "k = 5\nf = close.shift(-k)": "QTP101",
    "def f(close, k): return close.shift(-abs(k))": "QTP101",
    "def f(close, k=-2): return close.shift(k)": "QTP101",
    "def f(close, h): return close.shift(1 - h)": "QTP101",
    "K = {'lead': -3}\ndef f(close): return close.shift(K['lead'])": "QTP101",
    "opts = {'periods': -1}\nf = close.shift(**opts)": "QTP101",
    "f = close.groupby('symbol').shift(-1)": "QTP101",
    "f = df.groupby('symbol')['close'].transform(lambda s: s.shift(-1))": "QTP101",
    "f = df.groupby('symbol')['close'].apply(lambda s, k=-1: s.shift(k))": "QTP101",
    "f = close.pipe(lambda s: s.shift(-1))": "QTP101",
    "from functools import partial\nimport pandas as pd\nlead = partial(pd.DataFrame.shift, periods=-1)\nf = lead(close)": "QTP101",
    "from operator import methodcaller\nf = methodcaller('shift', -1)(close)": "QTP101",
    "f = getattr(close, 'shift')(-1)": "QTP101",
    "import pandas as pd\nf = pd.Series.shift(close, -1)": "QTP101",
    "f = close.transform('shift', -1)": "QTP101",
    "move = close.shift\nf = move(-1)": "QTP101",
    "def lag(x, n): return x.shift(n)\ndef f(close): return lag(close, -1)": "QTP101",
    "def f(close, flag):\n    k = 1 if flag else -1\n    return close.shift(k)": "QTP101",
    "def f(close):\n    out = 0\n    for k in range(-2, 3): out = out + close.shift(k)\n    return out": "QTP101",
    "class F:\n    def __init__(self, k=-1): self.k = k\n    def transform(self, close): return close.shift(self.k)\nF().transform(close)": "QTP101",
    "import polars as pl\nf = df.with_columns(pl.col('close').shift(-1).over('symbol').alias('x'))": "QTP101",
    "df['x'] = df['close'].shift(-1) / df['close'] - 1": "QTP101",
    "features = {'mom': lambda df: df['close'].shift(-1)}": "QTP101",
    "f = close.shift(-2, freq='D')": "QTP101",
    "f = close.pct_change(-1)": "QTP102",
    "f = close.pct_change(periods=-5)": "QTP102",
    "f = -close.diff(-1)": "QTP102",
    "import numpy as np\nf = np.diff(close, append=np.nan)": "QTP102",
    "import numpy as np\nf = np.roll(close, -1)": "QTP103",
    "from numpy import roll as r\nf = r(close, shift=-1)": "QTP103",
    "import numpy as np\nf = np.roll(close, 1)": "QTP104",
    "out[:-1] = x[1:]": "QTP105",
    "k = 5\nout[:-k] = x[k:] / x[:-k] - 1": "QTP105",
    "import numpy as np\nf = np.append(x[1:], np.nan)": "QTP105",
    "import numpy as np\nf = np.concatenate([x[1:], [np.nan]])": "QTP105",
    "import pandas as pd\nf = pd.Series(close.values[1:], index=close.index[:-1])": "QTP105",
    "for i in range(len(x) - 1):\n    out[i] = x[i + 1] / x[i]": "QTP105",
    "for i in range(len(x)):\n    out[i] = x[i:i + 5].mean()": "QTP105",
    "for i in range(len(df)):\n    df.loc[df.index[i], 'f'] = df['close'].iloc[i + 1]": "QTP105",
    "import pandas as pd\nf = close.reindex(close.index + pd.Timedelta('1D'))": "QTP106",
    "import pandas as pd\nf = close.asof(close.index + pd.DateOffset(days=5))": "QTP106",
    "import pandas as pd\nf = close.loc[close.index + pd.tseries.offsets.BDay(1)]": "QTP106",
    "import pandas as pd\nclose.index = close.index - pd.Timedelta(days=1)": "QTP107",
    "close.index = close.index.shift(-1)": "QTP107",
    "import pandas as pd\nf = pd.Series(close.values, index=close.index - pd.Timedelta(days=1))": "QTP107",
    "fields = ['Ref($close, -5)/$close - 1']": "QTP108",
    "df['target'] = df['close'].shift(-1)\nX = df[['mom', 'target']]\ny = df['target']\nmodel.fit(X, y)": "QTP109",
    "df['target'] = df['close'].shift(-1)\nmodel.fit(df, df['target'])": "QTP109",
    "df['target'] = df['close'].shift(-1)\ndf['mean'] = df['target'].rolling(5).mean()": "QTP109",
    "f = close.rolling(5, center=True).mean()": "QTP201",
    "centre = True\nf = close.rolling(window=5, center=centre).mean()": "QTP201",
    "opts = dict(window=5, center=True)\nf = close.rolling(**opts).mean()": "QTP201",
    "f = df.groupby('symbol')['close'].rolling(5, center=True).mean()": "QTP201",
    "import polars as pl\nf = df.select(pl.col('x').rolling_mean(5, center=True).alias('m'))": "QTP201",
    "from pandas.api.indexers import FixedForwardWindowIndexer\nf = close.rolling(FixedForwardWindowIndexer(window_size=5)).mean()": "QTP202",
    "f = close[::-1].rolling(5).mean()[::-1]": "QTP203",
    "f = close.iloc[::-1].cumsum().iloc[::-1]": "QTP203",
    "back = close.sort_index(ascending=False)\nf = back.expanding().mean().sort_index()": "QTP203",
    "f = df.sort_values('date', ascending=False).groupby('symbol')['x'].cumsum()": "QTP203",
    "import numpy as np\nf = np.maximum.accumulate(close[::-1])[::-1]": "QTP203",
    "import polars as pl\nf = df.select(pl.col('x').reverse().cum_sum().reverse())": "QTP203",
    "from scipy.signal import filtfilt\nf = filtfilt(b, a, close)": "QTP204",
    "from scipy import signal\nf = signal.savgol_filter(close, 11, 3)": "QTP204",
    "from scipy.ndimage import gaussian_filter1d as smooth\nf = smooth(close, 3)": "QTP204",
    "import numpy as np\nf = np.fft.irfft(np.fft.rfft(close) * keep)": "QTP204",
    "from statsmodels.tsa.seasonal import seasonal_decompose\nf = seasonal_decompose(close, period=5).trend": "QTP205",
    "from statsmodels.tsa.seasonal import STL\nf = STL(close).fit().trend": "QTP205",
    "import statsmodels.api as sm\nf = sm.nonparametric.lowess(close, t)": "QTP205",
    "kf = KalmanFilter()\nmeans, covs = kf.smooth(close)\nf = means": "QTP205",
    "f = MarkovRegression(ret, 2).fit().smoothed_marginal_probabilities[0]": "QTP205",
    "import numpy as np\nf = np.gradient(close)": "QTP206",
    "import numpy as np\nf = np.convolve(close, kernel, 'same')": "QTP207",
    "how = 'same'\nfrom scipy.signal import fftconvolve\nf = fftconvolve(close, kernel, mode=how)": "QTP207",
    "from scipy.signal import find_peaks\npeaks, _ = find_peaks(close)\nf = close.index.isin(close.index[peaks])": "QTP208",
    "import pandas_ta as ta\nf = ta.dpo(close, 20)": "QTP209",
    "f = close.bfill()": "QTP301",
    "f = close.ffill().bfill()": "QTP301",
    "f = close.fillna(method='bfill')": "QTP301",
    "how = 'backfill'\nf = close.fillna(method=how)": "QTP301",
    "f = close.reindex(days, method='bfill')": "QTP301",
    "f = df.groupby('symbol')['x'].transform('bfill')": "QTP301",
    "import polars as pl\nf = df.with_columns(pl.col('x').fill_null(strategy='backward').alias('x'))": "QTP301",
    "f = close.interpolate()": "QTP302",
    "f = close.interpolate(method='time', limit_direction='forward')": "QTP302",
    "f = close.fillna(close.mean())": "QTP303",
    "f = (close - close.mean()) / close.std()": "QTP401",
    "mu, sd = close.mean(), close.std()\nf = (close - mu) / sd": "QTP401",
    "f = (close - close.min()) / (close.max() - close.min())": "QTP401",
    "import numpy as np\nf = close / np.max(close)": "QTP401",
    "f = close.sub(close.mean()).div(close.std())": "QTP401",
    "def z(x): return (x - x.mean()) / x.std()\nf = z(close)": "QTP401",
    "def z(x): return (x - x.mean()) / x.std()\nf = df.groupby('symbol')['close'].transform(z)": "QTP401",
    "from scipy.stats import zscore\nf = zscore(close)": "QTP401",
    "vol = ret.std()\nf = ret.rolling(20).mean() * 0.1 / vol": "QTP401",
    "signal = close > close.mean()": "QTP401",
    "import polars as pl\nf = df.with_columns(((pl.col('x') - pl.col('x').mean()) / pl.col('x').std()).alias('z'))": "QTP401",
    "from sklearn.preprocessing import StandardScaler\nf = StandardScaler().fit_transform(df)": "QTP402",
    "from sklearn.preprocessing import MinMaxScaler\ns = MinMaxScaler()\ns.fit(df)\nf = s.transform(df)": "QTP402",
    "from sklearn.decomposition import PCA\nf = PCA(3).fit_transform(returns)": "QTP402",
    "from sklearn.pipeline import make_pipeline\nf = make_pipeline(SimpleImputer(), StandardScaler()).fit_transform(df)": "QTP402",
    "f = close.rank(pct=True)": "QTP403",
    "import pandas as pd\nf = pd.qcut(df['vol'], 5, labels=False)": "QTP403",
    "f = ret.clip(ret.quantile(.01), ret.quantile(.99))": "QTP403",
    "import numpy as np\nf = ret > np.percentile(ret, 90)": "QTP403",
    "f = close / close.iloc[-1]": "QTP404",
    "last = close.iloc[-1]\nf = close.div(last)": "QTP404",
    "f = df['close'] / df['close'].values[-1]": "QTP404",
    "f = df.groupby('symbol')['ret'].transform('mean')": "QTP405",
    "f = df.groupby('sector')['ret'].transform('std')": "QTP405",
    "code = df.groupby('bucket')['target'].mean()\ndf['code'] = df['bucket'].map(code)": "QTP405",
    "f = df['close'].groupby(df.index.to_period('M')).transform('last')": "QTP406",
    "f = df.groupby(df.index.year)['close'].transform('max')": "QTP406",
    "f = df.groupby([df['date'].dt.to_period('M'), 'symbol'])['x'].transform('mean')": "QTP406",
    "import pandas as pd\nf = df.groupby(pd.Grouper(freq='W'))['x'].transform('max')": "QTP406",
    "f = close.resample('ME').transform('last')": "QTP406",
    "import polars as pl\nf = df.with_columns(pl.col('x').max().over('month').alias('m'))": "QTP406",
    "from sklearn.cluster import KMeans\nf = KMeans(3).fit_predict(returns)": "QTP407",
    "from sklearn.linear_model import LinearRegression\nm = LinearRegression().fit(df[['a']], df['b'])\nf = df['b'] - m.predict(df[['a']])": "QTP407",
    "import statsmodels.api as sm\nf = sm.OLS(df['a'], df['b']).fit().resid": "QTP407",
    "import numpy as np\nb = np.polyfit(df['a'], df['b'], 1)\nf = df['b'] - b[0] * df['a']": "QTP407",
    "f = close.dropna(axis=1)": "QTP408",
    "f = close.dropna(axis='columns', how='any')": "QTP408",
    "f = close.loc[:, close.notna().all()]": "QTP408",
    "f = close.loc[:, close.iloc[-1].notna()]": "QTP408",
    "best = ret.mean().nlargest(5).index\nf = ret[best]": "QTP409",
    "X = StandardScaler().fit_transform(df)\nX_train, X_test = X[:700], X[700:]": "QTP501",
    "X = StandardScaler().fit_transform(df)\nX_train, X_test, y_train, y_test = train_test_split(X, y, shuffle=False)": "QTP501",
    "X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=.2)": "QTP502",
    "cv = KFold(5, shuffle=True)": "QTP502",
    "cv = StratifiedKFold(5)": "QTP502",
    "train = df.sample(frac=.8)\ntest = df.drop(train.index)": "QTP502",
    "s = cross_val_score(model, X, y, cv=5)": "QTP503",
    "g = GridSearchCV(model, grid)\ng.fit(X, y)": "QTP503",
    "X2, y2 = SMOTE().fit_resample(X, y)\nX_train, X_test = train_test_split(X2, shuffle=False)": "QTP504",
    "X = SelectKBest(k=5).fit_transform(df, y)": "QTP505",
    "import pandas as pd\nj = pd.merge_asof(a, b, on='t', direction='nearest')": "QTP511",
    "way = 'forward'\nimport pandas as pd\nj = pd.merge_asof(a, b, on='t', direction=way)": "QTP511",
    "import polars as pl\nj = a.join_asof(b, on='t', strategy='forward')": "QTP511",
    "j = close.reindex(days, method='nearest')": "QTP511",
    "import pandas as pd\nj = pd.merge_asof(a, b, left_on='date', right_on='period_end')": "QTP512",
    "j = prices.merge(fundamentals, on=['symbol', 'fiscal_quarter'])": "QTP512",
    "h = close.resample('1h').last()\nf = h.reindex(close.index, method='ffill')": "QTP513",
    "w = close.resample('W', label='left').last()\nf = w.reindex(close.index, method='ffill')": "QTP513",
    "f = eps['value'].values[dates.searchsorted(close.index)]": "QTP514",
    "df['signal'] = (df['close'] > df['close'].rolling(50).mean()).astype(int)\ndf['ret'] = df['close'].pct_change()\ndf['pnl'] = df['signal'] * df['ret']": "QTP601",
    "signal = close > close.rolling(5).mean()\npnl = signal * (close / open - 1)": "QTP602",
}

HONEST = [
    "y = close.shift(-5) / close - 1",
    "def forward_return(close, h=5): return close.shift(-h) / close - 1",
    "def make_labels(close): return (close.shift(-5) > close).astype(int)",
    "df['target'] = df['close'].shift(-1)\nX = df.drop(columns=['target'])\nmodel.fit(X, df['target'])",
    "X, y = df[['mom']], df['close'].shift(-1)\nmodel.fit(X, y)",
    "ic = scores.corrwith(close.pct_change().shift(-1), axis=1)",
    "print(close.shift(-1).head())",
    "k = 1\nf = close.shift(k)", "def f(close, h): return close.shift(h - 1)", "f = close.shift(-1, axis=1)", "f = close.shift(-3).shift(3)",
    "f = close.rolling(5, center=False).mean()", "f = close.rolling(5, center=True).mean().shift(2)",
    "f = close[::-1].shift(-1)[::-1]", "table = close.sort_index(ascending=False).head()",
    "f = close.rolling(50).apply(lambda x: (x[-1] - x.mean()) / x.std())", "f = close.rolling(20).apply(lambda x: np.polyfit(t, x, 1)[0])",
    "f = close.bfill(axis=1)", "f = close.ffill()", "f = close.fillna(0)", "f = close.fillna(close.mean(axis=1))",
    "f = close.sub(close.mean(axis=1), axis=0)", "f = (close - close.expanding().mean()) / close.expanding().std()", "f = close.rank(axis=1, pct=True)",
    "sharpe = ret.mean() / ret.std() * 16", "f = close / close.iloc[0]", "cum = (1 + ret).cumprod()\ndd = cum / cum.cummax() - 1",
    "w = weights / weights.sum()", "def softmax(x):\n    e = np.exp(x - x.max())\n    return e / e.sum()",
    "train = df[:'2019']\nf = (df - train.mean()) / train.std()", "s = StandardScaler().fit(X_train)\na, b = s.transform(X_train), s.transform(X_test)",
    "for tr, te in TimeSeriesSplit(5).split(X):\n    s = StandardScaler().fit(X.iloc[tr])\n    p = model.fit(s.transform(X.iloc[tr]), y.iloc[tr]).predict(s.transform(X.iloc[te]))",
    "f = df.groupby('date')['x'].transform(lambda s: (s - s.mean()) / s.std())", "f = df.groupby('date')['x'].rank(pct=True)",
    "f = df.groupby('symbol')['x'].transform(lambda s: s.rolling(20).mean())", "f = df.groupby('symbol')['x'].cumsum()",
    "f = close.groupby(close.index.to_period('M')).cummax()", "m = close.resample('ME').last()\nf = m.reindex(close.index, method='ffill')",
    "m = close.resample('MS').last().shift(1)\nf = m.reindex(close.index, method='ffill')",
    "import pandas as pd\nj = pd.merge_asof(a, b, left_on='date', right_on='published')",
    "f = eps['value'].values[dates.searchsorted(close.index, side='right') - 1]",
    "s = cross_val_score(model, X, y, cv=TimeSeriesSplit(5))", "a, b = train_test_split(X, shuffle=False)",
    "position = np.sign(close - close.rolling(5).mean()).shift(1)\npnl = position * close.pct_change()",
    "from empyrical.utils import roll\nf = roll(returns, factor_returns, window=20, function=capture)", "r = series.fillna(method='bfill').iloc[0]",
    "from typing import cast\nimport numpy as np\nv = cast(float, np.average(fills['price'], weights=fills['size']))\nratio = v / fills['price'].mean()",
    "class VWAP(CustomFactor):\n    def compute(self, today, assets, out, close, volume): out[:] = nansum(close * volume, axis=0) / nansum(volume, axis=0) - close[-1]",
    "f = close.dropna(how='all', axis=1)", "f = close.dropna()", "ax.plot(savgol_filter(close, 21, 3))",
    "out = np.full(len(x), np.nan)\nout[1:] = x[1:] / x[:-1] - 1", "for i in range(20, len(x)):\n    out[i] = x[i - 20:i + 1].mean()",
    "X, y = [], []\nfor i in range(len(x) - n):\n    X.append(x[i:i + n])\n    y.append(x[i + n])",
    "label = {'expr': 'Ref($close, -2)/Ref($close, -1) - 1'}", "text = 'call f(x, -1)'",
]


@pytest.mark.parametrize("source", LEAKS, ids=lambda s: s.splitlines()[-1][:50])
def test_a_leak_is_found(source):
    assert LEAKS[source] in {f.rule for f in lint(source + "\n")}


@pytest.mark.parametrize("source", HONEST, ids=lambda s: s.splitlines()[-1][:50])
def test_its_honest_twin_is_not(source):
    assert lint(source + "\n") == []


def test_every_rule_is_tried():
    assert {r for r in RULES if not r.startswith("QTP9")} == set(LEAKS.values())


def test_the_honest_corpus_has_no_findings():
    found, problems, count = lint_paths([CORPUS])
    assert count >= 18 and (found, problems) == ([], [])


def test_the_library_has_no_finding_without_a_reason():
    "What looks at later rows there is no feature, and its line says why; the zoo's modules say so once."
    assert "nothing found" in command(ROOT/"qtp")


def test_the_zoo():
    "What can be read off the source is found, and no honest case is accused."
    zoo = pytest.importorskip("qtp.causality.zoo").zoo()
    hit = {c.name: bool(lint(c.function)) for c in zoo}
    leaks, honest = [c for c in zoo if c.leaks], [c for c in zoo if not c.leaks]
    easy = [c for c in leaks if c.tier == 1 and c.layer == "truncation"]
    assert not [c.name for c in honest if hit[c.name]]
    assert sum(hit[c.name] for c in leaks) >= 0.7 * len(leaks)
    assert not [c.name for c in easy if not hit[c.name]]


def command(*words, code=0):
    result = CliRunner().invoke(app, ["lint", *map(str, words)], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


def test_exit_codes(tmp_path):
    (tmp_path/"leak.py").write_text("f = close.shift(-1)\n")
    (tmp_path/"fine.py").write_text("f = close.shift(1)\n")
    assert "nothing found" in command(tmp_path/"fine.py")
    assert "leak.py:1:5: error QTP101" in command(tmp_path, code=1)
    assert "nothing found" in command(tmp_path, "--ignore", "QTP101")
    for words in ([], [tmp_path/"none.py"], [tmp_path, "--select", "QTP77"], [tmp_path, "--format", "xml"], ["--explain", "QTP77"]): command(*words, code=2)
    (tmp_path/"broken.py").write_text("def f(:\n")
    text = command(tmp_path, code=2)
    assert "broken.py, line 1" in text and "QTP101" in text          # one broken file hides no finding


def test_formats(tmp_path):
    (tmp_path/"leak.py").write_text("f = close.shift(-1)\n")
    (tmp_path/"book.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": "%pylab\nf = close.bfill()"}]}))
    found = json.loads(command(tmp_path, "--format", "json", code=1))
    said = [(Path(f["path"]).name, f["cell"], f["line"], f["rule"], f["severity"]) for f in found]
    assert said == [("book.ipynb", 1, 2, "QTP301", "error"), ("leak.py", 0, 1, "QTP101", "error")]
    lines = command(tmp_path, "--format", "github", code=1).splitlines()
    assert lines[0].endswith("title=QTP301::cell 1, line 2: gaps are filled with later values") and "line=1,col=5,title=QTP101" in lines[1]


def test_every_rule_can_be_listed_and_explained():
    listed = command("--list-rules")
    for r in RULES.values():
        assert r.id in listed and r.name in listed
        assert r.leak.splitlines()[-1].strip() in command("--explain", r.id)


@pytest.mark.parametrize("content, says", [(b"", ""), (b"# only a comment\n", ""), (b"\xef\xbb\xbfx = 1\n", ""), (b"\x00\x01\x02", "a binary file"),
                                           (b"\xff\xfe\x00", "not text in UTF-8"), (b"x = 'a", "line 1"), (b"if x:\n\ty = 1\n        z = 2\n", "line 3")])
def test_odd_files(tmp_path, content, says):
    (tmp_path/"odd.py").write_bytes(content)
    assert says in command(tmp_path/"odd.py", code=2 if says else 0)


@pytest.mark.parametrize("content, says", [("", ""), ("{", "not a notebook"), ("[]", "no `cells`"), ('{"cells": [{"cell_type": "code", "source": ["x = (\\n"]}]}', "cell 1"),
                                           ('{"cells": [], "metadata": {"kernelspec": {"language": "julia"}}}', "a notebook in julia")])
def test_odd_notebooks(tmp_path, content, says):
    (tmp_path/"odd.ipynb").write_text(content)
    assert says in command(tmp_path/"odd.ipynb", code=2 if says else 0)


def test_magics_are_passed_over(tmp_path):
    cells = ["%matplotlib inline\n!pip install x", "%%bash\nls | wc", "%%time\nf = close.shift(-1)", "files = !ls *.csv\nx = %sql select 1", "close?\nhelp??",
             "a = 7\nb = a % 2", "for i in range(3):\n    !echo {i}"]
    (tmp_path/"m.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": c} for c in cells]}))
    assert "cell 3, line 2: error QTP101" in command(tmp_path/"m.ipynb", code=1)


def test_linting_imports_nothing_heavy():
    code = "import sys; from qtp.causality.lint import lint; lint('x = close.shift(-1)\\n'); print([m for m in ('numpy', 'pandas', 'numba', 'mlflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_hook_names_the_command():
    import yaml
    hook, = yaml.safe_load((ROOT/".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "qtp-lint" and hook["entry"] == "qtp lint" and hook["types_or"] == ["python", "jupyter"]


def test_public_style_leaks():
    "Each function of the file looks ahead once, and has its finding."
    import ast
    file = CORPUS.parent/"lint_leaky"/"pipelines.py"
    lines, parts = [f.line for f in lint(file)], [d for d in ast.parse(file.read_text()).body if isinstance(d, (ast.FunctionDef, ast.ClassDef))]
    assert len(parts) >= 33 and [d.name for d in parts if not any(d.lineno <= line <= d.end_lineno for line in lines)] == []
