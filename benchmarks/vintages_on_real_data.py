"""Two real panels of S&P 500 bars compared: why every cell in which they differ does so.

Wants a folder with `daily/sp500_daily_2012_2017_vintage2017.parquet`, `daily/sp500_daily_2013_2018.parquet` (timestamp as session date, asset_id, open, high, low, close,
volume), `daily_long/corporate_actions.parquet` and `daily_long/symbol_changes.parquet`. The panels are of different vendors and half a year apart.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from qtp.data.adjust import PRICES, adjust
from qtp.data.calendar import Calendar
from qtp.data.ingest import stamp_actions
from qtp.data.vintages import compare_panels, plot_vintages, renames_between


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with daily/ and daily_long/")
    parser.add_argument("--plot", type=Path, help="file for the map of differences")
    parser.add_argument("--cells", type=Path, help="Parquet file for every differing cell with its class")
    asked = parser.parse_args()
    calendar = Calendar()
    old, new = (_panel(asked.data/f"daily/sp500_daily_{name}.parquet", calendar) for name in ("2012_2017_vintage2017", "2013_2018"))
    actions = stamp_actions(_dated(asked.data/"daily_long/corporate_actions.parquet", calendar), calendar)
    renames = renames_between(pd.read_parquet(asked.data/"daily_long/symbol_changes.parquet"), old, new)
    started = time.monotonic()
    found = compare_panels(old, new, actions, renames)
    print(f"{time.monotonic() - started:.1f} s, renamed between the vintages: {renames}")
    report(found)
    split_by_one_side(asked.data, new, actions, calendar)
    if asked.cells: found.cells.to_parquet(asked.cells)
    if asked.plot: plot_vintages(found, "Q").figure.savefig(asked.plot, dpi=110)


def _panel(path, calendar):
    stamped = calendar.stamp(pd.read_parquet(path), "session", strict=False)
    return stamped[stamped["event_time"].notna()].drop(columns="timestamp")


def _dated(path, calendar):
    actions = pd.read_parquet(path)
    return actions[actions["ex_date"].isin(calendar.sessions(actions["ex_date"].min(), actions["ex_date"].max()))]


def report(found):
    "Print the tables of a comparison."
    total, compared = len(found.cells), int(found.compared.to_numpy().sum())
    unexplained = int((found.cells["class"] == "unexplained").sum())
    here = total - int((found.cells["class"] == "missing").sum())
    print(f"{total:,} of {compared:,} cells differ ({total / compared:.2%}), {here:,} of them with a value on both sides; unexplained: "
          f"{unexplained} = {found.unexplained_share:.3%}, {unexplained / here:.3%} of those with both, {unexplained / compared:.4%} of all\n")
    days = lambda frame: frame.assign(**{c: frame[c].dt.strftime("%Y-%m-%d") for c in ("first", "last")})
    for title, table in (("class by field", found.by_field().round(4)), ("rules", days(found.by_rule())), ("factors", days(found.stretches)), ("days off", found.days_off.round(3)),
                         ("assets", found.by_asset().head(15).round(3)), ("days", found.by_day().head(12).round(3))):
        print(f"-- {title}\n{table.to_string()}\n")
    rest = found.cells[found.cells["class"] == "unexplained"]
    with np.errstate(divide="ignore", invalid="ignore"): size = np.abs(np.log(rest["new"] / (rest["old"] * rest["factor"])))
    print(f"-- unexplained: size of the log difference by field\n{size.groupby(rest['field']).describe(percentiles=[.5, .9]).round(3).to_string()}\n")
    print(f"-- unexplained, most frequent assets: {rest['asset_id'].value_counts().head(10).to_dict()}")
    print(f"-- unexplained, most frequent days: { {f'{d:%Y-%m-%d}': int(n) for d, n in rest['event_time'].value_counts().head(10).items()} }\n")


def split_by_one_side(data, new, actions, calendar):
    "A raw history against a split-adjusted panel: the splits of the table must come out as actions, with their ratios."
    raw = calendar.stamp(pd.read_parquet(data/"daily_long/bars.parquet"), "session", strict=False).drop(columns="timestamp")
    raw = raw[raw["event_time"].notna() & raw["asset_id"].isin(set(new["asset_id"]) & set(actions["asset_id"]))]
    found = compare_panels(raw, new, actions)
    print(f"-- raw histories of {found.compared.shape[0]} names against the newer panel, with the table of actions\n{found.by_field()['cells'].to_dict()}")
    print(found.stretches.to_string())
    unknown = compare_panels(raw, new)
    print(f"the same without the table: {unknown.by_field()['cells'].to_dict()}")
    earlier = _as_known(raw, actions, "2014-06-06", calendar)
    later = _as_known(raw, actions, "2016-12-30", calendar)
    vintages = compare_panels(earlier, later, actions, old_until=calendar.close_of("2014-06-06"))
    print(f"-- the same raw bars adjusted as of 2014-06-06 and as of 2016-12-30\n{vintages.by_rule().to_string()}\n{vintages.stretches.to_string()}")


def _as_known(raw, actions, day, calendar):
    "Split-adjusted bars as a vendor would have sent them on a day."
    t = calendar.close_of(day)
    bars = raw[raw["event_time"] <= t]
    ours = actions[actions["asset_id"].isin(bars["asset_id"].unique())]
    bars = adjust(bars.assign(timestamp=bars["event_time"]), ours, t)
    latest = bars.sort_values("event_time").groupby("asset_id")["split_factor"].transform("last")
    back = bars["split_factor"] / latest
    return bars.assign(**{p: (bars[p] * back).round(2) for p in PRICES}, volume=(bars["volume"] / back).round())


if __name__ == "__main__": main()
