"""kill -9 in the middle of a phase, and on with `--resume`: nothing is lost, nothing stands twice, nothing half-written is trusted."""
import random
import sqlite3
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import handoff

from qtp.core.files import read_json
from qtp.core.lake import Lake
from qtp.workbench.handoff import PHASES, phase_number
from qtp.workbench.reproduce import compare_runs, list_runs

PHASES_KILLED = ("data", "models", "backtest")
SEED = 20240328


def instants(finished_run, phases=PHASES_KILLED, each=1, seed=SEED):
    "(phase, seconds after it began) to kill at: random shares of the time that the phase took undisturbed."
    rng, took = random.Random(seed), read_json(finished_run/"run.json")["phases"]
    return [(phase, rng.uniform(0.02, 0.7)*took[phase]["seconds"]) for phase in phases for _ in range(each)]


def kill_chain(home, experiment, at, tell=print):
    "Run an experiment, killed at each of these instants and resumed after it; the run's folder."
    args = ("run", experiment)
    for phase, after in at:
        run = home.kill_in(phase, after, *args)
        args = ("run", "--resume", run)
        done = [name for name in PHASES if (run/f"{phase_number(name)}.json").exists()]
        tell(f"killed {after:5.2f} s after {phase} began; done by then: {', '.join(done)}")
        check_what_is_left(home, run, phase, done)
    home.qtp(*args)
    return run


def check_what_is_left(home, run, phase, done):
    "What a killed run leaves is whole: hand-offs of whole phases, readable records, and no process."
    assert list(PHASES[:len(done)]) == done
    for name in done: assert handoff(run, phase_number(name))["phase"] == name
    assert read_json(run/"run.json")["status"] == ("done" if len(done) == len(PHASES) else "running")
    until = time.monotonic() + 15
    while home.processes() and time.monotonic() < until: time.sleep(0.1)
    assert home.processes() == [], f"processes that outlive a kill in {phase}"
    assert list_runs(home.reports)["status"].tolist() == ["done" if len(done) == len(PHASES) else "interrupted"]


def tables(home):
    "Rows of every table of the database, without the columns that name a run."
    with sqlite3.connect(home.path/"data"/"qtp.db") as db:
        names = [n for n, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {n: pd.read_sql(f"SELECT * FROM {n}", db) for n in names}  # noqa: S608 names from the database itself
    return {n: t.drop(columns=[c for c in t if c in ("run_id", "created_at")]) for n, t in found.items()}


def check_same(finished, killed):
    "A run that was killed and resumed ends as one that was left alone: (home, run) each."
    (home, run), (other, survivor) = finished, killed
    assert read_json(survivor/"run.json")["status"] == "done" and read_json(survivor/"run.json").get("problems") is None
    found = compare_runs(run, survivor)
    assert found[found["what"] != "file"].to_dict("records") == []
    for left, right in zip(lakes(home), lakes(other), strict=True): check_lake(left, right)
    mine, theirs = tables(home), tables(other)
    assert set(mine) == set(theirs)
    for name in mine: pd.testing.assert_frame_equal(theirs[name], mine[name], obj=f"table {name}")
    check_records(other)


def lakes(home): return [Lake(p) for p in sorted((home.path/"data"/"lake").iterdir()) if p.is_dir()]


def check_lake(left, right):
    assert left.tables() == right.tables()
    for table in set(left.tables()) - {"manifest"}:     # which notes when each load was
        assert left.fingerprint(table)["hash"] == right.fingerprint(table)["hash"], table
        rows = right.read(table)
        assert not rows.drop(columns="ingested_at", errors="ignore").duplicated().any(), table
    assert not right.read("bars_1d").duplicated(["event_time", "asset_id"]).any()


def check_records(home):
    import mlflow
    client = mlflow.MlflowClient(f"sqlite:///{home.path/'mlruns'/'mlflow.db'}")
    runs = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
    parents, children = ([r for r in runs if ("mlflow.parentRunId" in r.data.tags) == child] for child in (False, True))
    assert (len(parents), len(children)) == (1, len(PHASES))
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert len(client.search_model_versions("")) == 1


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc")
def test_killed_in_data_models_and_backtest(finished, home):
    run = kill_chain(home, home.experiment(), instants(finished[1]))
    check_same(finished, (home, run))
