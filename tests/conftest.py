"""A home of their own for the tests, and one finished run that many of them look at."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "name": "tiny", "description": "10 simulated assets over 2 years",
    "data": {"provider": "simulated", "n_assets": 10, "start": "2021-01-04", "end": "2022-12-30", "seed": 7, "signal_ic": 0.1, "top_k": 10},
    "features": {"features": ["simple_return", {"price_zscore": {"window": 20, "lag": 1}}, "close_location", {"realized_vol": {"window": 20}}, "volume_shock"],
                 "budget": "quick", "n_samples": 100},
    "models": {"min_assets": 4, "validation": {"n_splits": 3}},
    "execution": {"positions": 3, "max_weight": 0.4, "sector_cap": 1.0},
    "validation": {"costs": [0.0, 10.0], "rebalance": [5]},
}


class Home:
    "A project home in a temporary folder, and the command line pointed at it."

    def __init__(self, path):
        self.path, self.reports = Path(path), Path(path)/"reports"
        self.env = {**os.environ, "QTP_HOME": str(path)}
        for name in ("MLFLOW_TRACKING_URI", "QTP_LAKE_URL", "QTP_DATABASE_URL"): self.env.pop(name, None)

    def experiment(self, content=TINY, **sections):
        "Write an experiment file; keyword arguments replace keys of its sections."
        content = {**content, **{s: {**content.get(s, {}), **keys} for s, keys in sections.items()}}
        file = self.path/f"{content['name']}.yaml"
        file.write_text(yaml.safe_dump(content))
        return file

    def qtp(self, *args, check=True, timeout=500):
        "Run `qtp`; its output is one string."
        done = subprocess.run([sys.executable, "-m", "qtp.workbench.cli", *map(str, args)], env=self.env, cwd=self.path, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check: assert done.returncode == 0, f"qtp {' '.join(map(str, args))} ended with {done.returncode}:\n{done.stdout}"
        return done

    def kill_in(self, phase, after, *args):
        "Start `qtp`, wait until a phase has begun, then `after` seconds more, and end it with kill -9; the run's folder."
        known = {log: log.stat().st_size for log in self.logs()}
        process = subprocess.Popen([sys.executable, "-m", "qtp.workbench.cli", *map(str, args)], env=self.env, cwd=self.path, start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run_dir = self.wait_for(phase, process, known)
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return run_dir

    def wait_for(self, phase, process, known, limit=300):
        until = time.monotonic() + limit
        while time.monotonic() < until and process.poll() is None:
            for log in self.logs():
                if any(e.get("event") == "phase_start" and e["phase"] == phase for e in events(log.parent, known.get(log, 0))): return log.parent
            time.sleep(0.02)
        raise AssertionError(f"phase {phase} did not begin: exit code {process.poll()}")

    def logs(self): return list(self.reports.glob("*/*/run.jsonl"))

    def processes(self):
        "Ids of the processes that work for this home."
        mark, found = f"QTP_HOME={self.path}".encode(), []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try: named = mark in environment.read_bytes().split(b"\0")
            except OSError: continue         # another user's, or just gone
            if named: found.append(int(environment.parent.name))
        return found


def events(run_dir, skip=0):
    "Whole lines of a run's log, from a byte on."
    return [json.loads(line) for line in (run_dir/"run.jsonl").read_bytes()[skip:].decode().splitlines() if line.endswith("}")]


def handoff(run_dir, number):
    return json.loads((run_dir/f"{number}.json").read_text())


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    "A home with one finished tiny run: (home, run's folder)."
    home = Home(tmp_path_factory.mktemp("home"))
    home.qtp("run", home.experiment())
    return home, next(home.reports.glob("*/*-tiny"))


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)
