"""The zoo by brute force: every leak executes on its bars, no honest case moves, and none of this uses the audit."""
import multiprocessing

import numpy as np
import pandas as pd
import pytest

from qtp.causality import zoo_leaks_reach as reach
from qtp.causality.zoo import KINDS, Case, blind_spots, differing, ended, moved, stamps_of, zoo, zoo_bars, zoo_table

CASES = zoo()
BESIDE = ("captured", "files", "state", "decision")   # leaks that the end of the bars alone does not show


def named(cases): return pytest.mark.parametrize("case", cases, ids=[c.name for c in cases])


def cuts(case, step=1):
    "Stamps at which to end the world, in no order, so that a leak that acts everywhere is met at once."
    stamps = stamps_of(zoo_bars(case.bars))[:-1]
    return list(np.random.default_rng(0).permutation(len(stamps))[::step]), stamps


def count(case, t):
    "Values that move at `t`; a function that refuses a short sample says nothing."
    try: return moved(case.function, zoo_bars(case.bars), t, case.sources)
    except ValueError: return None


# The list ---------------------------------------------------------------------------------------------------------------------------

def test_the_zoo_is_large_and_varied():
    per = zoo_table().T.groupby("kind").sum()
    assert min(sum(c.leaks for c in CASES), sum(not c.leaks for c in CASES)) >= 60
    assert per.shape[1] >= 15 and per.to_numpy().max() <= 6 and (per > 0).all().all()
    assert {c.tier for c in CASES} == {1, 2, 3} and {c.bars for c in CASES} == set(KINDS)
    assert len({c.name for c in CASES}) == len(CASES) and len({c.about for c in CASES}) == len(CASES)


@named(CASES + blind_spots())
def test_a_case_is_told(case: Case):
    assert case.about.endswith(".") and callable(case.function)
    assert bool(case.layer) == case.leaks and (case.leaks or case.ahead is None)


# Leaks execute, honest cases do not move ---------------------------------------------------------------------------------------------

@named([c for c in CASES if c.leaks and c.mechanism not in BESIDE])
def test_a_leak_executes(case):
    order, stamps = cuts(case)
    assert any(count(case, stamps[i]) for i in order)


@named([c for c in CASES if not c.leaks and c.mechanism != "state"])
def test_an_honest_case_stands_still(case):
    order, stamps = cuts(case, step=16)
    counts = [count(case, stamps[i]) for i in order]
    assert not any(counts) and sum(c is not None for c in counts) > 10


@named([c for c in CASES if not c.leaks and c.sources is None and c.mechanism != "state"])
def test_an_honest_case_ignores_another_future(case):
    bars = zoo_bars(case.bars)
    full, stamps = case.function(bars.copy()), stamps_of(bars)
    for i in (130, 205, 290):
        other = bars.copy()
        later = (other["timestamp"] if case.bars == "long" else other.index) > stamps[i]
        numbers = other.select_dtypes("number").columns
        other.loc[later, numbers] = (other.loc[later, numbers] * 1.7).to_numpy()
        assert differing(full, case.function(other), stamps[i]) == 0


@named([c for c in CASES if c.leaks and c.ahead and c.mechanism not in BESIDE])
def test_bars_ahead_are_exact(case):
    "Where the world ends, rows `ahead` bars before the end stand still, and somewhere the row after them moves."
    bars, stamps = zoo_bars(case.bars), stamps_of(zoo_bars(case.bars))
    full = case.function(bars.copy())
    def moves(i, before): return differing(full, case.function(ended(bars, stamps[i])), stamps[i - before])
    order = [i for i in cuts(case)[0] if 30 < i < len(stamps) - 20]
    assert all(moves(i, case.ahead) == 0 for i in order[:12])
    assert any(moves(i, case.ahead - 1) for i in order)


# Leaks beside the bars ---------------------------------------------------------------------------------------------------------------

T = 200


@named([c for c in CASES if c.mechanism == "decision"])
def test_the_hour_of_the_decision(case):
    "Another rest of the day: fields that are not known at the decision change on one session, and leaks move on it."
    bars = zoo_bars(case.bars)
    known = ["open"] if case.decision == "at_open" else []
    other, rng = bars.copy(), np.random.default_rng(1)
    for field in bars.columns.unique(0).difference([*known, "split_factor"]):
        other.loc[other.index[T], field] = (other.loc[other.index[T], field] * rng.uniform(.8, 1.2, 12)).to_numpy()
    full, again = case.function(bars), case.function(other)
    assert (differing(full, again, bars.index[T]) > 0) == case.leaks
    assert differing(full, again, bars.index[T - 1]) == 0


def with_global(name, value, function):
    def call(bars):
        kept = vars(reach)[name]
        vars(reach)[name] = value
        try: return function(bars)
        finally: vars(reach)[name] = kept
    return call


REBUILT = {   # the function as it would be if the tables that it holds had been made of other prices
    "closure_over_prices": reach.remembering,
    "global_of_a_helper": lambda p: with_global("PRICES", p, reach.global_of_a_helper),
    "bound_array": lambda p: lambda bars: reach.read_from_array(bars, p.to_numpy()),
    "default_table": lambda p: lambda bars: reach.default_table(bars, p),
    "fitted_instance": reach.Standardiser,
    "table_in_a_dict": lambda p: with_global("TABLES", {"moves": p.pct_change().shift(-1)}, reach.table_in_a_dict),
}


@named([c for c in CASES if c.leaks and c.mechanism == "captured"])
def test_a_captured_table_tells_the_future(case):
    bars, prices = zoo_bars(), reach.PRICES
    t, other = bars.index[T], prices.copy()
    other.loc[other.index > t] *= np.linspace(.5, 2, 12)
    pd.testing.assert_frame_equal(REBUILT[case.name](prices)(bars), case.function(bars))
    assert differing(case.function(bars), REBUILT[case.name](other)(bars), t) > 0
    assert count(case, t) == 0 or case.name == "bound_array"


@named([c for c in CASES if c.mechanism == "files"])
def test_a_file_tells_the_future(case, tmp_path, monkeypatch):
    bars, full = zoo_bars(), case.function(zoo_bars())
    t, other = bars.index[T], reach.PRICES.copy()
    other.loc[other.index > t] *= np.linspace(.5, 2, 12)
    monkeypatch.setattr(reach, "FOLDER", reach.write_tables(other, tmp_path))
    assert (differing(full, case.function(bars), t) > 0) == case.leaks


def answer(pipe, name, t):
    case = next(c for c in zoo() if c.name == name)
    pipe.send(case.function(ended(zoo_bars(), t)))


def fresh(name, t):
    "What a process answers that never called the function before."
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer, args=(theirs, name, t))
    child.start()
    out = ours.recv()
    child.join()
    return out


@named([c for c in CASES if c.mechanism == "state"])
def test_a_memory_tells_the_future(case):
    "In a fresh process the end of the world shows what in one process the first call hides."
    bars = zoo_bars()
    t, last = bars.index[T], bars.index[-1]
    full = fresh(case.name, last)
    assert (differing(full, fresh(case.name, t), t) > 0) == case.leaks
    case.function(bars)
    assert count(case, t) == 0


@named(blind_spots())
def test_a_blind_spot_is_silent(case):
    order, stamps = cuts(case, step=16)
    assert not any(count(case, stamps[i]) for i in order)
