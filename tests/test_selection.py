"""Selection looks at training dates only: whatever the world does afterwards, the same features stay for the same reasons."""
import numpy as np
import pandas as pd
import pytest

from qtp.evaluation.ic import ic_panel, rank_ic
from qtp.features.engine import default_features, materialize
from qtp.features.selection import clusters, common_ic, feature_ic, pruning_log, rank_correlation, select_features, settled, training_ic
from qtp.labels.forward_return import forward_return

TRAIN, HORIZON = 200, 5


def world(seed, sessions=330, assets=25):
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2020-01-02 21:00", periods=sessions, freq="B", tz="UTC", name="timestamp")
    close = pd.DataFrame(50*np.exp((.015*rng.standard_t(4, (sessions, assets))).cumsum(axis=0)), stamps, pd.Index([f"A{i:02}" for i in range(assets)], name="asset_id"))
    close.iloc[:60, 0], close.iloc[120:, 1] = np.nan, np.nan
    wide = {"open": close*np.exp(.003*rng.normal(size=close.shape)), "high": close*1.01, "low": close*.99, "close": close, "tr_close": close,
            "raw_close": close, "volume": close*0 + 1e6*np.exp(.4*rng.normal(size=close.shape))}
    return pd.concat(wide, axis=1).rename_axis(columns=["field", "asset_id"])


def chosen(bars):
    items = default_features(bars.columns.get_level_values(0).unique())
    fs, train = materialize(items, bars), bars.index[:TRAIN]
    kept, table = select_features(fs, forward_return(bars, HORIZON), train, HORIZON, min_assets=5)
    tables = {"decisions": table, "log": pruning_log(table, train), "ic": training_ic(fs, {h: forward_return(bars, h) for h in (1, 5, 20)}, train, 5)}
    return kept.names, tables


@pytest.mark.parametrize("seed", [0, 1])
def test_later_dates_have_no_vote(seed):
    bars = world(seed)
    other = world(seed + 100)
    later = bars.copy()
    later.iloc[TRAIN:] = 3*other.iloc[TRAIN:].to_numpy()
    (names, before), (again, after) = chosen(bars), chosen(later)
    assert names == again and 0 < len(names) < len(before["decisions"])
    for name in before: pd.testing.assert_frame_equal(before[name], after[name], check_exact=True, obj=name)


def test_earlier_dates_do():
    bars = world(0)
    other = bars.copy()
    other.iloc[:TRAIN - HORIZON - 1] = world(7).iloc[:TRAIN - HORIZON - 1].to_numpy()
    assert not chosen(bars)[1]["decisions"]["ic"].equals(chosen(other)[1]["decisions"]["ic"])


def test_of_twins_the_better_training_ic_stays():
    bars = world(2)
    fs, train = materialize(default_features(bars.columns.get_level_values(0).unique()), bars), bars.index[:TRAIN]
    kept, table = select_features(fs, forward_return(bars, HORIZON), train, HORIZON, min_assets=5)
    rho, known = rank_correlation(fs, train), settled(train, HORIZON)
    ics = common_ic(feature_ic(fs.rows(known), forward_return(bars, HORIZON).loc[known], 5), clusters(rho))
    dropped = table.index[(table["decision"] == "drop") & (table["partner"] != "")]
    assert len(dropped)
    for name in dropped:
        partner = table.loc[name, "partner"]
        assert partner in kept.names and abs(rho.loc[name, partner]) > .9 and abs(ics[partner]) >= abs(ics[name])
    pairs = rho.loc[list(kept.names), list(kept.names)].abs().to_numpy()
    assert np.nanmax(np.triu(pairs, 1)) <= .9


@pytest.mark.parametrize("seed", range(4))
def test_a_panel_is_session_by_session_spearman(seed):
    from scipy.stats import pearsonr, spearmanr
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2020-01-02 21:00", periods=12, freq="B", tz="UTC")
    scale = 10.0**rng.integers(-8, 8)
    x = pd.DataFrame(scale*rng.normal(size=(12, 9)).round(1), stamps).mask(rng.random((12, 9)) < .3)
    y = pd.DataFrame(rng.normal(size=(12, 9)), stamps).mask(rng.random((12, 9)) < .3)
    for kind, oracle in (("rank_ic", spearmanr), ("ic", pearsonr)):
        found = ic_panel({"x": x}, {1: y}, kind, min_assets=3)["x", 1]
        for t in stamps:
            pair = pd.concat([x.loc[t], y.loc[t]], axis=1).dropna().to_numpy().T
            wanted = oracle(*pair).statistic if pair.shape[1] >= 3 and len(set(pair[0])) > 1 else np.nan
            np.testing.assert_allclose(found[t], wanted, rtol=1e-9, atol=1e-12)
    pd.testing.assert_series_equal(ic_panel({"x": x}, {1: y}, min_assets=3)["x", 1], rank_ic(x, y, 3), check_names=False, rtol=1e-12)
