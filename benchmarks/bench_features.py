"""What the feature engine costs: raw bars to stored features, a new session, the whole registry.

Bars of simulated assets over 2,520 sessions. Rows of the table:
- raw to stored: a CSV file an asset is read, widened, 50 features of each session and asset are computed and written to the lake; pandas reads the same files, dates
  parsed, with its default engine (which takes less CPU here than its other one), and joins them. The same against pandas reading one Parquet file of the raw bars
  stands below it, without a target. The parts are printed above the table, and beside them what it costs to write the finished columns with pyarrow and nothing else:
  loading, widening, computing and the cheapest of these writes are what no store can go below.
- one new session, every registered feature: the last session alone, from the history its lookback asks for, against the whole history; arrays in memory. The same
  through the store, which compares what is stored with the bars and appends a row of each feature, against computing and storing the whole history.
- one new session, 100 assets, 50 features in a warm process, the bars in memory (`Live`): 99 of 100 calls take less, by the clock on the wall; the median, and what
  `materialize` takes for the same, are printed above the table.
- Alpha158 as a list of 158 features, against the one pass that gives the same.
- every registered feature over the whole history in float32, against the one pass that gives Alpha158; memory is that of a process that does nothing else.
Each ratio is the median of its pairs in CPU seconds, so that what else the machine does counts little; both of a pair run one after the other, numba compiled and files in the
page cache. Before the whole history is computed by either, memory is touched and given back: the host of a virtual machine may take a second for each GiB that it
hands out anew, which says nothing of either. What one way gives is compared with the other, bit for bit, at every size. Features that need session statistics or sectors get
simulated ones. Exit code 1 if a target is missed or values differ. Needs Linux.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from make_bench_data import peak_gib

from qtp.core.frames import to_wide
from qtp.core.lake import Lake
from qtp.data.simulate import simulate_market
from qtp.data.adjust import market_bars
from qtp.features.alpha158 import ALPHA158, alpha158
from qtp.features.engine import default_features, materialize
from qtp.features.graph import fields_of, leaves, sector_codes
from qtp.features.live import Live
from qtp.features.registry import REGISTRY, load_families, parse_specs
from qtp.features.store import FeatureStore

TURNS, CALLS, SESSIONS = 5, 200, 2520   # turns of a comparison; calls of a warm process; sessions in ten years
PLAIN = {"as it is": dict(compression="none"), "lz4": dict(compression="lz4"), "zstd 1": dict(compression="zstd", compression_level=1),
         "zstd 1, bytes split": dict(compression="zstd", compression_level=1, use_byte_stream_split=True)}     # barest ways to write the columns, the lake's own last


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="8 assets over 300 sessions: values are compared, times are not judged")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns of a comparison, {TURNS} if not named")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if none is named")
    parser.add_argument("--measure", choices=("stored", "registry"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    few, many, sessions = (8, 8, 300) if asked.small else (100, 500, SESSIONS)
    load_families()
    if asked.measure: return measure(asked.measure, asked.folder, few if asked.measure == "stored" else many, sessions)
    with tempfile.TemporaryDirectory(prefix="qtp-features-", dir=asked.folder) as folder:
        rows = compare(Path(folder), few, many, sessions, 1 if asked.small else asked.turns, asked.small)
    return judge(rows, asked.small)


def compare(folder, few, many, sessions, turns, small):
    "Every comparison: (work, ours, peer, unit, ratio, target)."
    rows = raw_to_stored(folder, few, sessions, turns, small)
    rows.append(warm(few, sessions, 50 if small else CALLS))
    return rows + registry(folder, many, sessions, turns, small)


def raw_to_stored(folder, assets, sessions, turns, small):
    files = write_raw(folder, assets, sessions)
    specs, out = fifty(), []
    def csv(): return pd.concat([pd.read_csv(f, parse_dates=["timestamp"]) for f in files])
    def parquet(): return pd.read_parquet(folder/"raw.parquet")
    for name, load, target in (("CSV", csv, 2), ("Parquet", parquet, None)):
        pairs = []
        for turn in range(turns + 1):
            ours, fs = timed(lambda: materialize(specs, wide_of(load()), normalise=None, store=FeatureStore(Lake(folder/f"lake-{name}-{turn}"))))  # noqa: B023
            peer, _ = timed(load)
            pairs.append((ours, peer))
        check(FeatureStore(Lake(folder/f"lake-{name}-{turns}")).read(list(fs.names)).raw, fs.raw, "what was stored")
        out.append((f"raw to 50 stored features, {name}", *summary(pairs[1:] or pairs, "s"), target))
    parts(folder, files, specs, fs, turns)
    gib = in_a_process("stored", folder, small)
    return [*out, ("  peak memory", gib, None, "GiB", gib, 1)]


def parts(folder, files, specs, fs, turns):
    "Print what each part of the way from the CSV files to the lake costs, and what the barest ways to write the columns cost."
    took, runs = {}, count()
    def part(name, work):
        seconds = [timed(work) for _ in range(turns + 1)][1:]
        took[name] = statistics.median(s for s, _ in seconds)
        return seconds[-1][1]
    raw = part("load", lambda: pd.concat([pd.read_csv(f, parse_dates=["timestamp"]) for f in files]))
    bars = part("widen", lambda: wide_of(raw))
    part("features", lambda: materialize(specs, bars, normalise=None))
    part("features and store", lambda: materialize(specs, bars, normalise=None, store=FeatureStore(Lake(folder/f"parts-{next(runs)}"))))
    for name, how in PLAIN.items():
        part(f"write {name}", lambda: pq.write_table(pa.table({n: c.T.ravel() for n, c in zip(fs.names, fs.raw)}), folder/"plain.parquet", use_dictionary=False, **how))  # noqa: B023
        print(f"  {'write ' + name:<28} {took[f'write {name}']:.3f} s CPU, {(folder/'plain.parquet').stat().st_size / 2**20:.1f} MiB", flush=True)
    took["store"] = took.pop("features and store") - took["features"]
    for name in ("load", "widen", "features", "store"): print(f"  {name:<28} {took[name]:.3f} s CPU, {took[name] / took['load']:.1f} x loading", flush=True)
    least = sum(took[k] for k in ("load", "widen", "features")) + min(v for k, v in took.items() if k.startswith("write"))
    print(f"  with the cheapest write      {least:.3f} s CPU, {least / took['load']:.1f} x loading", flush=True)


def write_raw(folder, assets, sessions):
    "A CSV file an asset, and one Parquet file of all."
    bars = prices(assets, sessions)
    raw = {a: bars.xs(a, axis=1, level=1).dropna().assign(asset_id=a).reset_index() for a in bars["close"].columns}
    for name, frame in raw.items(): frame.to_csv(folder/f"{name}.csv", index=False)
    pd.concat(raw.values()).to_parquet(folder/"raw.parquet", index=False)
    return sorted(folder.glob("*.csv"))


def prices(assets, sessions):
    "Wide bars with the fields of a vendor's file."
    fields = {k: v for k, v in market(assets, sessions).items() if k in ("open", "high", "low", "close", "volume")}
    return pd.concat(fields, axis=1, names=["field", "asset_id"]).round(4)


def wide_of(raw): return to_wide(raw.assign(event_time=raw["timestamp"]), "first", ["open", "high", "low", "close", "volume"])


def market(assets, sessions):
    "Fields of a simulated market: its bars, and whatever else registered features ask for."
    start = pd.Timestamp("2023-12-29") - pd.Timedelta(days=int(sessions * 1.46) + 30)
    simulated = simulate_market(n_assets=assets, start=f"{start:%Y-%m-%d}", end="2023-12-29")
    fields = {k: v.iloc[-sessions:] for k, v in fields_of(market_bars(simulated)).items()}
    close, rng = fields["close"], np.random.default_rng(0)
    fields["sector"] = sector_codes(pd.DataFrame([simulated.sectors.reindex(close.columns).to_numpy(object)] * len(close), close.index, close.columns))
    for name in sorted(set().union(*(leaves(s.name, fields) for s in everything())) - set(fields)):
        fields[name] = pd.DataFrame(np.exp(rng.normal(-5, .3, close.shape[::-1])).T, close.index, close.columns).where(close.notna())
    return fields


def everything(): return parse_specs(sorted(n for n, f in REGISTRY.items() if f.function.__module__.startswith("qtp.")))


def fifty():
    "The default list of features that open, high, low, close and volume feed, filled up in the order of the registry."
    specs = parse_specs(default_features(["open", "high", "low", "close", "volume"]))
    more = [s for s in everything() if leaves(s.name) <= {"open", "high", "low", "close", "volume"} and s.label not in {x.label for x in specs}]
    return [*specs, *more][:50]


def warm(assets, sessions, calls):
    "One more session at a time."
    fields, specs, calls = market(assets, sessions), fifty(), min(calls, sessions // 4)
    cut = lambda a, b: {f: v.iloc[a:b] for f, v in fields.items()}
    live, found, took = Live(specs, cut(0, sessions - calls - 1)), [], {"live, wall": [], "live, CPU": [], "materialize, CPU": []}
    live.append(cut(sessions - calls - 1, sessions - calls))
    for t in range(sessions - calls, sessions):
        now, row = cut(0, t + 1), cut(t, t + 1)
        wall = time.perf_counter()
        seconds, last = timed(lambda: live.append(row))  # noqa: B023
        took["live, wall"].append(1e3 * (time.perf_counter() - wall))
        took["live, CPU"].append(1e3 * seconds)
        took["materialize, CPU"].append(1e3 * timed(lambda: materialize(specs, now, normalise=None, rows=1))[0])  # noqa: B023
        found.append(last.to_numpy().T)
    check(np.stack(found, axis=1).astype("float32"), materialize(specs, fields, normalise=None).raw[:, -calls:], "the last sessions")
    for what, ms in took.items():
        print(f"one session, {len(specs)} features, {assets} assets, {what}: median {np.median(ms):.1f} ms, p99 {np.percentile(ms, 99):.1f} ms", flush=True)
    p99 = np.percentile(took["live, wall"], 99)
    return (f"one session, {len(specs)} features, p99", p99, None, "ms", p99, 10)


def registry(folder, assets, sessions, turns, small):
    fields, specs, together = market(assets, sessions), everything(), []
    bars = pd.concat({f: fields[f] for f in ("open", "high", "low", "close", "volume")}, axis=1)
    one, passes, stored = [], [], []
    for _ in range(turns + 1):
        touch(len(specs), fields)
        long, fs = timed(lambda: materialize(specs, fields, normalise=None))
        short, last = timed(lambda: materialize(specs, fields, normalise=None, rows=1))
        check(last.raw, fs.raw[:, -1:], "the last session of the registry")
        del fs
        touch(2 * len(ALPHA158), fields)
        peer, as_list = timed(lambda: alpha158(bars))[0], timed(lambda: materialize(ALPHA158, fields, normalise=None))[0]
        one.append((short, long))
        passes.append((long, peer))
        together.append((as_list, peer))
    store, before = FeatureStore(Lake(folder/"registry")), {f: v.iloc[:-turns] for f, v in fields.items()}
    touch(len(specs), fields)
    long, _ = timed(lambda: len(materialize(specs, before, normalise=None, store=store)))
    for k in range(turns - 1, -1, -1):
        now = {f: v.iloc[:len(v) - k] for f, v in fields.items()}
        short, last = timed(lambda: materialize(specs, now, normalise=None, store=store, rows=1))  # noqa: B023
        stored.append((short, long))
    check(last.raw, materialize(specs, fields, normalise=None, rows=1).raw, "the last session through the store")
    gib, n = in_a_process("registry", folder, small), len(specs)
    return [(f"one session, {n} features", *summary(one[1:] or one, "s"), .05), (f"one session, {n} features, stored", *summary(stored, "s"), .05),
            ("Alpha158 as a list / Alpha158", *summary(together[1:] or together, "s"), None),
            (f"{n} features / Alpha158", *summary(passes[1:] or passes, "s"), 15), ("  peak memory", gib, None, "GiB", gib, 3)]


def in_a_process(what, folder, small):
    "Peak memory of a process that does nothing else, GiB."
    done = subprocess.run([sys.executable, __file__, *(["--small"] if small else []), "--folder", folder, "--measure", what], capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


def measure(what, folder, assets, sessions):
    if what == "stored": materialize(fifty(), wide_of(pd.read_parquet(folder/"raw.parquet")), normalise=None, store=FeatureStore(Lake(folder/"memory")))
    else: materialize(everything(), market(assets, sessions), normalise=None)
    print(peak_gib())
    return 0


def touch(features, fields):
    "Have the memory of so many features at hand."
    np.ones(features * fields["close"].size, np.float32)


def timed(work):
    began = time.process_time()
    out = work()
    return time.process_time() - began, out


def check(found, expected, what):
    if not np.array_equal(found, expected, equal_nan=True): raise SystemExit(f"{what}: {(~((found == expected) | np.isnan(expected))).sum()} of {found.size} values differ")


def summary(pairs, unit):
    "Medians of ours and of the peer's, and the median of their ratios."
    return *(statistics.median(p[i] for p in pairs) for i in (0, 1)), unit, statistics.median(a/b for a, b in pairs)


def judge(rows, small):
    print(f"{'work':<40} {'ours':>8} {'peer':>8} {'unit':<5} {'ratio':>7} {'target':>7}  met")
    missed = 0
    for work, ours, peer, unit, ratio, target in rows:
        met = None if small or target is None else ratio <= target
        missed += met is False
        print(f"{work:<40} {ours:>8.3f} {'' if peer is None else f'{peer:.3f}':>8} {unit:<5} {ratio:>7.3f} {'' if target is None else f'<= {target}':>7}  "
              f"{'' if met is None else 'yes' if met else 'NO'}")
    return int(missed > 0)


if __name__ == "__main__": sys.exit(main())
