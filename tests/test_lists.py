"The lists under `data/universe`: each is read, and what ships as fact agrees with itself."
from pathlib import Path

import pandas as pd

from qtp.data.calendar import Calendar
from qtp.data.symbols import Symbols, read_delistings, read_symbol_changes, sightings, symbol_table

FOLDER = Path(__file__).parents[1] / "data" / "universe"


def test_every_list_is_read():
    known, own = (read_symbol_changes(FOLDER / name) for name in ("known_changes.csv", "symbol_changes.csv"))
    assert len(known) == 20 and len(own) == 0 and len(read_delistings(FOLDER / "delistings.csv")) == 0
    assert known["evidence"].str.len().min() > 10
    assert known["effective_date"].is_monotonic_increasing
    assert len(Calendar().close_of(pd.DatetimeIndex(known["effective_date"]))) == len(known)   # sessions all


def test_known_changes_name_companies():
    known = read_symbol_changes(FOLDER / "known_changes.csv")
    bars = pd.DataFrame({"timestamp": pd.to_datetime(["2013-01-02", "2023-01-03", "2013-01-02", "2023-01-03", "2005-01-03", "2026-01-05"]),
                         "asset_id": ["FB", "META", "HCP", "PEAK", "FISV", "FISV"], "close": 1.0})
    symbols = Symbols(symbol_table(sightings(bars), Calendar(), known))
    assert symbols.asset_ids(bars["asset_id"], bars["timestamp"]).tolist() == ["FB", "FB", "HCP", "HCP", "FISV", "FISV"]
    assert symbols.tickers(["FB", "HCP", "FISV"], "2024-06-03").tolist() == ["META", "DOC", "FI"]
