"""As-of joins of 10 million rows beside `pandas.merge_asof`, and a sample of the answers beside a window function of SQLite.

Both get the same frames in the same process, one after the other, several times; medians and their ratio are printed (above 1: `asof_join` is faster). A tenth
of the records are corrections of an older period, which `merge_asof` cannot tell: in that row of the table it does less work, and answers wrongly.
`merge_asof` needs rows in order of time; where the rows stand by asset, as in the lake, sorting them is part of its time.
"""
import argparse
import sqlite3
import statistics
import sys
import time

import numpy as np
import pandas as pd

from qtp.core.frames import asof_join

ASSETS, SPAN = 500, 10**15        # series, and the microseconds over which records and decisions are spread (31 years)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="100,000 rows: shows that it runs, measures nothing")
    parser.add_argument("--rows", type=int, default=10_000_000, help="decisions to answer (default 10,000,000)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each join is run (default 5)")
    asked = parser.parse_args()
    n, repeats = (100_000, 2) if asked.small else (asked.rows, asked.repeats)
    print(f"{n:,} decisions, medians of {repeats} runs in seconds")
    print(f"{'join':<44} {'records':>12} {'merge_asof':>11} {'asof_join':>10} {'ratio':>6} {'oracle':>8}")
    return int(not all([compare(*case, repeats) for case in cases(n)]))


def cases(n):
    "Name, decisions, records, `by`, and whether the decisions stand in order of time."
    rng = np.random.default_rng(0)
    names, panel = np.array([f"A{i:03}" for i in range(ASSETS)]), instants(rng, n // ASSETS)
    by_time = pd.DataFrame({"timestamp": panel.repeat(ASSETS), "asset_id": pd.Series(np.tile(names, len(panel)), dtype="str")})
    by_asset = by_time.sort_values(["asset_id", "timestamp"], ignore_index=True)
    mixed = pd.DataFrame({"timestamp": instants(rng, n), "asset_id": pd.Series(rng.choice(names, n), dtype="str")})
    for size in (n // 100, n // 10, n):
        table = records(rng, size, names)
        yield "one series", mixed[["timestamp"]], table.drop(columns="asset_id"), None, True
        yield "by asset, every asset at shared instants", by_time, table, "asset_id", True
        yield "by asset, instants of their own", mixed, table, "asset_id", True
        yield "by asset, rows and records as in the lake", by_asset, table.sort_values(["asset_id", "timestamp"], ignore_index=True), "asset_id", False
    yield "one series, a tenth late corrections", mixed[["timestamp"]], late(rng, records(rng, n // 10, names).drop(columns="asset_id")), None, True


def instants(rng, n): return pd.DatetimeIndex(pd.to_datetime(np.sort(rng.integers(0, SPAN, n)), unit="us", utc=True))


def records(rng, n, names):
    known = pd.to_datetime(np.unique(rng.integers(0, SPAN, n)), unit="us", utc=True)
    assets = pd.Series(rng.choice(names, len(known)), dtype="str")
    return pd.DataFrame({"timestamp": known, "event_time": known - pd.Timedelta("1h"), "asset_id": assets, "value": rng.random(len(known))})


def late(rng, table):
    "A tenth of the records tell of a period long gone."
    return table.assign(event_time=table["event_time"].where(rng.random(len(table)) > 0.1, table["event_time"] - pd.Timedelta("900D")))


def compare(name, asked, table, by, in_time, repeats):
    right = table.assign(known_at=table["timestamp"])
    left = lambda: asked if in_time else asked.sort_values("timestamp", kind="stable")
    other = lambda: pd.merge_asof(left(), right if in_time else right.sort_values("timestamp", kind="stable"), on="timestamp", by=by)
    mine = lambda: asof_join(asked, table, by=by)
    base, ours = map(statistics.median, zip(*[(seconds(other), seconds(mine)) for _ in range(repeats)]))
    same = agrees(asked, table, by, mine())
    print(f"{name:<44} {len(table):>12,} {base:>11.3f} {ours:>10.3f} {base/ours:>6.2f} {'equal' if same else 'DIFFERS':>8}", flush=True)
    return same


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def agrees(asked, table, by, found, n=200):
    "Whether a sample of the answers is what SQLite finds: the latest period published by then, in its last version. Three assets, or the first records."
    if by: few, table = (f[f[by].isin(table[by].unique()[:3])] for f in (asked, table))
    else: few, table = (f[f["timestamp"] < table["timestamp"].iloc[min(len(table) - 1, 20_000)]] for f in (asked, table))
    few = few.assign(row=asked.index.get_indexer(few.index)).sample(min(n, len(few)), random_state=1)
    with sqlite3.connect(":memory:") as db:
        for title, frame in (("decisions", few), ("records", table)): numbers(frame).to_sql(title, db, index=False)
        db.execute(f"CREATE INDEX published ON records ({f'{by}, ' if by else ''}timestamp)")
        told = dict(db.execute(f"""SELECT row, value FROM (SELECT d.row, r.value, ROW_NUMBER() OVER (PARTITION BY d.row ORDER BY r.event_time DESC, r.timestamp DESC) AS n
                                   FROM decisions AS d JOIN records AS r ON r.timestamp <= d.timestamp {f'AND r.{by} = d.{by}' if by else ''}) WHERE n = 1""").fetchall())
    expected = np.array([told.get(row, np.nan) for row in few["row"]])
    return np.array_equal(found["value"].to_numpy()[few["row"]], expected, equal_nan=True)


def numbers(frame): return frame.assign(**{c: frame[c].astype("int64") for c in ("timestamp", "event_time") if c in frame})


if __name__ == "__main__": sys.exit(main())
