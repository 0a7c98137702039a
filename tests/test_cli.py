"""The command line: help that helps, exit codes that mean something, panels instead of tracebacks."""
import re

import pytest
import yaml
from conftest import ROOT, TINY, events
from typer.testing import CliRunner

from qtp.core.files import read_json
from qtp.workbench.cli import app
from qtp.workbench.experiment import load_experiment

COMMANDS = {
    "run": ["EXPERIMENT.yaml", "--param", "-p", "SECTION.KEY=VALUE", "--jobs", "-j", "--resume", "--into", "--require-gates"],
    "phase": ["PHASE", "--run", "DIR", "--param"],
    "runs": ["--reports", "-n"],
    "reproduce": ["DIR", "--keep"],
    "params": ["PHASE"],
    "doctor": [],
}


def said(text):
    "What a person reads: one line, without the frames of panels."
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_arguments_example_and_exit_codes(command):
    text = said(CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120", "TERM": "dumb"}).output)
    for word in [*COMMANDS[command], f"Example: qtp {command}", "Exit codes: 0 done", "2 input refused", "3 an audit failed"]: assert word in text, word


def test_help_lists_the_commands():
    text = said(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "TERM": "dumb"}).output)
    for word in [*COMMANDS, "Exit codes: 0 done"]: assert word in text


def test_what_a_new_home_is_told(home):
    assert "No runs yet. Start one with: qtp run params/quick.yaml" in home.qtp("runs").stdout
    doctor = home.qtp("doctor", check=False)
    rows = [line.split() for line in doctor.stdout.splitlines()]
    assert doctor.returncode == int(any("missing" in row[:4] for row in rows)), doctor.stdout
    for what in ("python", "packages", "kernels", "lake", "database", "MLflow", "memory"): assert what in doctor.stdout
    assert "The first `qtp run`" in doctor.stdout


def test_params_lists_type_default_and_meaning():
    every, models = (CliRunner().invoke(app, ["params", *section]).output for section in ([], ["models"]))
    for text in (every, models): assert "horizon" in text and "sessions a position is held" in text
    assert "signal_ic" in every and "signal_ic" not in models
    assert CliRunner().invoke(app, ["params", "modells"]).exit_code == 2


@pytest.mark.parametrize("words", [["run"], ["run", "a.yaml", "--resume", "x"], ["run", "--resume", "no-such-run"], ["reproduce", "no-such-run"],
                                   ["phase", "05", "--run", "no-such-run"], ["phase", "15", "--run", "."], ["runn"]])
def test_what_cannot_be_done_ends_with_2(words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "Traceback" not in done.output


@pytest.mark.parametrize("key, value, nearest", [("families", ["momentun"], "momentum"), ("feature_set", "alpha159", "alpha158"), ("features", ["rsj"], "rsi"),
                                                 ("modules", ["params/leeky.py"], "leaky.py")])
def test_what_no_registry_knows_is_refused_before_any_phase(home, key, value, nearest):
    done = home.qtp("run", home.experiment(features={"features": [], key: [str(ROOT/v) for v in value] if key == "modules" else value}), check=False)
    assert done.returncode == 2 and f"Did you mean `{nearest}`?" in said(done.stdout), done.stdout
    assert not home.reports.exists()


def test_every_experiment_of_the_project_loads():
    for file in sorted((ROOT/"params").glob("*.yaml")):
        experiment = load_experiment(file)
        assert experiment.name == file.stem and experiment.description, file.name


def test_the_experiment_of_the_readme_loads():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT/"README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks: load_experiment(yaml.safe_load(block))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    "A leak and an honest experiment, side by side, both with another seed: (home, what was printed, its two runs)."
    from conftest import Home
    home = Home(tmp_path_factory.mktemp("pair"))
    leak = yaml.safe_load((ROOT/"params"/"leak.yaml").read_text())
    leak["data"]["n_assets"] = 12
    leak["features"]["modules"] = [str(ROOT/"params"/"leaky.py")]
    done = home.qtp("run", home.experiment(leak), home.experiment(TINY), "-j", 2, "-p", "data.seed=11", check=False)
    return home, done, *(next(home.reports.glob(f"*/*-{name}")) for name in ("leak", "tiny"))


def test_a_leak_ends_with_3_and_is_named(pair):
    _, done, leak, _ = pair
    assert done.returncode == 3, done.stdout
    text = said(done.stdout)
    for word in ("audit failed", "phase 04 features", "LookAheadError", "smoothed_momentum", "stored", "recomputed"): assert word in text, text
    assert re.search(r"asset SIM\d{3}", text) and re.search(r"20\d\d-\d\d-\d\d", text) and "Traceback" not in text


def test_a_leak_stops_the_run_before_a_model_learns_from_it(pair):
    leak = pair[2]
    assert read_json(leak/"run.json")["status"] == "audit failed" and (leak/"index.html").exists()
    assert "models" not in {e.get("phase") for e in events(leak)}
    assert not any(leak.glob("0[4-9].json")) and not any(leak.glob("05*"))


def test_a_waived_leak_goes_on_in_red_and_never_becomes_champion(pair):
    home, leak = pair[0], pair[2]
    waived = yaml.safe_load((leak/"experiment.yaml").read_text())
    waived["features"]["waive"] = "to see what the page says"
    done = home.qtp("run", home.experiment({**waived, "name": "waived"}))
    run = next(home.reports.glob("*/*-waived"))
    assert read_json(run/"run.json")["status"] == "done", done.stdout
    page = (run/"index.html").read_text()
    assert "Overridden by hand" in page and "to see what the page says" in page
    assert "to see what the page says" in read_json(run/"04.json")["overrides"][0]
    assert read_json(run/"09-deploy"/"promotion.json")["alias"] == "candidate"


def test_the_experiment_beside_it_is_done(pair):
    tiny = pair[3]
    assert read_json(tiny/"run.json")["status"] == "done" and (tiny/"10.json").exists()
    assert read_json(tiny/"run.json")["threads"] == read_json(pair[2]/"run.json")["threads"]


def test_an_override_reaches_the_phase_and_is_kept(pair):
    for run in pair[2:]:
        assert read_json(run/"02.json")["parameters"]["seed"] == 11
        assert yaml.safe_load((run/"experiment.yaml").read_text())["data"]["seed"] == 11
        assert read_json(run/"run.json")["overrides"] == ["data.seed=11"]


def test_both_are_listed_and_recorded(pair):
    import mlflow
    home = pair[0]
    text = home.qtp("runs").stdout
    assert "audit failed" in text and "done" in text
    client = mlflow.MlflowClient(f"sqlite:///{home.path/'mlruns'/'mlflow.db'}")
    runs = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]
    assert {r.data.tags["status"] for r in runs} == {"audit failed", "done"}


def test_gates_decide_the_exit_code_where_they_are_required(finished):
    home, run = finished
    gates = [v["pass"] for file in sorted(run.glob("[01][0-9].json")) for v in read_json(file)["verdicts"] if v["gate"]]
    assert gates
    assert home.qtp("run", "--resume", run, "--require-gates", check=False).returncode == int(not all(gates))
    assert home.qtp("run", "--resume", run, check=False).returncode == 0
