"""Selection looks at training dates only: whatever the world does afterwards, the same features stay for the same reasons."""
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from qtp.evaluation.ic import ic_panel, rank_ic
from qtp.causality.certify import check_certificate
from qtp.core.errors import FeatureError, LakeError, LookAheadError, ParameterError
from qtp.core.files import read_json
from qtp.core.lake import Lake
from qtp.features import engine
from qtp.features.engine import FeatureSet, default_features, materialize
from qtp.features.registry import REGISTRY, feature, parse_specs
from qtp.features.selection import block_stability, clusters, common_ic, feature_ic, pruning_log, rank_correlation, rolling_stability, select_features, settled, training_ic
from qtp.features.sets import SETS, named_set, wanted_features
from qtp.labels.forward_return import forward_return
from qtp.phases import features as phase_4

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


def test_rolling_stability_knows_nothing_of_later_sessions():
    fs = materialize([{"mom": {"window": 5}}, "log_return"], world(4))
    whole, cut = (rolling_stability(f, 3, 5) for f in (fs, fs.rows(fs.index[:150])))
    pd.testing.assert_frame_equal(whole.iloc[:150], cut, check_exact=True, check_freq=False)
    np.testing.assert_allclose(block_stability(fs, (3,), 5)[3], whole.mean()[list(fs.names)], rtol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_every_set_can_be_computed(name):
    bars = world(3, sessions=280, assets=6)
    items = named_set(name, bars.columns.get_level_values(0).unique())
    fs = materialize(items, bars)
    assert list(fs.names) == [s.label for s in parse_specs(items)] and np.isfinite(fs.raw).any(axis=(1, 2)).mean() > .9


def run_phase(**given):
    defaults = dict(run_dir="", features=[], families=[], feature_set="auto", modules=[], on_error="raise", time_limit=0.0, normalise="rank", rolling_window=5,
                    train_fraction=.25, ic_horizon=5, horizons=[1, 5], regime_window=60, stress_sessions=0, stress_assets=20, min_assets=5, n_samples=100, budget="quick",
                    waive="", seed=1)
    return phase_4.run(**defaults | given)


def test_the_road_has_sectors_and_audits_them():
    phase = run_phase(features=["sector_relative", {"mom": {"window": 20}}], families=["spectral"])
    fs = FeatureSet.load(phase.path("features"))
    decisions = phase.load("features", "redundancy")
    assert {"sector_relative_20", "mom_20", "spectral_entropy_64"} <= set(decisions.index) and set(decisions["family"]) == {"cross_section", "returns", "spectral"}
    coverage = phase.load("features", "audit_coverage")
    assert (coverage.loc[coverage["feature"].eq("sector_relative_20"), "values"] > 0).any() and check_certificate(fs).verdict == "clean"
    kept = set(fs.names)
    log = phase.load("features", "pruning")
    assert set(log.index[log["event"] == "dropped"]) == set(decisions.index) - kept


def test_the_road_normalises_by_rolling_windows_and_keeps_raw_values_apart(monkeypatch):
    monkeypatch.setattr(phase_4, "_at_once", lambda full, memory_gb: 2)      # several audits make one report
    phase = run_phase(features=["rsi", "log_return", {"mom": {"window": 20}}], normalise="rolling", rolling_window=3)
    fs = FeatureSet.load(phase.path("features"))
    assert fs.normalisation == "rolling_3" and check_certificate(fs).verdict == "clean"
    coverage = phase.load("features", "audit_coverage")
    assert {f"{n} normalised" for n in fs.names} <= set(coverage["feature"])
    x = pd.DataFrame(fs.raw[fs.names.index("log_return")], fs.index, fs.assets).astype(float)
    wanted = (x - x.rolling(3).mean()) / x.rolling(3).std()
    both = wanted.notna() & fs["log_return"].notna()
    np.testing.assert_allclose(fs["log_return"].to_numpy()[both], wanted.to_numpy()[both], rtol=1e-3, atol=1e-3)
    assert both.to_numpy().mean() > .5


def test_sets_families_and_names_add_up():
    labels = [s.label for s in wanted_features(["rsi"], ["spectral"], "core")]
    assert labels[0] == "rsi_14" and len(labels) == len(set(labels)) == 1 + 6 + len(SETS["core"]())
    with pytest.raises(ParameterError, match="expected one of"): named_set("everything")


def test_the_road_reads_five_minute_bars_where_there_are_any(tmp_path):
    from qtp.workbench.runner import run_road
    data = {"n_assets": 8, "start": "2022-03-01", "end": "2022-12-30"}
    asked = {"families": ["intraday"], "features": ["vpin"], "budget": "quick", "n_samples": 100, "stress_sessions": 0, "train_fraction": .5}
    run_road({"data": data | {"intraday": True}, "features": asked}, tmp_path/"with", upto="features")
    fs, told = FeatureSet.load(tmp_path/"with"/"04-features"/"features"), read_json(tmp_path/"with"/"04.json")
    decisions = pd.read_csv(tmp_path/"with"/"04-features"/"redundancy.csv", index_col=0)
    assert set(decisions["family"]) == {"intraday"} and len(decisions) == 21 and check_certificate(fs).verdict == "clean"
    coverage = pd.read_csv(tmp_path/"with"/"04-features"/"audit_coverage.csv")
    compared = coverage[coverage["layer"] == "staggered"].groupby("feature")["values"].sum()
    assert (compared.reindex(decisions.index) > 0).all()                # the statistics were shocked like any other field
    assert told["verdicts"][0]["value"] == "clean" and "bars_5min" in fs.certificate.data_fingerprint
    statistics = pd.read_csv(tmp_path/"with"/"04-features"/"session_statistics.csv", index_col=0)
    assert "vpin_20" in statistics.loc["session_bulk_imbalance", "read_by"] and (statistics["assets"] == 8).all()


def test_without_five_minute_bars_a_set_says_what_it_lacks_and_a_name_is_refused():
    phase = run_phase(features=["rsi"], feature_set="default", n_samples=60)
    log = phase.load("features", "pruning")
    assert (log.loc["jump_share_20", ["event", "reason"]] == ["left out", "needs five-minute bars, and the lake has none"]).all()
    with pytest.raises(FeatureError, match="needs `session_bulk_imbalance`"): run_phase(features=["vpin"])
    with pytest.raises(ParameterError, match="feed nothing of 'intraday'"): run_phase(families=["intraday"])


@pytest.fixture
def asked(monkeypatch):
    "Features that each `Evaluation` was asked for since the phase began to compute its set; the set comes first."
    found, evaluation, computed = [], engine.Evaluation, phase_4._computed
    monkeypatch.setattr(engine, "Evaluation", lambda wanted, *more: (found.append([s.label for s, _ in wanted]), evaluation(wanted, *more))[1])
    monkeypatch.setattr(phase_4, "_computed", lambda *what: (found.clear(), computed(*what))[1])
    return found


def left(phase):
    "What a phase leaves behind, but for how long the audit took and for what was computed or read."
    stored = read_json(phase.commit())
    return stored["metrics"], stored["verdicts"], {k: v for k, v in stored["artifacts"].items() if "audit_coverage" not in k}


@pytest.mark.parametrize("normalise", ["rank", "rolling"])
def test_a_second_run_reads_the_lake_and_finds_the_same(asked, normalise):
    items = [{"rsi": {"window": 9}}, {"sector_relative": {"window": 21}}, {"hurst": {"window": 124}}, {"mom": {"window": 21}}]      # the demonstration's lake may hold the defaults
    first = run_phase(features=items, normalise=normalise)
    before = left(first)
    assert asked[0] == ["rsi_9", "sector_relative_21", "hurst_124", "mom_21"]
    again = run_phase(run_dir=first.run_dir, features=items, normalise=normalise)      # into the same lake
    assert asked[0] == [] and left(again) == before
    told = read_json(again.path("reuse.json"))
    assert told["counts"]["read from the lake"] == {"features": 4, "sessions computed": 0} and " MB" in told["said"]
    more = run_phase(run_dir=first.run_dir, features=[*items, {"volume_shock": {"window": 21}}], normalise=normalise)
    assert asked[0] == ["volume_shock_21"] and read_json(more.path("reuse.json"))["counts"]["computed"]["features"] == 1


def test_another_process_reads_it_too():
    items = ["rsi", {"price_zscore": {"window": 20}}, "sector_relative", {"hurst": {"window": 120}}]
    first = run_phase(features=items)
    code = f"from test_selection import run_phase; run_phase(run_dir={str(first.run_dir)!r}, features={items!r})"
    subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(__file__), env=os.environ | {"PYTHONHASHSEED": "1"}, check=True)
    assert read_json(first.path("reuse.json"))["counts"]["read from the lake"]["features"] == 4


