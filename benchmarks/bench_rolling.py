"""Rolling kernels beside pandas, bottleneck and polars: 500 assets x 2,520 sessions, windows 5, 20, 60 and 250, two threads.

All of them get the same prices in the same run, each in the form it likes best: a frame whose assets are contiguous (qtp, pandas), the array (bottleneck), a
column an asset (polars). bottleneck and pandas use one core, for that is what they do. bottleneck and polars live in an environment of their own, made with uv
where they cannot be imported; a worker process holds it and answers one question at a time, turn by turn with qtp, so that both meet the same load.
A time is the median of its turns; a kernel's ratio is the best peer's time over qtp's, both summed over the windows. Values are compared at every size: to 1e-9
relative with pandas where it does not drift (less where its running sums lose digits, see `DRIFT`). Exit code 1 if the median ratio to the
best peer is under 1 or that to pandas under 3, or values differ.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

THREADS = "2"
for name in ("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_NUM_THREADS"): os.environ[name] = THREADS

import numpy as np      # noqa: E402
import pandas as pd     # noqa: E402

WINDOWS, TURNS, HALF_LIFE = (5, 20, 60, 250), 5, 20
PEERS = ("bottleneck==1.6.0", "polars==2.1.0")
DRIFT = {"var": 1e-7, "std": 1e-7, "skew": 1e-4, "kurt": 1e-4, "cov": 1e-6, "corr": 1e-6, "beta": 1e-6,    # what pandas' running sums leave of these
         "ewm_mean": 1e-6, "ewm_std": 1e-5}                                                             # pandas never forgets; qtp does after 27 half-lives


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="25 assets over 500 sessions, pandas alone: values are compared, times are not judged")
    parser.add_argument("--folder", type=Path, help="where to keep the peers' environment; a temporary folder if none is named")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker: return worker(*asked.worker)
    with tempfile.TemporaryDirectory(prefix="qtp-rolling-") as folder: rows = compare(asked.small, asked.folder or Path(folder))
    return judge(rows, asked.small)


def prices(n_assets, n_sessions, seed):
    moves = np.random.default_rng(seed).normal(0, .02, (n_assets, n_sessions))
    return 50*np.exp(moves.cumsum(axis=1))


def compare(small, folder):
    "Every kernel and window: (kernel, window, {who: seconds})."
    ours, pandas_ = kernels(), of_pandas()
    size = (25, 500) if small else (500, 2520)
    x, y = prices(*size, 0), prices(*size, 1)
    frames = [pd.DataFrame(v.T, copy=False) for v in (x, y)]
    peers = {} if small else start(environment(folder), size)
    print(f"{size[0]} assets x {size[1]} sessions; qtp, pandas {pd.__version__}{''.join(', ' + p for p in (() if small else peers['names']))}; {THREADS} threads", flush=True)
    rows = [(name, w, times(name, w, ours, pandas_, frames, peers, 1 if small else TURNS)) for name in ours for w in (WINDOWS if "ewm" not in name else (HALF_LIFE,))]
    if peers: peers["process"].stdin.close()
    return rows


def times(name, window, ours, pandas_, frames, peers, turns):
    "Median seconds of each, turn by turn."
    works = {who: partial(of[name], *frames, window) for who, of in (("qtp", ours), ("pandas", pandas_)) if name in of}
    values = {who: work().to_numpy() for who, work in works.items()}
    if "pandas" in values: check(name, window, values["qtp"], values["pandas"])
    took = {who: [] for who in works}
    for _ in range(turns):
        for who, work in works.items(): took[who].append(timed(work))
        for who, seconds in ask(peers, name, window): took.setdefault(who, []).append(seconds)
    return {who: statistics.median(t) for who, t in took.items()}


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def check(name, window, found, expected):
    scale = np.nanmax(np.abs(expected))
    tolerance = DRIFT.get(name, 1e-9)
    same = np.isclose(found, expected, rtol=tolerance, atol=tolerance*scale, equal_nan=True)
    if not same.all(): raise SystemExit(f"{name}, window {window}: {(~same).sum()} values differ from pandas, first {found[~same][0]} against {expected[~same][0]}")


def least(window): return max(2, -(-3*window//4))


def kernels():
    from qtp.features import rolling as r
    one = {n: getattr(r, f"rolling_{n}") for n in ("sum", "mean", "std", "var", "skew", "kurt", "min", "max", "argmin", "argmax", "rank", "quantile", "product")}
    two = {n: getattr(r, f"rolling_{n}") for n in ("corr", "cov", "beta")}
    work = {n: lambda x, y, w, f=f: f(x, w, min_periods=max(least(w), 4)) for n, f in one.items() if n != "quantile"}
    work["median"] = lambda x, y, w: r.rolling_quantile(x, w, .5, max(least(w), 4))
    work |= {n: lambda x, y, w, f=f: f(x, y, w, max(least(w), 4)) for n, f in two.items()}
    return work | {"ewm_mean": lambda x, y, h: r.ewm_mean(x, h), "ewm_std": lambda x, y, h: r.ewm_std(x, h)}


def of_pandas():
    roll = lambda x, w: x.rolling(w, min_periods=max(least(w), 4))
    one = {n: lambda x, y, w, n=n: getattr(roll(x, w), n)() for n in ("sum", "mean", "std", "var", "skew", "kurt", "min", "max", "median")}
    return one | {"rank": lambda x, y, w: roll(x, w).rank(pct=True), "corr": lambda x, y, w: roll(x, w).corr(y), "cov": lambda x, y, w: roll(x, w).cov(y),
                  "beta": lambda x, y, w: roll(x, w).cov(y)/roll(y, w).var(), "ewm_mean": lambda x, y, h: x.ewm(halflife=h, min_periods=h).mean(),
                  "ewm_std": lambda x, y, h: x.ewm(halflife=h, min_periods=h).std()}


def environment(folder):
    "A Python that has the peers: this one, or one made for them."
    try:
        import bottleneck  # noqa: F401
        import polars      # noqa: F401
        return sys.executable
    except ImportError: python = folder/"peers/bin/python"
    if not python.exists():
        print(f"Making an environment with {', '.join(PEERS)} ...", flush=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder/"peers"], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, "numpy", "pandas", *PEERS], check=True)
    return str(python)


def start(python, size):
    process = subprocess.Popen([python, __file__, "--worker", *map(str, size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    return {"process": process, "names": json.loads(process.stdout.readline())}


def ask(peers, name, window):
    if not peers: return []
    print(json.dumps([name, window]), file=peers["process"].stdin, flush=True)
    return json.loads(peers["process"].stdout.readline())


def worker(n_assets, n_sessions):
    "Hold the same prices; answer [kernel, window] with [[peer, seconds], ...], a line each."
    import bottleneck as bn
    import polars as pl
    x, y, known = prices(n_assets, n_sessions, 0), prices(n_assets, n_sessions, 1), set()
    frame = pl.DataFrame({f"x{i}": v for i, v in enumerate(x)} | {f"y{i}": v for i, v in enumerate(y)})
    left = pl.col([f"x{i}" for i in range(len(x))])
    print(json.dumps([f"bottleneck {bn.__version__}", f"polars {pl.__version__}"]), flush=True)
    for line in sys.stdin:
        name, window = json.loads(line)
        works = {**of_bottleneck(bn, x, name, window), **of_polars(pl, frame, left, len(x), name, window)}
        for work in works.values():
            if line not in known: work()
        known.add(line)
        print(json.dumps([(who, timed(work)) for who, work in works.items()]), flush=True)
    return 0


def of_bottleneck(bn, x, name, w):
    f = getattr(bn, f"move_{name}", None)
    return {"bottleneck": lambda: f(x, w, min_count=max(least(w), 4), axis=1)} if f else {}


def of_polars(pl, frame, left, n, name, w):
    named = {"kurt": "rolling_kurtosis"}.get(name, f"rolling_{name}")
    if name == "ewm_mean": return {"polars": lambda: frame.select(left.ewm_mean(half_life=w, min_samples=w))}
    if name == "ewm_std": return {"polars": lambda: frame.select(left.ewm_std(half_life=w, min_samples=w))}
    few = max(least(w), 4)
    if name in ("corr", "cov"):
        f = getattr(pl, named)
        return {"polars": lambda: frame.select(f(f"x{i}", f"y{i}", window_size=w, min_samples=few).alias(f"x{i}") for i in range(n))}
    if not hasattr(left, named): return {}
    return {"polars": lambda: frame.select(getattr(left, named)(w, min_samples=few))}


def judge(rows, small):
    took = pd.DataFrame([{"kernel": name, "window": w, **times} for name, w, times in rows]).set_index(["kernel", "window"])*1e3
    every = took.groupby(level=0, sort=False).sum(min_count=1)
    for table in (took, every): table["x best"], table["x pandas"] = table.drop(columns="qtp").min(axis=1)/table["qtp"], table["pandas"]/table["qtp"]
    print("ms, all windows together\n" + every.round(1).to_string(na_rep=""))
    print(f"slower than the best peer: {named(every)}; by window: {named(took)}\nunder 3 x pandas: {named(every, 'x pandas', 3)}")
    best, pandas_ = every["x best"].median(), every["x pandas"].median()
    met = small or (best >= 1 and pandas_ >= 3)
    print(f"median over kernels: {best:.1f} x the best peer (target 1), {pandas_:.1f} x pandas (target 3){'' if small else ': met' if met else ': NOT met'}")
    return int(not met)


def named(table, column="x best", bound=1):
    return ", ".join(f"{i if isinstance(i, str) else ' '.join(map(str, i))} ({r:.2f})" for i, r in table[column].items() if r < bound) or "none"


if __name__ == "__main__": sys.exit(main())
