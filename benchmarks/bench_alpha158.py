"""Alpha158 beside Qlib itself: the same bars, the same 158 columns, arrays in memory to frame in memory against `D.features` from Qlib's own store.

Bars of 500 simulated assets over 2,520 sessions, rounded to float32, go to Qlib's binary store (float32) and, as float64 holding the same numbers, to `alpha158`.
pyqlib 0.9.7 runs in an environment of its own, one process a core (by default it leaves two cores idle and takes longer); its time is that of the call, from a
store in the page cache to its frame, without imports or initialisation. Ours is that of the call as well, numba compiled, in as many threads as there are cores;
the time of the engine, column by column, stands below it. Each ratio is the median of its pairs, and both of a pair run one after the other.
Every cell of every column is compared. What differs by more than 0.001 must be foreseen by a rule of DIFFERENCES, derived from the bars alone; the rest is listed.
Exit code 1 if the target is missed or a cell differs without a reason. The environment needs a package index.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from qtp.data.simulate import simulate_market
from qtp.features.alpha158 import ALPHA158, QLIB_NAMES, alpha158
from qtp.features.engine import materialize
from qtp.features.rolling import enough

TURNS, TARGET, CLOSE = 5, 25, 1e-3    # turns of the comparison; how many times faster at least; largest difference that float32 explains
NEEDS = ["pyqlib==0.9.7", "numpy<2", "setuptools"]
FIELDS = ["open", "high", "low", "close", "volume", "vwap"]

PEER = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd, qlib
from qlib.contrib.data.loader import Alpha158DL
from qlib.data import D
if __name__ == "__main__":
    qlib.init(provider_uri=sys.argv[1], region="us", logging_level=40, kernels=int(sys.argv[3]))
    fields, names = Alpha158DL.get_feature_config()
    began = time.perf_counter()
    frame = D.features(D.instruments("all"), fields, freq="day")
    print(time.perf_counter() - began)
    frame.columns = names
    frame.reset_index().to_parquet(sys.argv[2])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="12 assets over two years, one turn, without Qlib: the one pass and the engine are compared with each other")
    parser.add_argument("--folder", type=Path, help="where Qlib's environment and store go, and stay; a temporary folder if none is named")
    parser.add_argument("--assets", type=int, default=500, help="assets, 500 if not named; the target is stated for these")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns of the comparison, {TURNS} if not named")
    asked = parser.parse_args()
    bars = bars_of(12, "2022-01-03") if asked.small else bars_of(asked.assets, "2013-12-20")
    with tempfile.TemporaryDirectory(prefix="qtp-alpha158-") as folder: return compare(asked.folder or Path(folder), bars, asked.turns, asked.small)


def bars_of(n_assets, start):
    "Simulated bars as both sides get them: numbers that float32 holds; and some sessions without a bar, without trades, without a move."
    rows = simulate_market(n_assets=n_assets, start=start, end="2023-12-29", seed=11).bars
    wide = rows.pivot(index="timestamp", columns="asset_id").rename_axis(columns=["field", "asset_id"]).iloc[-2520:].astype("float32").astype("float64")
    fields, rng = {f: wide[f].copy() for f in FIELDS[:5]}, np.random.default_rng(1)
    at = lambda n: zip(rng.integers(100, len(wide) - 20, n), rng.integers(0, wide["close"].shape[1], n))
    for t, a in at(n_assets // 4):
        for f in FIELDS[:5]: fields[f].iloc[t:t + 3, a] = np.nan
    for t, a in at(n_assets // 6): fields["volume"].iloc[t, a] = 0 * fields["volume"].iloc[t, a]
    for t, a in at(n_assets // 6):
        for f in FIELDS[:4]: fields[f].iloc[t:t + 12, a] = fields["close"].iloc[t, a]
    return pd.concat(fields, axis=1, names=["field", "asset_id"]).tz_localize("UTC")


def compare(folder, bars, turns, small):
    sessions, assets = bars["close"].shape
    print(f"{assets} assets, {sessions} sessions, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}", flush=True)
    alpha158(bars), materialize(ALPHA158[:1], bars, normalise=None)
    if small: return alone(bars)
    python, store = environment(folder/"environment"), write_store(folder/"store", bars)
    pairs = [(timed(alpha158, bars)[0], timed(partial(materialize, ALPHA158, normalise=None), bars)[0], qlib(python, store, folder/"qlib.parquet")) for _ in range(turns)]
    print(f"\n{'work':<34} {'ours, s':>8} {'Qlib, s':>8} {'ratio':>6} {'target':>7}  met")
    met = [report(name, [(p[i], p[2]) for p in pairs], target) for i, (name, target) in enumerate((("alpha158", TARGET), ("engine, column by column", None)))]
    return int(not all(met) + judge(alpha158(bars), pd.read_parquet(folder/"qlib.parquet"), bars) > 0)


def alone(bars):
    "Both ways to compute the columns give the same bits, where there is something to compare."
    pass_, engine = alpha158(bars).to_numpy(), materialize(ALPHA158, bars, normalise=None).wide(raw=True).to_numpy()
    differ, filled = int((~((pass_ == engine) | (np.isnan(pass_) & np.isnan(engine)))).sum()), float(np.isfinite(pass_).mean())
    print(f"{pass_.size:,} values, {filled:.0%} of them known; {differ} differ between the pass and the engine. Qlib is left out of the small size.")
    return int(differ > 0 or not filled > .5)


def environment(folder):
    "Python of an environment that has Qlib; made if it is not there."
    python, uv = folder/"bin"/"python", shutil.which("uv") or Path(sys.executable).with_name("uv")
    if not python.exists(): subprocess.run([uv, "venv", "-q", "--python", "3.11", folder], check=True)
    if subprocess.run([python, "-c", "import qlib"], capture_output=True).returncode: subprocess.run([uv, "pip", "install", "-q", "--python", python, *NEEDS], check=True)
    return python


def write_store(folder, bars):
    "Qlib's store: a calendar, a list of assets with their span, and a file a field, whose first number is the session it begins at."
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("calendars", "instruments"): (folder/part).mkdir(parents=True)
    days = bars.index.strftime("%Y-%m-%d")
    (folder/"calendars"/"day.txt").write_text("\n".join(days))
    listed = []
    for asset, column in bars["close"].items():
        seen = np.flatnonzero(column.notna())
        if not len(seen): continue
        first, last = seen[0], seen[-1]
        listed.append(f"{asset}\t{days[first]}\t{days[last]}")
        (folder/"features"/asset.lower()).mkdir(parents=True)
        fields = {f: bars[f, asset] for f in FIELDS[:5]}
        for f, x in {**fields, "vwap": (fields["high"] + fields["low"] + fields["close"]) / 3}.items():
            np.hstack([first, x.to_numpy()[first:last + 1]]).astype("<f4").tofile(folder/"features"/asset.lower()/f"{f}.day.bin")
    (folder/"instruments"/"all.txt").write_text("\n".join(listed))
    return folder


def qlib(python, store, out):
    done = subprocess.run([python, "-c", PEER, store, out, str(os.cpu_count())], capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


def timed(work, *args):
    began = time.perf_counter()
    out = work(*args)
    return time.perf_counter() - began, out


def report(name, pairs, target):
    ours, theirs, ratio = *(statistics.median(p[i] for p in pairs) for i in (0, 1)), statistics.median(b/a for a, b in pairs)
    met = None if target is None else ratio >= target
    print(f"{name:<34} {ours:>8.2f} {theirs:>8.2f} {ratio:>6.1f} {'' if target is None else f'>= {target}':>7}  {'' if met is None else 'yes' if met else 'NO'}", flush=True)
    return met is not False


# What differs by more than float32 explains: columns, what Qlib does and what we do, the cells at which it shows (found from the bars alone), and Qlib's value there
# where it is a number that ours is not. None: ours is NaN.
DIFFERENCES = [
    ("every window", "a window needs one value; here three quarters of it, and one today", lambda f, name, w: f.thin(name, w), None),
    ("KMID2 KUP2 KLOW2 KSFT2", "0 for a bar without range (1e-12 in the denominator); here NaN", lambda f, name, w: f.high == f.low, None),
    ("RSV", "0 where the window has no range; here NaN", lambda f, name, w: f.largest(f.high, w) == -f.largest(-f.low, w), None),
    ("SUMP SUMN SUMD", "0 where the price did not move; here NaN", lambda f, name, w: f.total(np.abs(f.move), w) == 0, None),
    ("VSUMP VSUMN VSUMD", "0 where volume did not change; here NaN", lambda f, name, w: f.total(np.abs(f.volume_move), w) == 0, None),
    ("WVMA", "0 where price or volume stood still; here NaN", lambda f, name, w: f.total(np.abs(f.move)*f.volume, w) == 0, None),
    ("VMA VSTD", "1e12 times volume in a session without volume; here NaN", lambda f, name, w: f.volume == 0, None),
    ("IMAX", "place counted from the oldest row there is; a missing value is the highest", lambda f, name, w: f.gaps(f.high, w), lambda f, w: f.place(f.high, w)/w),
    ("IMIN", "place counted from the oldest row there is; a missing value is the lowest", lambda f, name, w: f.gaps(f.low, w), lambda f, w: f.place(-f.low, w)/w),
    ("IMXD", "both of these", lambda f, name, w: f.gaps(f.low, w), lambda f, w: (f.place(f.high, w) - f.place(-f.low, w))/w),
    ("CNTP", "sessions without a move count as not risen; here they do not count", lambda f, name, w: f.gaps(f.move, w), lambda f, w: f.share(f.move > 0, w)),
    ("CNTN", "sessions without a move count as not fallen; here they do not count", lambda f, name, w: f.gaps(f.move, w), lambda f, w: f.share(f.move < 0, w)),
    ("CNTD", "both of these", lambda f, name, w: f.gaps(f.move, w), lambda f, w: f.share(f.move > 0, w) - f.share(f.move < 0, w)),
]
MOVES, PAIRS = ("CNT", "SUM", "VSUM", "WVMA"), ("CORD",)    # columns of moves, and of moves of price and volume together


class Facts:
    "What the bars say, (sessions, assets), without a feature being computed."

    def __init__(self, bars):
        self.high, self.low, self.close, self.volume = (bars[f].to_numpy() for f in ("high", "low", "close", "volume"))
        before = np.vstack([np.full(self.close.shape[1], np.nan), self.volume[:-1]])
        self.move, self.volume_move = self.close - np.vstack([before[:1]*np.nan, self.close[:-1]]), self.volume - before
        self.pair = np.where(before > 0, self.move, np.nan)
        self.listed = np.maximum.accumulate(np.isfinite(self.close))

    def windows(self, x, w, fill): return np.lib.stride_tricks.sliding_window_view(np.vstack([np.full((w - 1, x.shape[1]), fill), x]), w, axis=0)
    def total(self, x, w): return self.windows(np.nan_to_num(x), w, 0.).sum(-1)
    def count(self, x, w): return self.total(np.isfinite(x), w)
    def largest(self, x, w): return self.windows(np.where(np.isnan(x), -np.inf, x), w, -np.inf).max(-1)
    def gaps(self, x, w): return self.count(x, w) < w

    def thin(self, name, w):
        x = self.pair if name.startswith(PAIRS) else self.move if name.startswith(MOVES) else self.close
        return (self.count(x, w) < enough(w)) | np.isnan(x)

    def place(self, x, w):
        "Where numpy's argmax finds the largest in a window that begins with the asset."
        shown = np.where(self.listed, np.where(np.isnan(x), np.inf, x), -np.inf)
        return self.windows(shown, w, -np.inf).argmax(-1) + 1 - (w - self.total(self.listed, w))

    def share(self, happened, w): return self.total(happened, w)/np.maximum(self.total(self.listed, w), 1)


def judge(ours, frame, bars):
    "Compare every cell; returns how many differ without a reason."
    facts, theirs, sessions = Facts(bars), on_grid(frame, bars), len(bars)
    ours = ours.to_numpy().reshape(sessions, len(QLIB_NAMES), -1).transpose(1, 0, 2)
    found, largest, unforeseen, cells = {}, (0., ""), 0, 0
    for i, column in enumerate(QLIB_NAMES.values()):
        differs, wrong, rest = explain(column, ours[i].astype(float), theirs[i].astype(float), facts, found)
        largest, cells = max(largest, (rest, column)), cells + np.isfinite(theirs[i]).sum()
        unforeseen += wrong
        if wrong: print(f"{column}: {wrong} of {differs} differences are not foreseen")
    print(f"\n{cells:,} values of Qlib's compared; what differs, by rule:")
    for (columns, rule), (n, names) in found.items(): print(f"  {n:>9,}  {columns} ({len(names)} columns): Qlib: {rule}")
    print(f"other cells: largest difference {largest[0]:.1e} ({largest[1]}), relative to the value or the column's standard deviation; bound {CLOSE}")
    print(f"not foreseen: {unforeseen}")
    return unforeseen


def explain(column, ours, theirs, facts, found):
    "Differing cells of a column, those that no rule foresees, and the largest difference elsewhere; rules that apply are counted in `found`."
    stem = column.rstrip("0123456789") if column[-1] in "05" and column not in ("OPEN0", "HIGH0", "LOW0", "VWAP0") else column
    w = int(column[len(stem):] or 0)
    gap = np.abs(ours - theirs)/np.maximum(np.abs(theirs), np.nanstd(ours))
    left = differs = (np.isfinite(ours) != np.isfinite(theirs)) & facts.listed | (gap > CLOSE)
    for columns, rule, where, value in DIFFERENCES:
        if not (stem in columns.split() or columns == "every window" and w and stem != "ROC"): continue
        here = left & where(facts, stem, w)
        here &= np.isnan(ours) if value is None else np.isfinite(ours) & (np.abs(value(facts, w) - theirs) < CLOSE) if here.any() else here
        if here.any():
            n, names = found.get((columns, rule), (0, []))
            found[columns, rule] = n + here.sum(), [*names, column]
        left = left & ~here
    return differs.sum(), left.sum(), np.nanmax(np.where(differs, 0, gap))


def on_grid(frame, bars):
    "Qlib's frame as (column, session, asset)."
    assets, days = bars["close"].columns, bars.index.tz_localize(None).normalize()
    a, d = pd.Index(assets.str.lower()).get_indexer(frame["instrument"].str.lower()), days.get_indexer(pd.DatetimeIndex(frame["datetime"]))
    out = np.full((len(QLIB_NAMES), len(days), len(assets)), np.nan, "f4")
    out[:, d, a] = frame[list(QLIB_NAMES.values())].to_numpy().T
    return out


if __name__ == "__main__": sys.exit(main())
