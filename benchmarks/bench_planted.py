"""Does the road find what was planted, and nothing where nothing was?

Simulated markets of seeds that nobody tuned on, with a rank IC of 0.06 planted and with none, go from data to models (functions, no notebooks). For
each: the rank IC that the planted component itself attains on the test sessions, and the out-of-sample rank IC of a ridge and of LightGBM, with its
95 % interval (HAC). At the end the mean over seeds with its interval (Student t). The criterion, for ridge: the planted IC
lies in the interval of the mean, and zero does where nothing was planted. Exit code 1 if it does not hold.
"""
import argparse
import os
import sys
import tempfile
import time

os.environ.setdefault("MPLBACKEND", "agg")
import pandas as pd  # noqa: E402
from scipy.stats import t  # noqa: E402

from qtp.core.files import read_json  # noqa: E402
from qtp.data.simulate import simulate_market  # noqa: E402
from qtp.evaluation.ic import ic_summary, rank_ic  # noqa: E402
from qtp.workbench.handoff import read_table  # noqa: E402
from qtp.workbench.runner import run_road  # noqa: E402

FULL = {"n_assets": 100, "start": "2019-01-02", "end": "2023-12-29"}
SMALL = {"n_assets": 24, "start": "2021-01-04", "end": "2022-06-30"}
FEW = ["close_location", "volume_shock", {"money_flow": {"window": 10}}, {"realized_vol": {"window": 20}}]
MODELS = ("ridge", "lightgbm")
HORIZON = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(201, 209)), help="of the markets")
    parser.add_argument("--signal-ic", type=float, default=0.06, help="rank IC to plant")
    parser.add_argument("--small", action="store_true", help="one seed of a small market, to see that everything works; nothing is judged")
    asked = parser.parse_args()
    market, features = (SMALL, FEW) if asked.small else (FULL, [])
    seeds, ics = (asked.seeds[:1], [asked.signal_ic]) if asked.small else (asked.seeds, [asked.signal_ic, 0.0])
    rows = [found for ic in ics for seed in seeds for found in walk({**market, "seed": seed, "signal_ic": ic}, features)]
    if asked.small: return 0
    return judge(pd.DataFrame(rows))


def walk(market, features):
    "One market through the road: a row a model."
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qtp-planted-") as folder:
        models = {"model": {"type": "ridge"}, "baseline": {"type": "lightgbm"}, "screen": 10, "horizon": HORIZON, "min_assets": 5}
        run = run_road({"data": {"provider": "simulated", **market}, "features": {"features": features, "budget": "quick"}, "models": models}, folder, upto="models")
        found, labels = read_json(run/"05-models"/"metrics.json"), read_table(run, "models", "labels")
        sessions = read_table(run, "models", "ic_by_session").index
    signal = simulate_market(**market).signal.loc[sessions]
    attained = ic_summary(rank_ic(signal, labels.loc[sessions].reindex(columns=signal.columns), 5), HORIZON)["mean"] if market["signal_ic"] else 0.0
    rows = [row(market, attained, model, found[key]) for model, key in zip(MODELS, ("overall", "baseline"))]
    for r in rows: print(line(r), f"{time.monotonic() - started:6.1f} s" if r is rows[-1] else "", flush=True)
    return rows


def row(market, attained, model, metrics):
    found, half = metrics["rank_ic"], metrics["rank_ic_half"]
    return {"seed": market["seed"], "planted": market["signal_ic"], "attained": attained, "model": model, "found": found, "low": found - half, "high": found + half}


def line(r):
    inside = r["low"] <= r["planted"] <= r["high"]
    return (f"seed {r['seed']}  planted {r['planted']:.3f}  attained {r['attained']:+.4f}  {r['model']:<9} found {r['found']:+.4f}  "
            f"95 % [{r['low']:+.4f}, {r['high']:+.4f}]  {'inside' if inside else 'OUTSIDE'}")


def judge(rows):
    "Print the means over seeds; 1 if the criterion fails."
    failed = []
    for (planted, model), part in rows.groupby(["planted", "model"], sort=False):
        n, mean = len(part), part["found"].mean()
        half = t.ppf(0.975, n - 1)*part["found"].std(ddof=1)/n**0.5 if n > 1 else float("nan")
        each = int(((part["low"] <= planted) & (planted <= part["high"])).sum())
        ok = abs(mean - planted) <= half
        print(f"planted {planted:.3f}  {model:<9} mean {mean:+.4f}  95 % [{mean - half:+.4f}, {mean + half:+.4f}]  {'inside' if ok else 'OUTSIDE'}  "
              f"(attained by the component itself {part['attained'].mean():+.4f}; {each} of {n} seeds inside their own interval)")
        if model == MODELS[0] and not ok: failed.append(planted)
    print("criterion holds" if not failed else f"criterion FAILS where {', '.join(f'{p:.2f}' for p in failed)} was planted")
    return int(bool(failed))


if __name__ == "__main__": sys.exit(main())
