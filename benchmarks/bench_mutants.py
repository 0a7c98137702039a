"""Would the audit have noticed? Hard leaks are planted in every registered feature, and the audit is run on them.

The panel is simulated: a dozen assets over two years with late listings, delistings, splits and an index that is entered and left. Every leak of
`qtp.causality.mutants` is planted in every feature; mutants that change no value on this panel are counted apart, of the others all must be found.
Prints the score by sort of leak and every mutant that was missed. Exit code 1 if one was missed or an honest feature was accused.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from qtp.causality.mutants import MUTATIONS, mutation_score
from qtp.features.graph import fields_of, leaves
from qtp.features.registry import REGISTRY, load_families, parse_specs
from qtp.features.sets import named_set
from qtp.workbench.console import show_table
from qtp.workbench.experiment import load_experiment
from qtp.workbench.placebo import placebo_market

PANEL = {"n_assets": 12, "start": "2022-01-03", "end": "2023-12-29"}
FEW = ["log_return", {"price_zscore": {"window": 20}}, {"market_beta": {"window": 60}}, {"momentum_rank": {"window": 20}}, "rsi"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="standard", help="of the audit: quick, standard, exhaustive or seconds")
    parser.add_argument("--seed", type=int, default=11, help="of the panel and the audit")
    parser.add_argument("--kinds", nargs="+", default=list(MUTATIONS), choices=list(MUTATIONS), help="sorts of leaks")
    parser.add_argument("--save", type=Path, help="file for the result, as JSON")
    parser.add_argument("--small", action="store_true", help="five features and three sorts, to see that everything works")
    asked = parser.parse_args()
    bars, members = panel(asked.seed)
    kinds = ["rows", "tiny", "filled edge"] if asked.small else asked.kinds
    began = time.process_time()
    with tqdm(unit="audit") as bar:
        result = mutation_score(specs(bars, asked.small), bars, members, kinds, budget=asked.budget, seed=asked.seed, progress=lambda *at: _show(bar, *at))
    seconds = time.process_time() - began
    return report(result, asked, seconds)


def _show(bar, done, of, text):
    bar.total = of
    bar.set_description(text, refresh=False)
    bar.update(1)


def panel(seed):
    market = placebo_market(load_experiment({"data": PANEL}), seed)
    sector = pd.concat({"sector": fields_of(market)["sector"]}, axis=1, names=market.bars.columns.names)
    return pd.concat([market.bars, sector], axis=1).sort_index(axis=1), market.members


def specs(bars, small):
    "Every registered feature once with its defaults, and the further parameter sets of the set `all`."
    load_families()
    if small: return parse_specs(FEW)
    found = {s.label: s for items in (list(REGISTRY), named_set("all", bars.columns.unique(0))) for s in parse_specs(items)}
    have = {*bars.columns.unique(0), "members"}
    return [s for s in found.values() if leaves(s.name, have) <= have]


def report(result, asked, seconds):
    show_table(result.summary().reset_index())
    for feature, kind in result.missed: print(f"missed: {kind} in {feature}")
    for feature in result.false_alarms: print(f"false alarm: {feature}")
    print(f"mutation score {result.score:.4f} of {int((result.table != 'equivalent').sum().sum())} mutants of {len(result.table)} features; "
          f"{int((result.table == 'equivalent').sum().sum())} equivalent, {len(result.false_alarms)} false alarms; {seconds:,.0f} CPU-s")
    found = {"budget": asked.budget, "seed": asked.seed, "panel": PANEL, "features": len(result.table), "score": result.score, "cpu_seconds": round(seconds),
             "summary": result.summary().reset_index().to_dict("records"), "missed": result.missed, "false_alarms": list(result.false_alarms)}
    if asked.save: asked.save.write_text(json.dumps(found, indent=1))
    return 0 if not result.missed and not result.false_alarms else 1


if __name__ == "__main__": sys.exit(main())
