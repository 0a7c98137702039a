"""One command walks the ten phases and leaves a report, records, and rankings in a database."""
import json
import re
import sqlite3

import pandas as pd
from conftest import ROOT, events, handoff

from qtp.core.certificate import Certificate
from qtp.phases.scope import VERDICTS
from qtp.workbench.handoff import PHASES, phase_number

NUMBERS = [phase_number(name) for name in PHASES]


def test_every_phase_leaves_notebook_page_and_hand_off(finished):
    _, run = finished
    for number, name in zip(NUMBERS, PHASES):
        for file in (f"{number}.json", f"{number}-{name}.ipynb", f"{number}-{name}.html"): assert (run/file).exists(), file
    assert (run/"index.html").exists() and (run/"experiment.yaml").exists()
    assert json.loads((run/"run.json").read_text())["status"] == "done"


def test_the_log_tells_the_story(finished):
    told = [(e["event"], e.get("phase")) for e in events(finished[1])]
    assert told[0][0] == "run_start" and told[-1][0] == "run_end"
    for name in PHASES: assert told.index(("phase_start", name)) < told.index(("phase_end", name))


def test_pages_load_nothing_from_elsewhere(finished):
    for page in finished[1].rglob("*.html"):
        text = page.read_text()
        assert "Content-Security-Policy" in text, page.name
        assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)\s*=\s*["']?(https?:)?//""", text), page.name
        assert "<script" not in text.lower(), page.name


def test_index_shows_every_verdict(finished):
    _, run = finished
    page = (run/"index.html").read_text()
    for number in NUMBERS:
        for verdict in handoff(run, number)["verdicts"]: assert verdict["check"].split(",")[0].replace("'", "&#39;") in page, verdict["check"]


def test_each_threshold_of_the_scope_is_that_of_a_verdict(finished):
    _, run = finished
    found = {(name, v["check"]) for number, name in zip(NUMBERS, PHASES) for v in handoff(run, number)["verdicts"]}
    assert [t for t, place in VERDICTS.items() if place not in found] == []


def test_artifacts_are_whole_and_the_certificate_is_clean(finished):
    from qtp.core.files import file_hash
    _, run = finished
    for number in NUMBERS:
        for file, digest in handoff(run, number)["artifacts"].items(): assert file_hash(run/file) == digest, file
    certificate = Certificate.from_json((run/"04-features"/"features"/"certificate.json").read_text())
    assert certificate.verdict == "clean" and certificate.n_points > 10_000


def test_deliverables_are_where_the_page_says(finished):
    _, run = finished
    text = "".join("".join(c["source"]) for c in json.loads((ROOT/"nbs"/"deliverables.ipynb").read_text())["cells"])
    named = [n for n in re.findall(r"`(\d\d-[a-z]+/[\w./]+)`", text) if "topK_" not in n]
    assert len(named) > 30
    assert [n for n in named if not (run/n).exists()] == []
    assert list((run/"02-data").glob("topK_*.csv"))


def test_mlflow_holds_a_parent_and_a_child_a_phase(finished):
    import mlflow
    home, run = finished
    client = mlflow.MlflowClient(f"sqlite:///{home.path/'mlruns'/'mlflow.db'}")
    runs = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert len(parents) == 1 and len(children) == len(PHASES)
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parents[0].info.run_id}
    models = next(r for r in children if "models" in r.info.run_name)
    assert models.data.metrics and models.data.params["horizon"] == "5"
    stored = {f.path for r in runs for f in _files(client, r.info.run_id)}
    for wanted in ("metrics.json", "importance.csv", "equity.png", ".ipynb"): assert any(f.endswith(wanted) for f in stored), wanted


def _files(client, run_id, path=None):
    for f in client.list_artifacts(run_id, path):
        if f.is_dir: yield from _files(client, run_id, f.path)
        else: yield f


def test_the_model_is_registered_as_its_gates_allow(finished):
    import mlflow
    home, run = finished
    promotion = json.loads((run/"09-deploy"/"promotion.json").read_text())
    client = mlflow.MlflowClient(f"sqlite:///{home.path/'mlruns'/'mlflow.db'}")
    models = client.search_registered_models()
    assert len(models) == 1
    assert promotion["alias"] in models[0].aliases


def test_the_database_holds_predictions_rankings_and_labels(finished):
    home, run = finished
    with sqlite3.connect(home.path/"data"/"qtp.db") as db:
        preds = pd.read_sql("SELECT * FROM preds", db)
        assert list(preds) == ["ticker", "dt", "horizon", "yhat", "yhat_std", "prob_up", "run_id"]
        assert preds["dt"].max() == "2022-12-30" and preds["prob_up"].between(0.01, 0.99).all()
        latest = pd.read_sql("SELECT * FROM preds_latest", db)
        assert not latest.duplicated(["ticker", "dt", "horizon"]).any()
        rankings = pd.read_sql("SELECT * FROM rankings", db)
        assert rankings["rank"].tolist() == list(range(1, len(rankings) + 1))
        assert pd.read_sql("SELECT * FROM labels", db)["label_ret_1d"].notna().any()


def test_resume_of_a_finished_run_does_nothing(finished):
    home, run = finished
    before = {f: f.stat().st_mtime_ns for f in run.glob("[01][0-9].json")}
    home.qtp("run", "--resume", run)
    assert {f: f.stat().st_mtime_ns for f in run.glob("[01][0-9].json")} == before


def test_runs_are_listed(finished):
    home, _ = finished
    assert "tiny" in home.qtp("runs").stdout


def test_reproduce_finds_the_same_numbers(finished):
    home, run = finished
    said = home.qtp("reproduce", run).stdout
    assert "identical" in said.lower() or "reproduc" in said.lower()


def test_one_phase_again_makes_the_later_ones_stale(finished):
    home, run = finished
    home.qtp("phase", "09", "--run", run)
    assert (run/"09.json").exists() and (run/"10.stale.json").exists() and not (run/"10.json").exists()
    home.qtp("run", "--resume", run)
    assert (run/"10.json").exists()