def test_the_audit_reads_nothing_that_is_stored(monkeypatch):
    first, real = run_phase(features=["rsi", "log_return"]), phase_4.FeatureStore.fill
    def wrong(self, values, *more):
        real(self, values, *more)
        for arrays in values.values(): arrays["log_return"][:] *= 2
    monkeypatch.setattr(phase_4.FeatureStore, "fill", wrong)
    with pytest.raises(LookAheadError, match="log_return"): run_phase(run_dir=first.run_dir, features=["rsi", "log_return"])


def test_a_lake_that_takes_or_gives_nothing_costs_no_result(monkeypatch):
    first, write = run_phase(features=["rsi", "log_return"]), Lake.append
    before = left(first)
    def full(self, table, *more, **options):
        if table.startswith("features_"): raise LakeError(f"{table}: cannot be written (no space left). Make room on the disk, then ask again.")
        return write(self, table, *more, **options)
    with monkeypatch.context() as m:
        m.setattr(Lake, "append", full)
        phase = run_phase(run_dir=first.run_dir, features=["rsi", "log_return", {"mom": {"window": 23}}])
        assert len(phase.load("features", "redundancy")) == 3
        note = next(n for n in phase._notes if "no space left" in n)
        assert note.startswith("3 features: 2 read from the lake, 1 computed.") and "Nothing of this run is lost" in note
    for file in (first.run_dir/"scratch"/"lake").rglob("features_*/*/*.parquet"): file.write_bytes(b"")
    again = run_phase(run_dir=first.run_dir, features=["rsi", "log_return"])
    told = read_json(again.path("reuse.json"))
    assert left(again) == before and told["counts"]["computed"]["features"] == 2 and "cannot be read" in told["said"]


