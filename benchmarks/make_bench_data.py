"""A lake of simulated five-minute bars, large enough to measure with: 500 assets at a time over 10 years, 98 million rows.

Months are drawn and appended one at a time, so memory does not grow with the span. A month that is in the lake is skipped: stopped at any instant, the same
command goes on where it was. The same arguments give the same rows everywhere, stamps of ingestion included, and so the same fingerprint. Needs Linux.
"""
import argparse
import sys
import time
from pathlib import Path

import pandas as pd

from qtp.core.errors import QtpError
from qtp.core.lake import Lake
from qtp.data.providers import SimulatedProvider

ROOT = Path(__file__).resolve().parents[1]
TABLE, LAST = "bars_5min", pd.Timestamp("2023-12-29")
COLUMNS = ["timestamp", "event_time", "asset_id", "open", "high", "low", "close", "volume", "flags", "source", "adjustment", "ingested_at"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=530, help="assets over the whole span, late and delisted ones included (530: about 500 at a time)")
    parser.add_argument("--years", type=int, default=10, help="calendar years up to 2023 (10)")
    parser.add_argument("--into", type=Path, default=ROOT/"data"/"bench", help="folder of the lake (data/bench)")
    parser.add_argument("--small", action="store_true", help="10 assets and one year, to see that it works")
    asked = parser.parse_args()
    provider = market(*((10, 1) if asked.small else (asked.assets, asked.years)))
    try: rows = fill(Lake(asked.into), provider, say=lambda text: print(text, flush=True))
    except QtpError as e:
        print(e, file=sys.stderr)
        return 2
    print(f"{asked.into}: {rows:,} rows of {TABLE}, peak memory {peak_gib():.2f} GiB")
    return 0


def market(n_assets, years):
    return SimulatedProvider(n_assets=n_assets, start=f"{LAST.year - years + 1}-01-01", end=f"{LAST:%Y-%m-%d}", freq="5min")


def fill(lake, provider, say=lambda text: None):
    "Append the months that are not there yet; rows of the table afterwards."
    say(f"drawing the daily market of {provider.n_assets} assets, {provider.start} to {provider.end}")
    due = provider.stream.rows
    done = stored_months(lake, provider)
    left, began, rows = due.drop(done), time.monotonic(), 0
    for month, expected in left.items():
        for frame in months(provider, month, month): lake.append(TABLE, frame, note=dict(source=frame["source"].iloc[0], month=str(month)))
        rows += expected
        rate = rows / (time.monotonic() - began)
        say(f"{month}  {due.loc[:month].sum():>11,} of {due.sum():,} rows  {rate/1e6:.2f} M rows/s  {(left.sum() - rows)/rate:5.0f} s left")
    return lake.fingerprint(TABLE)["rows"]


def months(provider, first, last):
    "Frames of some months in the columns of the lake; known at their end, fetched after the market's last session."
    fetched = pd.Timestamp(provider.end, tz="UTC") + pd.Timedelta("1D")
    for frame in provider.batches(start=first.start_time, end=last.end_time.normalize()):
        yield frame.assign(event_time=frame["timestamp"], flags="", adjustment=provider.adjustment, ingested_at=fetched)[COLUMNS]


def stored_months(lake, provider):
    "Months of this market that the lake holds; another market in it is refused."
    if not lake.exists(TABLE): return []
    history = lake.history(TABLE).reindex(columns=["source", "month"]).dropna()
    if set(history["source"]) == {provider.source}: return [pd.Period(m) for m in history["month"]]
    raise QtpError(f"lake {lake.root}, {TABLE}: holds {sorted(set(history['source']))}, expected {provider.source}. Name another folder with --into, or remove this one.")


def peak_gib():
    "Most memory that this program held; `ru_maxrss` would count what its parent held before it."
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**20


if __name__ == "__main__": sys.exit(main())
