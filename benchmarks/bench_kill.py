"""The whole proof of resuming: kill -9 at three random instants in each of the phases data, models and backtest, in one run.

Each kill is followed by `--resume`, which the next kill ends. A last one falls after phase 10, while index and MLflow record are written. The
survivor must have the metrics, fingerprints, verdicts, lake, database and MLflow records of a run that was left alone. Exit code 1 if it has not.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tests"))
from conftest import Home  # noqa: E402
from test_kill import PHASES_KILLED, check_same, instants, kill_chain  # noqa: E402

from qtp.core.files import read_json  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20240328, help="of the instants")
    parser.add_argument("--each", type=int, default=3, help="kills a phase")
    parser.add_argument("--small", action="store_true", help="one kill, in phase data")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qtp-kill-") as folder: return prove(Path(folder), asked)


def prove(folder, asked):
    started, homes = time.monotonic(), [Home(folder/name) for name in ("left-alone", "killed")]
    for home in homes: home.path.mkdir()
    homes[0].qtp("run", homes[0].experiment())
    run = next(homes[0].reports.glob("*/*-tiny"))
    print(f"undisturbed {time.monotonic() - started:6.1f} s")
    at = instants(run, PHASES_KILLED[:1] if asked.small else PHASES_KILLED, 1 if asked.small else asked.each, asked.seed)
    if not asked.small: at.append(("monitor", read_json(run/"run.json")["phases"]["monitor"]["seconds"] + 0.4))
    survivor = kill_chain(homes[1], homes[1].experiment(), at, tell=lambda text: print(f"{time.monotonic() - started:8.1f} s  {text}", flush=True))
    try: check_same((homes[0], run), (homes[1], survivor))
    except AssertionError as e:
        print(f"FAILED after {len(at)} kills: {e}")
        return 1
    print(f"{len(at)} kills survived in {time.monotonic() - started:.1f} s: data, metrics, verdicts, database and records as if left alone")
    return 0


if __name__ == "__main__": sys.exit(main())