def test_tables_are_shared_by_those_who_ask_for_the_same_window(tmp_path):
    @feature(family="example", lookback=20)
    def example_of_a_user(close): return close.rolling(20).std()
    items, notes = parse_specs(["rsi", "example_of_a_user"]), []
    def computed(bars, **changed):
        data = dict(provider="sample", dataset="tests", start="", end="", assets=[], dividends="vendor") | changed
        phase = SimpleNamespace(parameters=dict(normalise="rank", on_error="raise", time_limit=0.0), upstream=lambda name: SimpleNamespace(parameters=data),
                                path=lambda name: tmp_path/name, settings=SimpleNamespace(lake_url=str(tmp_path), memory_gb=4.0), note=notes.append)
        full = phase_4._computed(phase, materialize, items, SimpleNamespace(bars=bars, members=bars["close"].notna()))
        assert np.array_equal(full.raw, materialize(items, bars, bars["close"].notna()).raw, equal_nan=True)
        return {k: tuple(v.values()) for k, v in read_json(tmp_path/"reuse.json")["counts"].items()}
    bars = world(1, sessions=200, assets=6)
    (tmp_path/"tests").mkdir()
    try:
        assert computed(bars.iloc[:190]) == {"read from the lake": (0, 0), "read, new sessions computed": (0, 0), "computed": (2, 380)}
        assert computed(bars) == {"read from the lake": (0, 0), "read, new sessions computed": (1, 10), "computed": (1, 200)}      # sums of pandas depend on where they begin
        assert computed(bars.iloc[:190], end="2020-09-23")["computed"] == (2, 380)      # another window has tables of its own
        assert computed(bars)["read from the lake"] == (2, 0)
    finally: REGISTRY.pop("example_of_a_user")


def test_a_function_that_does_not_end_is_ended_and_the_others_stay(tmp_path):
    (tmp_path/"slow.py").write_text("""import time

from qtp.features.registry import feature


@feature(family="example", lookback=1)
def example_slow(close):
    "Never there in time."
    time.sleep(60)
    return close
""")
    try: phase = run_phase(features=["example_slow", "rsi", "log_return"], modules=[str(tmp_path/"slow.py")], on_error="skip", time_limit=2.0)
    finally: REGISTRY.pop("example_slow", None)
    failed = phase.load("features", "pruning").loc["example_slow"]
    assert failed["event"] == "failed" and "2 s" in failed["reason"] and set(phase.load("features", "redundancy").index) == {"rsi_14", "log_return"}
