"""What an audit of declared features costs, as shares of the CPU from bars read to features stored; and how much memory a large one takes.

Everything in one process and one run: the pipeline (bars from Parquet, features computed and ranked, features stored as Parquet), then the audit of the
same set with its parts attributed inside. With `--large` 500 assets are audited, for the peak of memory.
The noise of a laptop is larger than the windowed layer, so ratios of CPU are given, no seconds. Exit code 1 if a target is missed.
"""
import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from bench_features import fifty, market

from qtp.causality.audit import audit
from qtp.features.engine import materialize

ASSETS, SESSIONS, FEATURES = 100, 2520, 50
SHARE_OF_WINDOWS, TIMES_THE_PIPELINE, MOST_GIB = .05, 3., 4.


def bars_of(assets, sessions):
    fields = {k: v for k, v in market(assets, sessions).items() if k in ("open", "high", "low", "close", "volume")}
    return pd.concat(fields, axis=1, names=["field", "asset_id"]).sort_index(axis=1)


def pipeline(path, specs, members, folder):
    "Bars read, features computed, ranked and stored."
    begin = time.process_time()
    bars = pd.read_parquet(path)
    fs = materialize(specs, bars, members)
    fs.save(folder)
    return bars, fs, time.process_time() - begin


def peak_gib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def by_layer(report, whole):
    t = report.by_layer()
    return (t["cpu"] / whole).rename("share of the pipeline's CPU").to_frame().assign(calls=t["calls"], points=t["points"])


def measure(assets, sessions, budget="standard"):
    bars, specs = bars_of(assets, sessions), fifty()
    members = bars["close"].notna()
    with tempfile.TemporaryDirectory() as folder:
        bars.to_parquet(Path(folder) / "bars.parquet")
        pipeline(Path(folder) / "bars.parquet", specs, members, Path(folder) / "warm")     # kernels are loaded, files are cached
        materialize(specs, bars, members, normalise=None, rows=1)                         # those of last rows too
        bars, fs, whole = pipeline(Path(folder) / "bars.parquet", specs, members, Path(folder) / "set")
    begin = time.process_time()
    report = audit(fs, bars, members=members, budget=budget)
    cost = time.process_time() - begin
    print(f"{len(specs)} features, {assets} assets, {sessions} sessions, budget {budget}: {report.verdict}, {report.calls} calls, {report.n_points:,} values compared")
    print(by_layer(report, whole).round(3).to_string())
    window = report.coverage.loc[report.coverage["layer"] == "window", "cpu"].sum() / whole
    print(f"windowed layer, {1000} points: {window:.1%} of the pipeline's CPU (target at most {SHARE_OF_WINDOWS:.0%})")
    print(f"all layers: {cost / whole:.2f} x the pipeline's CPU (target at most {TIMES_THE_PIPELINE:g} x)")
    print(f"peak of memory {peak_gib():.2f} GiB")
    return report, window, cost / whole


def callables():
    "Calls of an arbitrary function, by budget."
    bars = bars_of(20, 500)
    for budget, named in (("quick", 25), ("standard", 150)):
        made = []
        audit(lambda b, made=made: (made.append(1), b["close"].rolling(20).mean())[1], bars, budget=budget)
        print(f"a callable at {budget}: {len(made)} calls in this process, {named} named")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="500 assets instead of 100")
    parser.add_argument("--small", action="store_true", help="10 assets and 300 sessions, to see that everything works; nothing is judged")
    asked = parser.parse_args()
    size = (10, 300) if asked.small else (500, SESSIONS) if asked.large else (ASSETS, SESSIONS)
    _, window, times = measure(*size)
    if not asked.large: callables()
    if asked.small: return 0
    if asked.large: print(f"target: under {MOST_GIB:g} GiB")
    met = peak_gib() < MOST_GIB if asked.large else window <= SHARE_OF_WINDOWS and times <= TIMES_THE_PIPELINE
    return 0 if met else 1


if __name__ == "__main__": sys.exit(main())
