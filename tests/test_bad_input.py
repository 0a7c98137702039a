"""Bad input: a message that says where, what was found, what was expected and what to do, or a clean continuation; nothing half-written."""
import numpy as np
import pandas as pd
import pytest

from qtp.core.errors import DataError, LookAheadError, ParameterError, QtpError
from qtp.core.lake import Lake
from qtp.data.calendar import Calendar
from qtp.workbench.experiment import load_experiment
from qtp.workbench.handoff import read_handoff, read_table
from qtp.workbench.runner import run_road

DAYS = Calendar().sessions("2023-01-03", "2023-06-30")[:80]


def panel(assets="ABCD", days=DAYS):
    "Daily bars of a few assets, in order of session and asset."
    rng, parts = np.random.default_rng(5), []
    for asset in assets:
        close = 50*np.exp(np.cumsum(0.01*rng.standard_normal(len(days))))
        opened = close*(1 + 0.002*rng.standard_normal(len(days)))
        parts.append(pd.DataFrame({"timestamp": days, "asset_id": asset, "open": opened, "high": np.maximum(opened, close)*1.01, "low": np.minimum(opened, close)*0.99,
                                   "close": close, "volume": rng.integers(100_000, 1_000_000, len(days)).astype(float)}))
    return pd.concat(parts).sort_values(["timestamp", "asset_id"], ignore_index=True)


class Desk:
    "A folder, a file of bars in it, and the first two phases on it."

    def __init__(self, path): self.path, self.file, self.run_dir = path, path/"bars.parquet", path/"run"

    def store(self, bars=None, text=None):
        if text is not None: self.file.write_bytes(text)
        elif self.file.suffix == ".csv": bars.to_csv(self.file, index=False)
        else: bars.to_parquet(self.file, index=False)
        return self

    def as_csv(self):
        self.file = self.path/"bars.csv"
        return self

    def load(self, **options):
        asked = {"provider": "file", "path": str(self.file), "stamp": "session", "adjustment": "split", "dataset": "mine", **options}
        run_road({"data": {k: v for k, v in asked.items() if v is not None}}, self.run_dir, upto="data")
        return self

    def refused(self, *words, kind=DataError, where=True, **options):
        "The refusal holds these words and, before them, the file; the lake is as it was."
        before = self.content()
        with pytest.raises(QtpError) as caught: self.load(**options)
        text = str(caught.value)
        assert isinstance(caught.value, kind), f"{type(caught.value).__name__}: {text}"
        for word in [*([str(self.file)] if where else []), *words]: assert word in text, f"{word!r} is not in: {text}"
        assert len(text) < 700 and "\n" not in text
        assert self.content() == before and not (self.run_dir/"02.json").exists()

    @property
    def lake(self): return Lake(self.run_dir/"scratch"/"lake"/"mine")

    def content(self): return {t: self.lake.fingerprint(t) for t in self.lake.tables()}

    def table(self, name): return read_table(self.run_dir, "data", name)


@pytest.fixture
def desk(tmp_path): return Desk(tmp_path)


def test_the_good_file_is_good(desk):
    desk.store(panel()).load()
    assert len(desk.table("quarantine")) == 0 and len(desk.lake.read("bars_1d")) == 320
    assert read_handoff(desk.run_dir, "data").metrics["sessions"] == 80


# Files

def test_missing_file(desk): desk.refused("not found, expected a .parquet, .csv or .csv.gz file, or a folder of them", "Correct the path")


def test_missing_file_names_the_nearest(desk):
    desk.store(panel())
    desk.file = desk.path/"bar.parquet"
    desk.refused("Did you mean `bars.parquet`?")


def test_empty_file(desk):
    desk.store(text=b"").refused("found an empty file (0 bytes), expected a table with columns ['timestamp', 'asset_id', 'open'", "Download or export it again")


