"""The worked example of the docs, reproduced by features, labels, splits and backtest together.

One asset, fill at the open, horizon of one session, no costs:

| session | open | close | mom1, lag=1 | mom1, lag=2 | label h=1          | label_start, label_end |
|---------|------|-------|-------------|-------------|--------------------|------------------------|
| S1      | 99   | 100   |             |             | 103/101 - 1        | open S2, open S3       |
| S2      | 101  | 102   | +2.000 %    |             | 102/103 - 1        | open S3, open S4       |
| S3      | 103  | 101   | -0.980 %    | +2.000 %    | 105/102 - 1        | open S4, open S5       |
| S4      | 102  | 104   | +2.970 %    | -0.980 %    | missing            | open S5, open S6       |
| S5      | 105  | 106   | +1.923 %    | +2.970 %    | missing            | open S6, open S7       |
"""
import numpy as np
import pandas as pd
import pytest

from qtp.backtest.engine import backtest
from qtp.causality.audit import truncated
from qtp.data.calendar import Calendar
from qtp.data.simulate import five_sessions
from qtp.features.engine import materialize
from qtp.features.registry import spec
from qtp.labels.forward_return import forward_return, label_spans
from qtp.models.splits import WalkForward

BARS = five_sessions()
S1, S2, S3, S4, S5 = BARS.index
CALENDAR = Calendar()


def mom1(bars, lag=1):
    fs = materialize([spec("mom", window=1, lag=lag)], bars, normalise=None, dtype="float64")
    return fs[fs.names[0]]["A"].to_numpy()


def weights(**by_session):
    return pd.DataFrame({"A": [by_session.get(f"S{i}", np.nan) for i in range(1, 6)]}, index=BARS.index)


def test_features_by_lag():
    expected = np.array([np.nan, 102/100 - 1, 101/102 - 1, 104/101 - 1, 106/104 - 1])
    np.testing.assert_allclose(mom1(BARS), expected, rtol=1e-12)
    np.testing.assert_allclose(mom1(BARS, lag=2), [np.nan, *expected[:-1]], rtol=1e-12)
    np.testing.assert_array_equal(np.round(100*mom1(BARS), 3), [np.nan, 2.0, -0.980, 2.970, 1.923])


def test_labels_and_their_instants():
    label = forward_return(BARS, horizon=1)["A"].to_numpy()
    np.testing.assert_allclose(label, [103/101 - 1, 102/103 - 1, 105/102 - 1, np.nan, np.nan], rtol=1e-12)
    spans, opens = label_spans(BARS.index, horizon=1), CALENDAR.open_of(BARS.index)
    assert list(spans["label_start"][:4]) == list(opens[1:])
    assert list(spans["label_end"][:3]) == list(opens[2:])


def test_walk_forward_goes_by_knowability():
    spans = label_spans(BARS.index, horizon=1)
    fold = next(WalkForward(n_splits=1, embargo=0, test_size=3, min_train=1).split(spans))
    assert list(BARS.index[fold.test]) == [S3, S4, S5]
    assert list(BARS.index[fold.train]) == [S1], "the label of S2 ends at the open of S4, which the close of S3 does not know"


def test_backtest_earns_the_label():
    held = weights(S1=1.0, S2=0.0)
    label = forward_return(BARS, horizon=1)["A"].iloc[0]
    result = backtest(held, BARS, capital=10_100, size_at="fill")
    assert result.trades["shares"].tolist() == [100, -100]
    assert result.trades["price"].tolist() == [101, 103]
    assert result.equity[S2] == pytest.approx(10_200, abs=1e-9)
    assert result.equity[S3]/10_100 - 1 == pytest.approx(label, abs=1e-12)


def test_sized_at_the_decision_is_clipped_to_the_cash():
    result = backtest(weights(S1=1.0), BARS, capital=10_100, size_at="decision")
    assert result.trades["shares"].iloc[0] == 100, "101 shares at 100 cost 10,201 at the open of 101"
    assert result.trades["sizing_gap"].iloc[0] != 0
    assert (result.cash >= 0).all()


def test_the_world_cut_at_a_session():
    for t in (S1, S2, S3): np.testing.assert_array_equal(mom1(truncated(BARS, t)), mom1(BARS)[:BARS.index.get_loc(t) + 1])
    cut = backtest(weights(S1=1.0).loc[:S1], BARS.loc[:S1], capital=10_100)
    assert len(cut.trades) == 0 and cut.pending["decided_at"].tolist() == [S1], "the fill is pending, not zero"


def test_split_at_the_open_of_the_third_session():
    split = five_sessions(split=True)
    np.testing.assert_allclose(split["close"]["A"], BARS["close"]["A"])
    assert split["split_factor"]["A"].tolist() == [1, 1, 2, 2, 2]
    np.testing.assert_allclose(split["raw_close"]["A"], [100, 102, 50.5, 52, 53])
    result = backtest(weights(S2=1.0), split, capital=10_300, size_at="decision")
    plain = backtest(weights(S2=1.0), BARS, capital=10_300, size_at="decision")
    assert result.trades["shares"].iloc[0] == 2*plain.trades["shares"].iloc[0], "an order decided before the split doubles"
    assert result.equity[S5] == pytest.approx(plain.equity[S5], abs=1e-9)


def test_a_dividend_inside_the_label_belongs_to_the_holder():
    paying = BARS.copy()
    paying.loc[S3, ("dividend", "A")] = 1.0
    label = forward_return(paying, horizon=1)["A"].iloc[0]
    assert label == pytest.approx((103 + 1)/101 - 1), "the ex-session S3 lies in (entry S2, exit S3]"
    result = backtest(weights(S1=1.0, S2=0.0), paying, capital=10_100, size_at="fill")
    assert result.equity[S3]/10_100 - 1 == pytest.approx(label, abs=1e-12)
