"""Causal split and total-return factors beside facts and the vendor's own adjusted close, on real bars as traded.

DIR/daily_long holds `bars.parquet` (timestamp, asset_id, close, adj_close, source) and `corporate_actions.parquet` (asset_id, ex_date, split_ratio,
cash_dividend, source).
Three checks: splits known from company announcements, no later split in any earlier row, and `close x tr_factor` under the vendor's method beside `adj_close`.
The vendor's level is that of each download, so a constant is allowed for every stretch of one asset and source; and a vendor is compared on the actions that
it sent itself, since its adj_close knows no others.
"""
import argparse
import sys
import time
from pathlib import Path

import pandas as pd

from qtp.data.adjust import adjust
from qtp.data.calendar import Calendar

TOLERANCE = 1e-9
SPLITS = [("AAPL", "1987-06-16", 2), ("AAPL", "2000-06-21", 2), ("AAPL", "2005-02-28", 2), ("AAPL", "2014-06-09", 7), ("AAPL", "2020-08-31", 4),
          ("MSFT", "1987-09-21", 2), ("MSFT", "1994-05-23", 2), ("MSFT", "1999-03-29", 2), ("MSFT", "2003-02-18", 2), ("GE", "2000-05-08", 3), ("AMZN", "1999-09-02", 2)]
# Sources: the companies' investor-relations pages, split history; the date is the first session at the new price


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds daily_long/")
    asked, calendar = parser.parse_args(), Calendar()
    bars = calendar.stamp(pd.read_parquet(asked.data/"daily_long"/"bars.parquet"), "session", strict=False)
    off, bars = bars[bars["event_time"].isna()], bars[bars["event_time"].notna()]
    actions = pd.read_parquet(asked.data/"daily_long"/"corporate_actions.parquet")
    actions = actions.assign(effective=calendar.open_on(actions["ex_date"])).assign(timestamp=lambda a: a["effective"])
    last, started = bars["event_time"].max(), time.perf_counter()
    adjusted = {m: adjust(bars, actions, last, m) for m in ("vendor", "previous_close")}
    print(f"{len(bars):,} bars of {bars['asset_id'].nunique()} names, {len(actions)} actions, both methods in {time.perf_counter() - started:.2f} s; "
          f"{len(off)} bars on closed days left out")
    return int(not all([known_splits(adjusted["vendor"], calendar), nothing_later(bars, actions, adjusted["vendor"]), like_the_vendor(bars, actions)]))


def known_splits(adjusted, calendar):
    factor, wrong = adjusted.set_index(["asset_id", "event_time"])["split_factor"], []
    for name, day, ratio in SPLITS:
        if name not in factor.index.get_level_values(0): continue
        of, close = factor[name], calendar.close_of(day)
        step = of.loc[close:].iloc[0] / of.loc[:close - pd.Timedelta("1s")].iloc[-1]
        if step != ratio: wrong.append(f"{name} {day}: found {step}, expected {ratio}")
    total = factor.groupby(level=0).last()
    print("splits known from announcements:", "all found" if not wrong else "; ".join(wrong))
    print("  shares of one bought at the first bar:", ", ".join(f"{a} {x:g}" for a, x in total.items() if x != 1))
    return not wrong


def nothing_later(bars, actions, adjusted):
    "Cut the world before and at every split: rows up to the cut are the same to the last bit."
    cuts = sorted({t for e in actions.loc[actions["split_ratio"] != 1, "effective"] for t in (e - pd.Timedelta("1h"), e + pd.Timedelta("12h"))})
    columns, differing = ["event_time", "asset_id", "split_factor", "tr_factor"], 0
    for t in cuts:
        cut = adjust(bars, actions[actions["timestamp"] <= t], t, "vendor")[columns]
        differing += not cut.equals(adjusted.loc[adjusted["event_time"] <= t, columns].reset_index(drop=True))
    jumps = adjusted.assign(forward=adjusted["close"] * adjusted["split_factor"]).sort_values(["asset_id", "event_time"])
    steps = (jumps["split_factor"] / jumps.groupby("asset_id")["split_factor"].shift()).fillna(1)
    forward = jumps.groupby("asset_id")["forward"].pct_change(fill_method=None)
    print(f"{len(cuts)} worlds cut around splits: {differing} differ; largest move of the forward close on a split day {forward[steps != 1].abs().max():.1%}")
    return differing == 0


def like_the_vendor(bars, actions):
    table = pd.DataFrame({m: spreads(bars, actions, m) for m in ("vendor", "previous_close")}).groupby(level=0).max()
    print("largest relative gap to the vendor's adj_close, by name (a constant for each download):")
    print(table.map("{:.1e}".format).to_string())
    return table["vendor"].max() <= TOLERANCE


def spreads(bars, actions, method):
    vendor = lambda frame: frame["source"].str.split(":").str[0]
    return pd.concat([spread(adjust(part, actions[vendor(actions) == v], part["event_time"].max(), method)) for v, part in bars.groupby(vendor(bars))])


def spread(adjusted):
    ratio = adjusted["close"] * adjusted["tr_factor"] / adjusted["adj_close"]
    by = [adjusted["asset_id"], adjusted["source"]]
    return (ratio / ratio.groupby(by).transform("median") - 1).abs().groupby(by).max()


if __name__ == "__main__": sys.exit(main())
