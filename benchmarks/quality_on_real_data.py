"""How many of the defects that a documented set of real files lists does `check_bars` find, and what does it find that nobody listed?

    python benchmarks/quality_on_real_data.py --data DIR

DIR is a person's own copy of the files named in `FILES`. The answers below are those of the README that comes with the files (its
lists of defects and of real jumps), not of the code under test. A finding that nobody listed counts as *confirmed* when the other
panel contradicts the bar, or when the event is public knowledge (`KNOWN`); as *a fact* when the rule only counts (missing bars, prices out
of range); else as *false*.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from qtp.data.calendar import Calendar
from qtp.data.quality import check_bars

FILES = {"panel": "daily/sp500_daily_2013_2018.parquet", "vintage": "daily/sp500_daily_2012_2017_vintage2017.parquet", "long": "daily_long/bars.parquet",
         "index": "benchmarks/index_daily.parquet", "5min": "intraday/bars_5min.parquet", "1min": "intraday/bars_1min_verbatim_with_defects.parquet"}
ROW, LEVEL = {"missing_price", "price", "ohlc", "zero_volume", "volume"}, {"scale", "split", "spinoff", "other_scale"}
WRONG = {"spike", "reversal", "copied", "ohlc", "disagreement"}


def cells(text):
    "'COTY 2014-10-30, ES 2015-07-17' as (asset, day) pairs; a day alone belongs to the asset before it."
    asset, out = None, []
    for part in text.replace(",", " ").split():
        if part[:2] in ("19", "20") and part[4:5] == "-": out.append((asset, part))
        else: asset = part
    return out


def same_day(day, assets): return ", ".join(f"{a} {day}" for a in assets.split())


# file -> (what the README lists, the cells, the rules that count as finding it)
LISTED = {
    "panel": [
        ("open missing", cells("BHF 2017-07-26 ES 2015-07-17 FTV 2016-07-01 REGN 2015-06-09 VRTX 2015-05-12 WRK 2015-06-26"), ROW),
        ("zero volume", cells("FTV 2016-07-01"), ROW),
        ("low <= open, close <= high broken", cells("AOS 2014-05-19 CHD 2014-05-19 BBY 2016-03-14 IP 2014-07-01 LNT 2016-05-19 SPG 2014-05-28 WRK 2016-05-13"), ROW),
        ("wrong close for one day", cells(same_day("2014-10-30", "COTY KORS MTD PXD") + " LNT 2016-05-19 PRGO 2016-06-14 NBL 2017-08-02 " +
                                          same_day("2017-09-14", "HAL MRK MRO NFX NSC")), WRONG),
        ("value distribution", cells("BAX 2015-07-01 NI 2015-07-02 EBAY 2015-07-20 ARNC 2016-11-01 BHGE 2017-07-05"), LEVEL)],
    "vintage": [
        ("scale change", cells("NBL 2013-05-02 PPG 2013-10-17 TMK 2014-04-01 APH 2014-09-08 CTXS 2017-02-01 JEC 2017-02-15"), LEVEL),
        ("half scale for ten sessions", [("DVA", f"2013-09-{d:02d}") for d in (9, 10, 11, 12, 13, 16, 17, 18, 19, 20)], LEVEL),
        ("flips between two scales", [("HLT", f"2016-12-{d}") for d in (13, 14, 15, 16, 19, 20, 21, 23, 28, 29, 30)] + cells("HLT 2017-01-03 2017-01-04"), LEVEL | ROW),
        ("zero volume (the rows of the file)", cells("BHF 2017-07-26 FTV 2016-06-16 2016-06-20 WRK 2015-06-26"), ROW),
        ("value distribution", cells("MDLZ 2012-10-02 BAX 2015-07-01 NI 2015-07-02 EBAY 2015-07-20 ARNC 2016-11-01"), LEVEL)],
    "long": [
        ("bar on a closed day", cells("AAPL 1985-09-27"), {"off_calendar"}),
        ("missing day", cells("AAPL 1981-08-10 1983-09-23 2017-08-07 2017-11-08 MSFT 2017-11-08"), {"missing_sessions"}),
        ("low equal to high above the close", cells(same_day("2015-07-16", "AMZN FB GOOG")), ROW),
        ("close above the high", cells("BA 1962-01-23"), ROW),
        ("zero volume", cells("GE 1962-11-09"), ROW)],
    "index": [
        ("missing day", cells("^VIX 1991-03-01 1997-01-31 1997-11-26 1999-12-31"), {"missing_sessions"}),
        ("bar on a closed day", cells("^VIX 2004-06-11"), {"off_calendar"})],
    "5min": [("session cut short", cells("SPY 2020-01-10"), {"short_session"})],
    "1min": []}
def edge(day, which):
    "How many assets have their first bar of a day at 10:10 or later, or their last before 11:00: counted in the bars themselves."
    def count(bars):
        local = bars["timestamp"].dt.tz_convert("America/New_York")
        of_day = local[local.dt.strftime("%Y-%m-%d") == day].groupby(bars["asset_id"]).agg(which == "first" and "min" or "max").dt.strftime("%H:%M")
        return int((of_day >= "10:10").sum() if which == "first" else (of_day < "11:00").sum())
    return count


def holes(marks): return marks[marks["rule"] == "missing_sessions"].groupby("asset_id")["count"].sum()


def cut(marks, day, what): return int(((marks["rule"] == "short_session") & (marks["day"] == day) & marks["found"].str.startswith(what)).sum())


# file -> (what, number listed, how to count it in the marks)
COUNTED = {
    "panel": [("days missing: ES 10, ICE 5, BMY 2", 17, lambda m: m[m["rule"] == "missing_sessions"]["count"].sum()),
              ("names that start late", 21, lambda m: (m["rule"] == "starts_late").sum())],
    "vintage": [("rows with missing values, GOOG's volume among them", 704, lambda m: m["rule"].isin(["missing_price", "missing_volume"]).sum()),
                ("of these on 2017-07-31", 292, lambda m: ((m["rule"] == "missing_price") & (m["day"] == "2017-07-31")).sum()),
                ("impossible prices", 24, lambda m: (m["rule"] == "ohlc").sum())],
    "long": [("GORO, days of zero volume: several", 2, lambda m: min(2, ((m["rule"] == "zero_volume") & (m["asset_id"] == "GORO")).sum())),
             ("BA, fractional volume", 1, lambda m: ((m["rule"] == "fractional_volume") & (m["asset_id"] == "BA")).sum()),
             ("AMZN, FB, GOOG: 10 to 12 days missing each", 3, lambda m: sum(10 <= n <= 12 for n in holes(m).reindex(["AMZN", "FB", "GOOG"]))),
             ("AES, a year missing", 1, lambda m: int(holes(m)["AES"] == 252))],
    "index": [("open outside high and low", 47, lambda m: (m["rule"] == "ohlc").sum())],
    "5min": [("2019-12-17 starts 11:00 for part of the ETFs (counted in the file)", edge("2019-12-17", "first"), lambda m: cut(m, "2019-12-17", "starts")),
             ("2019-12-24 stops 10:59 for part of the ETFs (counted in the file)", edge("2019-12-24", "last"), lambda m: cut(m, "2019-12-24", "stops")),
             ("bars of zero volume", 2003, lambda m: (m["rule"] == "zero_volume").sum()),
             ("^SPX, ^VIX without volume", 2, lambda m: m[m["asset_id"].isin(["^SPX", "^VIX"]) & m["rule"].isin(["no_volume", "zero_volume"])]["asset_id"].nunique())],
    "1min": [("repeated stamps", 144, lambda m: int((m["rule"].isin(["duplicate", "empty"])).sum() + (m["rule"] == "conflict").sum() / 2)),
             ("empty bars", 2, lambda m: min(2, (m["rule"] == "empty").sum())),
             ("not in order of time", 1, lambda m: int((m["rule"] == "unsorted").any()))]}
REAL = cells("VRTX 2013-04-19 2014-06-24 STZ 2013-02-14 INCY 2013-08-21 MNST 2014-08-15 EVHC 2017-11-01 NFLX 2013-01-24")   # must stay as bars
BAD_DAYS = {"2014-10-30": 109, "2014-08-01": 52, "2014-07-17": 39, "2014-10-29": 37, "2017-08-01": 98}                      # names that differ by over 1 %
KNOWN = {("A", "2014-11-03"): "Keysight spun off", ("CAG", "2016-11-10"): "Lamb Weston spun off", ("CTXS", "2017-02-01"): "GoTo spun off",
         ("IR", "2013-12-02"): "Allegion spun off", ("KLAC", "2014-11-26"): "special dividend of 16.50", ("YUM", "2016-11-01"): "Yum China spun off",
         ("F", "1998-04-08"): "Associates First Capital spun off",
         ("UGAZ", "2019-12-23"): "price x 88: a reverse split"}
JUDGED = {"copied", "spike", "split", "spinoff", "scale", "volume_unit", "stale", "zone"}                                  # rules that judge; the others only count


def read(data, name):
    "A file's bars, what its stamps mean, and its actions."
    frame = pd.read_parquet(data / FILES[name])
    if name == "1min": frame = frame.sort_values("row_order")
    actions = pd.read_parquet(data / "daily_long/corporate_actions.parquet") if name == "long" else None
    intraday = name in ("5min", "1min")
    return frame, dict(adjustment="split" if name in ("panel", "vintage") else "raw", stamp="start" if intraday else "session", bar=name if intraday else "1d",
                       actions=actions, min_sessions=1, max_bad=0.2, source=FILES[name])


def checked(data, calendar, now):
    "A report a file, and seconds a row; compiled code is warm."
    out = {}
    for name in FILES:
        frame, options = read(data, name)
        check_bars(frame, calendar, now, **options)
        start = time.perf_counter()
        out[name] = check_bars(frame, calendar, now, **options), len(frame), time.perf_counter() - start
    return out


def marks_of(report):
    days = report.marks["event_time"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")
    return report.marks.assign(day=days)


def found(cell, rules, marks, calendar):
    "Whether a listed cell has a mark on its day, or the session before (a list may name the day of the reversal), or within its hole."
    asset, day = cell
    mine = marks[(marks["asset_id"] == asset) & marks["rule"].isin(rules)]
    days = {day, *(str(d.date()) for d in calendar.sessions(pd.Timestamp(day) - pd.Timedelta("4D"), pd.Timestamp(day) - pd.Timedelta("1D"))[-1:])}
    return bool(mine["day"].isin(days).any())


def closes_of(report):
    "Every close that a report saw, quarantined ones too, by asset and day."
    both = pd.concat([report.clean, report.quarantine]).dropna(subset=["close"]).drop_duplicates(["asset_id", "event_time"])
    return both.assign(day=both["event_time"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")).set_index(["asset_id", "day"])["close"]


def contradicted(reports):
    "Cells (asset, day) whose close differs by over 1 % between the panels, beside a level that differs for longer; and all cells that both have."
    ratio = np.log(closes_of(reports["panel"][0]) / closes_of(reports["vintage"][0])).dropna().sort_index()
    level = ratio.groupby(level=0).rolling(21, center=True, min_periods=5).median().droplevel(0)
    return set(ratio.index[(ratio - level).abs() > 0.01]), set(ratio.index)


def unlisted(name, marks, off, both):
    "Judged marks that nobody listed: confirmed, unknown, or false."
    listed = {c for what, cs, _ in LISTED[name] for c in cs}
    mine = marks[marks["rule"].isin(JUDGED) & ~marks["rule"].eq("copied")]
    mine = mine[np.array([c not in listed for c in zip(mine["asset_id"], mine["day"])], bool)]
    return mine.assign(told=[verdict((a, d), rule, off, both) for a, d, rule in zip(mine["asset_id"], mine["day"], mine["rule"])])


def verdict(cell, rule, off, both):
    if cell in KNOWN or cell in off: return "confirmed"
    return "false" if cell in both or rule == "volume_unit" else "unknown"


def print_listed(data, reports, calendar):
    print("\nLISTED in the README, and found")
    for name, (report, _, _) in reports.items():
        marks = marks_of(report)
        for what, cs, rules in LISTED[name]:
            missed = [c for c in cs if not found(c, rules, marks, calendar)]
            used = marks[np.array([c in cs for c in zip(marks["asset_id"], marks["day"])], bool) & marks["rule"].isin(rules)]["rule"].value_counts().to_dict()
            print(f"  {name:8s}{what:70s} listed {len(cs):5d} found {len(cs) - len(missed):5d}   {used} {'MISSED ' + str(missed) if missed else ''}")
        for what, n, count in COUNTED[name]:
            n = n(read(data, name)[0]) if callable(n) else n
            print(f"  {name:8s}{what:70s} listed {n:5d} found {int(count(marks)):5d}")


def print_others(reports, calendar, off, both):
    panel = marks_of(reports["panel"][0])
    print("\nDAYS on which many names of the panel differ from the vintage by over 1 %: listed, found there by the panel alone")
    for day, n in BAD_DAYS.items():
        names = {a for a, d in off if d == day}
        told = set(panel[(panel["day"] == day) & panel["rule"].isin(WRONG)]["asset_id"])
        print(f"  {day}: listed {n}, differing beside a steady level {len(names)}, of these found {len(names & told)}; found in all {len(told)}")
    early = panel[panel["rule"] == "copied"]
    judged = [(c in off) for c in zip(early["asset_id"], early["day"]) if c in both]
    print(f"\nCOPIED bars: {len(early)}, in no list; of {len(judged)} that the vintage covers it differs by over 1 % from {sum(judged)} (the others moved less than that)")
    print("\nREAL JUMPS that must stay")
    for asset, day in REAL:
        for name in ("panel", "vintage"):
            report = reports[name][0]
            clean = report.clean[report.clean["asset_id"] == asset]
            row = clean[clean["event_time"].dt.strftime("%Y-%m-%d") == day]
            if len(clean) and clean["event_time"].min() < pd.Timestamp(day, tz="UTC") and clean["event_time"].max() > pd.Timestamp(day, tz="UTC") + pd.Timedelta("1D"):
                marks = marks_of(report)
                rules = marks[(marks["asset_id"] == asset) & (marks["day"] == day)]["rule"].tolist()
                print(f"  {name:8s}{asset:5s} {day}: {'kept' if len(row) == 1 else 'LOST'}, flags {row['flags'].tolist()}, told as {rules}")


def print_unlisted(reports, off, both):
    print("\nNOT LISTED, by rules that judge (copied apart)")
    for name, (report, _, _) in reports.items():
        mine = unlisted(name, marks_of(report), off, both)
        for (rule, told), g in mine.groupby(["rule", "told"]):
            shown = ", ".join(f"{a} {d}" for a, d in list(dict.fromkeys(zip(g["asset_id"], g["day"])))[:8])
            print(f"  {name:8s}{rule:12s}{told:10s}{len(g):5d}   {shown}")


def print_rates(reports):
    print("\nRATES")
    for name, (report, rows, seconds) in reports.items():
        severity = report.findings["severity"].value_counts().to_dict()
        flagged = (report.clean["flags"] != "").sum()
        print(f"  {name:8s}{rows:8,d} rows, {1e6*seconds/rows:6.2f} us a row; findings {len(report.findings)} ({severity}), {1e6*len(report.findings)/rows:8.1f} a million; "
              f"quarantined {len(report.quarantine)} ({1e6*len(report.quarantine)/rows:.1f} a million), rows with a flag {flagged} ({1e6*flagged/rows:.1f} a million)")


def print_second_opinion(data, reports, calendar, now):
    print("\nGIVEN THE OTHER PANEL (other=)")
    for name, against in (("panel", "vintage"), ("vintage", "panel")):
        frame, options = read(data, name)
        report = check_bars(frame, calendar, now, **options, other=reports[against][0].clean)
        marks = marks_of(report)
        levels = marks[marks["rule"] == "other_scale"]["asset_id"].unique()
        print(f"  {name:8s}disagreement {int((marks['rule'] == 'disagreement').sum())} bars; another level for a stretch: {len(levels)} assets, "
              f"VFC {'among them' if 'VFC' in levels else 'NOT among them'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--now", default="2026-01-01", help="instant of the check, UTC")
    asked = parser.parse_args()
    calendar, now = Calendar(), pd.Timestamp(asked.now, tz="UTC")
    reports = checked(asked.data, calendar, now)
    off, both = contradicted(reports)
    print_listed(asked.data, reports, calendar)
    print_others(reports, calendar, off, both)
    print_unlisted(reports, off, both)
    print_second_opinion(asked.data, reports, calendar, now)
    print_rates(reports)


if __name__ == "__main__": main()
