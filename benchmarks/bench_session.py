"""Session statistics of five-minute bars beside decoding alone, and beside duckdb.

The lake of `make bench-data` is streamed through `session_statistics`, all statistics and then eight of them. Before that, pyarrow writes the same columns of
each month to a plain file (default encoding, zstd). Every turn is four processes, one after the other: pyarrow decodes the plain files and discards the rows;
all statistics; the eight; duckdb computes the eight from the plain files, a month at a time, in an environment of its own. Medians over the turns: CPU-seconds of
all statistics over those of decoding (at most 2.0), seconds of duckdb over those of the eight (at least 2.5), and the most memory a process of ours held (at most
0.8 GiB). What duckdb finds is compared with what we find; with `--small` duckdb runs only where its environment is there already. Files are in the page cache.
Exit code 1 if a target is missed or values differ. Needs Linux.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE, COLUMNS = "bars_5min", ["timestamp", "event_time", "asset_id", "open", "high", "low", "close", "volume"]
EIGHT = ["dollar_volume", "vwap", "bar_amihud", "realized_variance", "realized_skew", "realized_kurt", "slope", "log_range"]
QUERY = """
copy (with r as (
    select asset_id, s.close_at, (epoch_us(event_time) - s.open_us) / s.length as x, high, low, close, volume, volume * ((high + low + close) / 3) as d,
           ln(close / coalesce(lag(close) over (partition by asset_id, s.close_at order by event_time), open)) as r
    from read_parquet('{file}') b join read_parquet('{sessions}') s on b.event_time::date = s.day)
select asset_id, close_at, sum(d) as dollar_volume, sum(d)/nullif(sum(volume), 0) as vwap, 1e6*avg(abs(r)/d) filter (where d > 0) as bar_amihud, sum(r*r) as realized_variance,
       sqrt(count(*))*sum(r*r*r)/pow(sum(r*r), 1.5) as realized_skew, count(*)*sum(r*r*r*r)/pow(sum(r*r), 2) as realized_kurt,
       regr_slope(ln(close), x) as slope, ln(max(high)/min(low)) as log_range
from r group by asset_id, close_at) to '{out}' (format parquet)"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT/"data"/"bench", help="lake of make_bench_data.py (data/bench); without one a year of it is simulated for the occasion")
    parser.add_argument("--small", action="store_true", help="10 assets and one year: values are compared, rates are not judged")
    parser.add_argument("--turns", type=int, default=5, help="times that each is run (5)")
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir())/"qtp-bench-duckdb", help="where the environment with duckdb is, or is made")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure: return measure(asked.measure, asked.folder, asked.into)
    with tempfile.TemporaryDirectory(prefix="qtp-session-", dir=asked.folder.parent if asked.folder.exists() else None) as work:
        return compare(lake_of(asked, Path(work)), Path(work), asked)


def lake_of(asked, work):
    "The lake to measure with: the one asked for, or a smaller one."
    from make_bench_data import fill, market

    from qtp.core.lake import Lake
    if not asked.small and Lake(asked.folder).exists(TABLE): return asked.folder
    size = (10, 1) if asked.small else (530, 1)
    print(f"simulating {size[0]} assets over {size[1]} year" + ("" if asked.small else f": {asked.folder} holds no {TABLE} (`make bench-data` makes 98 million rows)"), flush=True)
    fill(Lake(work/"lake"), market(*size))
    return work/"lake"


def compare(folder, work, asked):
    rows, files = write_plain(folder, work)
    duck = environment(asked.env, asked.small)
    kinds = ["decode", "all", "eight"] + (["duckdb"] if duck else [])
    turns = [{k: child(k, folder, work, duck) for k in kinds} for _ in range(1 if asked.small else asked.turns)]
    print(f"{rows:,} rows in {files} months, {turns[0]['all']['shape']} values; medians of {len(turns)}")
    print(f"{'process':<10} {'seconds':>8} {'CPU-s':>7} {'GiB':>6}")
    for k in kinds: print(f"{k:<10} " + " ".join(f"{middle(turns, k, what):>{n}.2f}" for what, n in (("seconds", 8), ("cpu", 7), ("gib", 6))))
    wrong = list(differences(work)) if duck else []
    for text in wrong: print(text)
    return judge(turns, duck, asked.small) or int(bool(wrong))


def write_plain(folder, work):
    "A plain copy of the columns, a file a month; rows and files."
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from qtp.core.lake import Lake
    from qtp.data.calendar import Calendar
    (work/"plain").mkdir()
    lake, rows = Lake(folder), 0
    for i, frame in enumerate(lake.stream(TABLE, fields=COLUMNS[3:])):
        frame = frame.assign(asset_id=frame["asset_id"].astype("str"))
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), work/"plain"/f"{i:04}.parquet", compression="zstd")
        rows += len(frame)
    closes = Calendar().closes(*(t.date() for t in lake.span(TABLE)))
    opens = Calendar().open_of(closes)
    days = dict(day=closes.date, close_at=closes, open_us=opens.as_unit("us").asi8, length=(closes - opens) / pd.Timedelta("1us"))
    pd.DataFrame(days).to_parquet(work/"sessions.parquet")
    return rows, i + 1


