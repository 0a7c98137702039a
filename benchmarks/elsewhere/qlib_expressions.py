"""Qlib expressions under the audit: three that look back, three that do not.

Run by `benchmarks/recipes_elsewhere.py` in an environment that has pyqlib; qtp is found on the path and needs numpy and pandas alone.
"""
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import qlib
from qlib.config import C
from qlib.data import D
from qlib.data.cache import H

from qtp.causality.audit import audit

NAMES = ("A", "B", "C", "D")
STAMPS = pd.bdate_range("2022-01-03", periods=220, name="datetime")
CLOSE = 50 * np.exp(np.random.default_rng(0).normal(0, .02, (len(STAMPS), len(NAMES))).cumsum(0))
EXPRESSIONS = ("$close/Mean($close, 20)-1", "Slope($close, 10)/$close", "Rank($close, 20)",
               "Ref($close, -2)/Ref($close, -1)-1", "$close/Mean(Ref($close, -5), 10)-1", "Max(Ref($close, -1), 3)")


def store(folder, bars):
    "A binary store of one world."
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("calendars", "instruments"): (folder / part).mkdir(parents=True)
    days = bars.index.strftime("%Y-%m-%d")
    (folder / "calendars" / "day.txt").write_text("\n".join(days))
    (folder / "instruments" / "all.txt").write_text("\n".join(f"{a}\t{days[0]}\t{days[-1]}" for a in bars["close"].columns))
    for asset, column in bars["close"].items():
        (folder / "features" / asset.lower()).mkdir(parents=True)
        np.hstack([0, column.to_numpy()]).astype("<f4").tofile(folder / "features" / asset.lower() / "close.day.bin")


def expression(text, folder):
    "A Qlib expression as a function of bars: what the audit takes."
    def compute(bars):
        store(folder, bars)
        H.clear()
        return D.features(list(bars["close"].columns), [text], freq="day").iloc[:, 0].unstack(0).reindex(bars.index)
    compute.__name__ = "expression"
    return compute


def main():
    folder = Path(tempfile.mkdtemp())
    bars = pd.concat({"close": pd.DataFrame(CLOSE, STAMPS, NAMES)}, axis=1)
    store(folder, bars)
    qlib.init(provider_uri=str(folder), logging_level=logging.ERROR, kernels=1)
    C["joblib_backend"] = "sequential"
    for text in EXPRESSIONS:
        report = audit(expression(text, folder), bars, budget="quick")
        ahead = report.violations["ahead"].max() if len(report.violations) else 0
        print(f"{text:<34} {report.verdict:<13} {f'reads {ahead} bars ahead' if ahead else ''}".rstrip())


if __name__ == "__main__": main()