def test_file_without_rows(desk): desk.as_csv().store(panel()[:0]).refused("found a header and no rows, expected at least one row", "Download or export it again")


def test_empty_folder(desk):
    desk.file = desk.path/"bars"
    desk.file.mkdir()
    desk.refused("found a folder without Parquet or CSV files", "expected at least one of")


def test_damaged_parquet(desk):
    whole = panel().to_parquet()
    desk.store(text=whole[:len(whole)//2]).refused("cannot be read as Parquet", "The file is damaged or of another format: download or export it again")


def test_damaged_csv(desk):
    text = panel().to_csv(index=False).encode()
    desk.as_csv().store(text=text[:3000] + b'"\xff' + text[3000:]).refused("cannot be read as CSV", "The file is damaged or of another format: download or export it again")


def test_one_damaged_file_of_a_folder(desk):
    desk.file = desk.path/"bars"
    desk.file.mkdir()
    for asset, bars in panel().groupby("asset_id"): bars.to_parquet(desk.file/f"{asset}.parquet", index=False)
    desk.load()
    (desk.file/"C.parquet").write_bytes(b"PAR1")
    desk.refused("C.parquet: cannot be read as Parquet")


def test_text_among_numbers(desk):
    bars = panel().astype({"close": object})
    bars.loc[5, "close"] = "n.a"
    desk.as_csv().store(bars).refused("asset B, 2023-01-04", "column 'close': found 'n.a', expected a number (1 of 320 rows)", "Correct the file")


def test_dates_that_can_be_read_two_ways(desk):
    bars = panel()
    desk.as_csv().store(bars.assign(timestamp=bars["timestamp"].dt.strftime("%d/%m/%Y")))
    desk.refused("row 1, column 'timestamp': found '03/01/2023', expected an ISO 8601 date", "rewrite them")


def test_missing_column(desk):
    desk.store(panel().drop(columns="volume")).refused("column 'volume' is missing (1 of 7", "found ['timestamp', 'asset_id', 'open'", "Name the file's own columns")


def test_column_under_another_name(desk):
    bars = panel().rename(columns={"close": "Close"})
    desk.store(bars).refused("column 'close' is missing", "columns={'close': 'Close'}")
    desk.load(columns={"close": "Close"})
    assert len(desk.lake.read("bars_1d")) == 320


# Rows

def test_a_copied_row_is_put_aside(desk):
    bars = panel()
    desk.store(pd.concat([bars[:8], bars[7:]])).load()
    aside = desk.table("quarantine")
    assert aside[["asset_id", "rule"]].to_numpy().tolist() == [["D", "duplicate"]] and "one row per bar" in aside["reason"][0]
    assert len(desk.lake.read("bars_1d")) == 320


def test_two_rows_that_disagree_are_both_put_aside(desk):
    bars = panel()
    desk.store(pd.concat([bars[:8], bars[7:8].assign(close=bars["close"][7]*1.001), bars[8:]])).load()
    assert desk.table("quarantine")["rule"].tolist() == ["conflict", "conflict"]
    assert len(desk.lake.read("bars_1d")) == 319


def test_a_table_of_duplicates(desk):
    bars = panel()
    desk.store(pd.concat([bars, bars.assign(close=bars["close"]*1.001)])).refused(
        "asset A, 2023-01-03, column 'timestamp': found 2023-01-03, expected one row per bar (640 of 640 rows)", "more than max_bad=5%", "ask the source which is right")


def test_unsorted_rows_are_sorted_and_reported(desk, tmp_path_factory):
    desk.store(panel()).load()
    mixed = Desk(tmp_path_factory.mktemp("mixed")).store(panel().sample(frac=1, random_state=3)).load()
    found = mixed.table("quality").set_index(["rule", "asset_id"])
    assert found.loc[("unsorted", "A"), "severity"] == "warning" and "sorted" in found.loc[("unsorted", "A"), "remedy"]
    same = ["timestamp", "event_time", "asset_id", "open", "high", "low", "close", "volume"]
    pd.testing.assert_frame_equal(mixed.lake.read("bars_1d")[same], desk.lake.read("bars_1d")[same])


def test_naive_stamps(desk):
    bars = panel()
    desk.store(bars.assign(timestamp=bars["timestamp"] + pd.Timedelta("16h"))).refused(
        "asset A, 2023-01-03 16:00, column 'timestamp': found a stamp without a zone, expected an instant (320 of 320 rows)", "zone='America/New_York'", stamp="end")
    desk.load(stamp="end", zone="America/New_York")
    assert desk.lake.read("bars_1d")["event_time"].min() == pd.Timestamp("2023-01-03 21:00", tz="UTC")


def test_wrong_zone(desk):
    bars = panel()
    desk.store(bars.assign(timestamp=(bars["timestamp"] + pd.Timedelta("16h")).dt.tz_localize("UTC"))).refused(
        "asset A, 2023-01-03 16:00", "labelled UTC, expected the end of a bar of XNYS (320 of 320 rows)", "Read as America/New_York the stamps fit", stamp="end")


def test_unknown_zone(desk):
    bars = panel()
    desk.store(bars.assign(timestamp=bars["timestamp"] + pd.Timedelta("16h"))).refused(
        "zone: found 'America/New_Yrok'", "Did you mean `America/New_York`?", kind=ParameterError, where=False, stamp="end", zone="America/New_Yrok")


def test_session_dates_with_a_time_of_day(desk):
    bars = panel()
    desk.store(bars.assign(timestamp=bars["timestamp"] + pd.Timedelta("16h"))).refused(
        "asset A, timestamp: 2023-01-03 16:00:00 carries a time of day (320 of 320 rows), expected session dates at midnight", "Declare stamp='start' or 'end'")


def test_a_wrong_stamp_convention(desk):
    bars = panel()
    opened = (bars["timestamp"] + pd.Timedelta("9h30min")).dt.tz_localize("America/New_York")
    desk.store(bars.assign(timestamp=opened))
    desk.refused("asset A, timestamp: 2023-01-03 14:30:00+00:00 cannot be the end of a bar", "a wrong guess shifts every bar by one", stamp="end")


def test_a_negative_price_is_put_aside(desk):
    bars = panel()
    bars.loc[9, "low"] *= -1
    desk.store(bars).load()
    aside = desk.table("quarantine")
    assert aside[["asset_id", "sent", "rule", "column"]].to_numpy().tolist() == [["B", "2023-01-05", "price", "low"]]
    assert aside["reason"][0].startswith("low: found -") and "expected a finite price above zero" in aside["reason"][0]
    assert len(desk.lake.read("bars_1d")) == 319 and len(desk.lake.read("quarantine")) == 1


def test_a_table_of_negative_prices(desk):
    bars = panel()
    desk.store(bars.assign(close=-bars["close"]))
    desk.refused("asset A, 2023-01-03, column 'close': found -", "expected a finite price above zero (320 of 320 rows)", "Correct the price at the source")


@pytest.mark.parametrize("day", ["2040-06-28", "2099-03-02"])
def test_a_future_date_is_put_aside(desk, day):
    bars = panel()
    desk.store(pd.concat([bars, bars[-4:].assign(timestamp=pd.Timestamp(day))])).load()
    aside = desk.table("quarantine")
    assert aside["rule"].tolist() == ["future"]*4 and aside["sent"].unique().tolist() == [day]
    assert "expected a bar that has ended by now" in aside["reason"][0]
    assert desk.lake.read("bars_1d")["event_time"].max() < pd.Timestamp("2023-07-01", tz="UTC") and len(desk.lake.read("bars_1d")) == 320


def test_a_market_of_the_future(desk):
    bars = panel()
    days = dict(zip(DAYS, Calendar().sessions("2040-01-03", "2040-12-31")))
    desk.store(bars.assign(timestamp=bars["timestamp"].map(days)))
    desk.refused("asset A, 2040-01-03", "expected a bar that has ended by now (320 of 320 rows)", "Check the clock, the zone and the dates")


def test_a_single_asset(desk): desk.store(panel("A")).refused("found 1 asset (A), expected at least 2: ranking needs a cross-section", "Add assets")


def test_forty_sessions(desk):
    desk.store(panel(days=DAYS[:40])).refused("found 40 sessions from 2023-01-03 to 2023-03-01 (4 assets), expected at least 60", "Load a longer history")


# Declarations and parameters

@pytest.mark.parametrize("name", ["stamp", "adjustment"])
def test_what_a_file_means_must_be_declared(desk, name):
    desk.store(panel()).refused(f"section `data`: {name}: found '', expected one of", "Look it up in the source's documentation", kind=ParameterError, where=False, **{name: None})


def test_a_declaration_of_another_kind(desk):
    desk.store(panel()).refused("stamp: found 'close', expected one of ['session', 'start', 'end']", kind=ParameterError, where=False, stamp="close")


def test_adjusting_twice(desk):
    desk.store(panel()).refused("prices are declared 'split'", "Adjusting twice is refused", kind=ParameterError, where=False, actions_path="actions.csv")


def test_a_path_beside_another_provider(desk):
    desk.store(panel()).refused("data.path is set, but provider 'simulated' does not read it. Say `provider: file`",
                                kind=ParameterError, where=False, provider="simulated", stamp=None, adjustment=None)


def test_an_unknown_asset(desk): desk.store(panel()).refused("asset ZZZ is not there (1 of 2 assets asked for)", assets=["A", "ZZZ"])


def test_dates_outside_the_file(desk):
    desk.store(panel()).refused("no bars from 2030-01-02 to any date, found 2023-01-03 to 2023-04-27", "Ask for dates inside these", start="2030-01-02")


def test_a_dataset_that_would_leave_the_lake(desk):
    desk.store(panel()).refused("data.dataset: found '../../mine', expected letters", kind=ParameterError, where=False, dataset="../../mine")


@pytest.mark.parametrize("section, values, words", [
    ("data", {"n_asset": 10}, "section `data`: unknown key `n_asset`. Did you mean `n_assets`?"),
    ("data", {"horizon": 5}, "unknown key `horizon`. It belongs to section `models`."),
    ("dta", {"n_assets": 10}, "unknown section `dta`, expected a phase, `name` or `description`. Did you mean `data`?"),
    ("data", {"provider": "fiel"}, "found 'fiel' (str), expected one of simulated, file, sample, alpaca, yahoo, alphavantage, polygon. Did you mean `file`?"),
    ("data", {"start": "2023-13-45"}, "section `data`: start: found '2023-13-45', expected a date such as 2024-03-28"),
    ("data", {"start": "2023-01-03", "end": "2022-01-03"}, "start, end: found 2023-01-03 to 2022-01-03, expected a start before the end"),
    ("features", {"features": ["price_zscor"]}, "section `features`: feature `price_zscor` is not registered. Did you mean `price_zscore`?"),
    ("features", {"features": [{"price_zscore": {"windw": 20}}]}, "price_zscore: has no parameter `windw`. Did you mean `window`?"),
    ("features", {"features": [{"price_zscore": {"window": "20"}}]}, "price_zscore.window: found '20' (str), expected int"),
    ("features", {"features": [{"price_zscore": {"window": -20}}]}, "found -20, expected a whole number from 2. A negative number of sessions would look ahead"),
    ("features", {"modules": ["no_such.py"]}, "no_such.py"),
    ("models", {"horizon": "five"}, "section `models`, key `horizon`: found 'five' (str), expected a whole number"),
    ("models", {"horizon": 0}, "key `horizon`: found 0, expected at least 1"),
    ("models", {"model": {"type": "lightgmb"}}, "model `lightgmb` is not registered. Did you mean `lightgbm`?"),
    ("models", {"model": {"type": "lightgbm", "params": {"leaves": 31}}}, "lightgbm: has no parameter `leaves`. Did you mean `num_leaves`?"),
    ("models", {"validation": {"method": "walk_forwards"}}, "validation.method: found 'walk_forwards'. Did you mean `walk_forward`?"),
    ("models", {"validation": {"n_splits": 0}}, "n_splits: found 0, expected a whole number of at least 1"),
    ("scope", {"capital": 5}, "section `scope`, key `capital`: found 5, expected at least 25000"),
])
def test_an_experiment_is_refused_before_anything_runs(section, values, words):
    with pytest.raises(ParameterError) as caught: load_experiment({section: values})
    assert words in str(caught.value)


def test_a_feature_that_asks_for_the_same_close_it_trades_at():
    asked = {"features": {"features": [{"price_zscore": {"window": 20, "lag": 0}}]}}
    with pytest.raises(LookAheadError, match="price_zscore: found lag=0, expected 1 or more"): load_experiment(asked)


# The lake

def test_a_refused_delivery_leaves_the_last_good_one(desk):
    desk.store(panel()).load()
    good = desk.content()
    desk.store(panel().assign(close=-1.0)).refused("expected a finite price above zero")
    whole = panel().to_parquet()
    desk.store(text=whole[:-9]).refused("cannot be read as Parquet")
    desk.store(panel()).load()
    known = lambda content: {t: v["hash"] for t, v in content.items() if t != "manifest"}     # which notes each load
    assert known(desk.content()) == known(good)
    assert len(desk.lake.read("bars_1d")) == 320


def test_another_market_is_not_mixed_in(desk):
    desk.store(panel()).load()
    desk.store(panel()).refused("holds bars with adjustment ['split'], found ['raw']", "One lake holds one market", kind=QtpError, where=False, adjustment="raw")


# Through the command line

def refusal(done, code, *words):
    "The exit code and a short panel, without a traceback."
    assert done.returncode == code, done.stdout
    text = " ".join(done.stdout.replace("│", " ").split())
    for word in words: assert word in text, f"{word!r} is not in: {text}"
    assert "Traceback" not in text and len(done.stdout.splitlines()) < 25


def bad_file(home, content):
    (home.path/"bars.csv").write_bytes(content)
    return home.experiment(data={"provider": "file", "path": "bars.csv", "stamp": "session", "adjustment": "split", "start": "", "end": ""})


def test_an_unknown_parameter_ends_with_2_before_anything_runs(home):
    refusal(home.qtp("run", home.experiment(), "-p", "models.horizn=3", check=False), 2, "unknown key `horizn`. Did you mean `horizon`?", "ParameterError")
    assert not home.reports.exists() and not (home.path/"data").exists()


def test_a_missing_experiment_ends_with_2(home):
    home.experiment()
    refusal(home.qtp("run", "tniy.yaml", check=False), 2, "tniy.yaml: no such file. Did you mean `tiny.yaml`?")


def test_a_missing_declaration_ends_with_2(home):
    refusal(home.qtp("run", home.experiment(data={"provider": "file", "path": "bars.csv"}), check=False), 2, "stamp: found '', expected one of ['session', 'start', 'end']")


def test_a_damaged_file_ends_with_1_and_names_the_phase(home):
    done = home.qtp("run", bad_file(home, panel().to_csv(index=False).encode()[:3000] + b'"'), check=False)
    refusal(done, 1, "phase 02 data, cell", "bars.csv: cannot be read as CSV", "download or export it again", "go on with: qtp run --resume")
    run = next(home.reports.glob("*/*-tiny"))
    assert (run/"01.json").exists() and not (run/"02.json").exists() and (run/"index.html").exists()
    assert not any(home.path.glob("data/lake/*/*"))
