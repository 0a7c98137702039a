"""What the lake costs beside pyarrow and deltalake alone, on five-minute bars: reading, ingesting, memory, one more day.

A simulated market is ingested month by month into an empty lake; pyarrow writes each of the same frames to a plain file in between. A second lake gets batches
that repeat the last tenth of the month before, one in a hundred of these rows revised. The first lake is then streamed, turn by turn with pyarrow on the same
files, in this process and, for its memory, in one of its own. At last a day of bars is appended, and written by deltalake alone to a copy of the table.
Rates are rows a second; each ratio is the median of its pairs (all months, 5 turns, 5 days), and both of a pair run one after the other. Files are in the page
cache. What is stored is compared with what was sent at every size. Exit code 1 if a target is missed or content differs. Needs Linux.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import write_deltalake
from make_bench_data import TABLE, fill, market, months, peak_gib

from qtp.core.lake import Lake
from qtp.data.providers import SimulatedProvider

TURNS, OVERLAP, REVISED = 5, 0.1, 100   # turns of a comparison; share of a month sent again; one row in so many of these differs
TEXT = ["asset_id", "flags", "source", "adjustment"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="530 assets over 10 years, 98 million rows; else one year")
    parser.add_argument("--small", action="store_true", help="8 assets over a year: content is compared, rates are not judged")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if none is named")
    parser.add_argument("--measure", choices=("stream", "fill"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    provider = market(*((8, 1) if asked.small else (530, 10 if asked.full else 1)))
    if asked.measure: return measure(asked.measure, asked.folder, provider)
    with tempfile.TemporaryDirectory(prefix="qtp-lake-", dir=asked.folder) as folder: rows = compare(Path(folder), provider, sys.argv[1:])
    return judge(rows, asked.small)


def compare(folder, provider, words):
    "Every comparison: (work, ours, peer, unit, ratio, target, higher is better)."
    rows = provider.stream.rows.sum()
    print(f"{provider.n_assets} assets, {provider.start} to {provider.end}: {rows:,} rows", flush=True)
    lake, twice = Lake(folder/"lake"), Lake(folder/"twice")
    out = [("ingest, empty lake", *ingest(lake, plain(provider), folder), .5, True)]
    out.append(("ingest, 10 % overlap", *ingest(twice, overlapping(provider), folder), .3, True))
    check(lake.fingerprint(TABLE)["rows"], rows, "rows of the lake")
    out += [(f"stream, {name}", *turn(lake, peer), target, True) for name, peer, target in PEERS]
    out.append(("one day more", *one_day(lake, provider, folder), 3, False))
    for what in ("stream", "fill"):
        gib = in_a_process(what, folder/("lake" if what == "stream" else "filled"), words)
        out.append((f"peak memory, {what}", gib, None, "GiB", gib, 3, False))
    check(len(lake.verify(TABLE)) if rows < 1e6 else 0, 0, "damaged files")
    return out


def check(found, expected, what):
    if found != expected: raise SystemExit(f"{what}: found {found}, expected {expected}")


def ingest(lake, batches, folder):
    "Append batches; pyarrow writes each frame to one file."
    pairs = []
    for i, (frame, (appended, revised, skipped)) in enumerate(batches):
        ours, done = timed(lake.append, TABLE, frame)
        peer, _ = timed(write_plain, frame, folder/"plain.parquet")
        check((done.appended, done.revised, done.skipped), (appended, revised, skipped), f"batch {i}: appended, revised, skipped")
        pairs.append((len(frame)/ours/1e6, len(frame)/peer/1e6))
    return summary(pairs, "M rows/s")


def write_plain(frame, path): pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def plain(provider):
    for frame in months(provider, *provider.stream.months[[0, -1]]): yield frame, (len(frame), 0, 0)


def overlapping(provider):
    "Each month with the last tenth of the one before, some of it revised by a later fetch; a year is enough."
    before = None
    for frame in months(provider, *provider.stream.months[[0, min(11, len(provider.stream.months) - 1)]]):
        if before is None: yield frame, (len(frame), 0, 0)
        else:
            again = before[before["event_time"] > before["event_time"].quantile(1 - OVERLAP)]
            again = again.assign(ingested_at=again["ingested_at"] + pd.Timedelta("7D"))
            wrong = again.index[::REVISED]
            again.loc[wrong, "close"] += 0.01
            yield pd.concat([again, frame], ignore_index=True), (len(frame) + len(wrong), len(wrong), len(again) - len(wrong))
        before = frame


def turn(lake, peer):
    "Stream the table and let pyarrow read its files, in turns; both must meet the same rows."
    files, pairs = sorted((Path(lake.root)/TABLE).rglob("_part=*/*.parquet")), []
    for _ in range(TURNS + 1):                # the first turn fills the page cache
        ours, mine = timed(lambda: sum(len(f) for f in lake.stream(TABLE)))
        theirs, found = timed(lambda: peer(files))
        check(mine, found, "rows streamed")
        pairs.append((mine/ours/1e6, mine/theirs/1e6))
    return summary(pairs[1:], "M rows/s")


def scan(files): return sum(b.num_rows for b in ds.dataset(files).to_batches())
def scan_packed(files): return sum(b.num_rows for b in _packed(files).to_batches())
def to_frames(files): return sum(len(_packed([f]).to_table().unify_dictionaries().to_pandas(split_blocks=True)) for f in files)
def _packed(files): return ds.dataset(files, format=ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=TEXT)))


PEERS = (("pyarrow scan", scan, .9), ("pyarrow to frames", to_frames, .9), ("pyarrow scan, text as codes", scan_packed, None))


def one_day(lake, provider, folder):
    "Append days after the last one; deltalake appends the same rows to a copy of the table."
    copy = folder/"copy"
    shutil.copytree(Path(lake.root)/TABLE, copy, copy_function=lambda a, b: (os.link if a.endswith(".parquet") and "_delta_log" not in a else shutil.copy)(a, b))
    later, pairs = SimulatedProvider(n_assets=provider.n_assets, start="2024-01-02", end="2024-01-31", freq="5min"), []
    whole = next(months(later, *later.stream.months[[0, 0]]))
    for _, day in list(whole.groupby(whole["event_time"].dt.date))[:TURNS + 1]:
        day = day.reset_index(drop=True)
        ours, done = timed(lake.append, TABLE, day)
        peer, _ = timed(write_delta, day, copy)
        check(done.appended, len(day), "rows of the day")
        pairs.append((1e3*ours, 1e3*peer))
    return summary(pairs[1:], "ms")


def write_delta(day, copy): write_deltalake(copy, pa.Table.from_pandas(day.assign(_part="2024-01"), preserve_index=False), mode="append")


def in_a_process(what, folder, words):
    "Peak memory of a process that does nothing else, GiB."
    done = subprocess.run([sys.executable, __file__, *[w for w in words if w in ("--full", "--small")], "--folder", folder, "--measure", what], capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


def measure(what, folder, provider):
    if what == "stream": rows = sum(len(frame) for frame in Lake(folder).stream(TABLE))
    else: rows = fill(Lake(folder), provider)
    print(rows, peak_gib())
    return 0


def timed(work, *args):
    began = time.perf_counter()
    out = work(*args)
    return time.perf_counter() - began, out


def summary(pairs, unit):
    "Medians of ours and of the peer's, and the median of their ratios."
    return *(statistics.median(p[i] for p in pairs) for i in (0, 1)), unit, statistics.median(a/b for a, b in pairs)


def judge(rows, small):
    print(f"{'work':<36} {'ours':>8} {'peer':>8} {'unit':<9} {'ratio':>6} {'target':>7}  met")
    missed = 0
    for work, ours, peer, unit, ratio, target, up in rows:
        met = None if small or target is None else (ratio >= target if up else ratio < target)
        missed += met is False
        bound = "" if target is None else f"{'>=' if up else '<'} {target}"
        print(f"{work:<36} {ours:>8.2f} {'' if peer is None else f'{peer:.2f}':>8} {unit:<9} {ratio:>6.2f} {bound:>7}  {'' if met is None else 'yes' if met else 'NO'}")
    return int(missed > 0)


if __name__ == "__main__": sys.exit(main())