def environment(folder, small):
    "The python that has duckdb; None, with the reason told, where none can be had."
    python = folder/"bin"/"python"
    if small and not python.exists(): return print(f"without duckdb: {folder} is not there, and nothing is installed for the small size")
    if not python.exists() or subprocess.run([python, "-c", "import duckdb"], capture_output=True).returncode:
        for words in (["venv", "-q", "--python", sys.executable, folder], ["pip", "install", "-q", "--python", python, "duckdb"]):
            done = subprocess.run([Path(sys.executable).parent/"uv", *words], capture_output=True, text=True)
            if done.returncode: return print(f"without duckdb: {done.stderr.strip().splitlines()[-1]}")
    return python


def child(kind, folder, work, duck):
    "Run one kind in a process of its own; what it measured."
    out = work/f"{kind}.parquet"
    python = duck if kind == "duckdb" else sys.executable
    done = subprocess.run([python, __file__, "--measure", kind, "--folder", folder, "--into", out], capture_output=True, text=True, cwd=work)
    if done.returncode: raise SystemExit(f"{kind}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(kind, folder, into):
    "In the child: work once on little, then measure."
    work = {"decode": decode, "all": ours, "eight": ours, "duckdb": duckdb_eight}[kind]
    if kind in ("all", "eight"): work(kind, folder, into, dict(start=last_session(folder)))
    if kind in ("decode",): import pyarrow.dataset  # noqa: F401
    if kind == "duckdb": import duckdb  # noqa: F401
    cpu, began = cpu_seconds(), time.perf_counter()
    shape, write = work(kind, folder, into, {})
    said = dict(seconds=time.perf_counter() - began, cpu=cpu_seconds() - cpu, gib=peak_gib(), shape=shape)
    write()
    print(json.dumps(said))
    return 0


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_gib():
    "Most memory that this process held."
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**20


def last_session(folder):
    from qtp.core.lake import Lake
    return Lake(folder).span(TABLE)[1].date()


def decode(kind, folder, into, span):
    import pyarrow.dataset as ds
    rows = sum(b.num_rows for b in ds.dataset(sorted((into.parent/"plain").glob("*.parquet"))).to_batches())
    return [rows], lambda: None


def ours(kind, folder, into, span):
    from qtp.core.lake import Lake
    from qtp.features.session import session_statistics
    found = session_statistics(Lake(folder), [f"session_{n}" for n in EIGHT] if kind == "eight" else None, **span)
    return list(found.shape), lambda: write_long(found, into)


def write_long(found, into):
    found = found[[f"session_{n}" for n in EIGHT]].stack("asset_id", future_stack=True).dropna(how="all")
    found.rename(columns=lambda n: n.removeprefix("session_")).reset_index().to_parquet(into)


def duckdb_eight(kind, folder, into, span):
    import duckdb
    con, files = duckdb.connect(), sorted((into.parent/"plain").glob("*.parquet"))
    con.execute("set threads = 2; set preserve_insertion_order = false; set timezone = 'UTC'")
    (into.parent/"duckdb").mkdir(exist_ok=True)
    for i, file in enumerate(files): con.execute(QUERY.format(file=file, sessions=into.parent/"sessions.parquet", out=into.parent/"duckdb"/f"{i:04}.parquet"))
    return [len(files)], lambda: None


def differences(work):
    "Where duckdb finds something else, in words."
    import numpy as np
    import pandas as pd
    theirs = pd.read_parquet(work/"duckdb").set_index(["close_at", "asset_id"])
    for kind in ("all", "eight"):
        mine = pd.read_parquet(work/f"{kind}.parquet").rename(columns={"timestamp": "close_at"}).set_index(["close_at", "asset_id"]).reindex(theirs.index)
        for n in EIGHT:
            a, b = mine[n].to_numpy(float), theirs[n].to_numpy(float)
            off = ~np.isclose(a, b, rtol=2e-6, atol=2e-6 * np.nanmedian(np.abs(b)), equal_nan=True)
            if off.any(): yield f"{kind}, {n}: {off.sum()} of {len(off)} values differ, first {theirs.index[off][0]}: found {a[off][0]}, duckdb {b[off][0]}"


def middle(turns, kind, what): return statistics.median(t[kind][what] for t in turns)


def judge(turns, duck, small):
    "Print each target; 1 if one is missed."
    ratio = statistics.median(t["all"]["cpu"] / t["decode"]["cpu"] for t in turns)
    lines = [("all statistics, CPU over decoding's", ratio, 2.0, False)]
    if duck: lines.append(("the eight, times faster than duckdb", statistics.median(t["duckdb"]["seconds"] / t["eight"]["seconds"] for t in turns), 2.5, True))
    lines += [(f"peak memory, {k}, GiB", max(t[k]["gib"] for t in turns), 0.8, False) for k in ("all", "eight")]
    missed = 0 if duck or small else 1
    for what, value, bound, up in lines:
        met = value >= bound if up else value <= bound
        missed += not met
        print(f"{what:<38} {value:>6.2f}  target {'>=' if up else '<='} {bound}  " + ("not judged" if small else f"met: {'yes' if met else 'NO'}"))
    return 0 if small else int(missed > 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
