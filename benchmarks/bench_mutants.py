"""Would the audit have noticed? Hard leaks are planted in every registered feature, and the audit is run on them.

The panel is simulated: a dozen assets over two years with late listings, delistings, splits and an index that is entered and left. Every leak of
`qtp.causality.mutants` is planted in every feature; mutants that look ahead nowhere on this panel are counted apart, of the others all must be found. What a
smaller budget missed is asked again at `exhaustive`, one feature at a time, and counted apart too.
Many features are audited at once, and what was found is written down at once: a second call goes on where the first was stopped, unless the code of the features
or of the audit has changed. All sorts of leaks together go to `docs/mutants.json`, which the page "The mutation score" shows.
Prints the score by sort of leak and every mutant that was missed. Exit code 1 if one was missed at `exhaustive`, too, or an honest feature was accused.
"""
import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from qtp.causality.mutants import HONEST, MUTATIONS, mutation_score
from qtp.causality.report import AUDIT_VERSION
from qtp.core.files import write_json
from qtp.features.graph import fields_of, leaves
from qtp.features.registry import REGISTRY, load_families, parse_specs
from qtp.features.sets import named_set
from qtp.workbench.console import show_table
from qtp.workbench.experiment import load_experiment
from qtp.workbench.placebo import placebo_market

ROOT = Path(__file__).resolve().parents[1]
PANEL = {"n_assets": 12, "start": "2022-01-03", "end": "2023-12-29"}
AT_ONCE = 240   # features in one audit
FEW = ["log_return", {"price_zscore": {"window": 20}}, {"market_beta": {"window": 60}}, {"momentum_rank": {"window": 20}}, "rsi"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="standard", help="of the audit: quick, standard or exhaustive")
    parser.add_argument("--seed", type=int, default=11, help="of the panel and the audit")
    parser.add_argument("--kinds", nargs="+", default=list(MUTATIONS), choices=list(MUTATIONS), help="sorts of leaks")
    parser.add_argument("--save", type=Path, help="file for the result; docs/mutants.json if every sort is asked at standard with the seed that is the default")
    parser.add_argument("--small", action="store_true", help="five features and three sorts, to see that everything works; nothing is stored")
    parser.add_argument("--anew", action="store_true", help="forget what an earlier call found")
    asked = parser.parse_args()
    bars, members = panel(asked.seed)
    kinds = ["rows", "tiny", "filled edge"] if asked.small else asked.kinds
    kept = Kept(None if asked.small else ROOT/"build"/"mutants"/"answers.jsonl", f"{asked.budget} {asked.seed} {code()}", asked.anew)
    with tqdm(unit="audit") as bar:
        result = mutation_score(specs(bars, asked.small), bars, members, kinds, AT_ONCE, budget=asked.budget, seed=asked.seed, kept=kept, progress=lambda *at: _show(bar, *at))
    left = again(result, specs(bars, asked.small), bars, members, asked.seed)
    whole = kinds == list(MUTATIONS) and (asked.budget, asked.seed) == ("standard", parser.get_default("seed"))
    save = asked.save or (ROOT/"docs"/"mutants.json" if whole else None)
    return report(result, left, asked, kinds, kept, save)


def again(result, specs, bars, members, seed):
    "Mutants, as (feature, kind), that an audit of every session misses as well, of those that were missed."
    by_label, pairs = {s.label: s for s in specs}, tqdm(result.missed, "exhaustive", unit="audit", disable=not result.missed)
    asked = [mutation_score([by_label[f]], bars, members, [kind], budget="exhaustive", seed=seed) for f, kind in pairs]
    return [pair for one in asked for pair in one.missed]


class Kept(dict):
    "What was found, and the CPU seconds that it took, also in a file: one line an audit, marked with the code that it holds for."

    def __init__(self, file, mark, anew):
        self.file, self.mark, self.cpu, self.since = file, mark, {}, time.process_time()
        if file is None: return
        file.parent.mkdir(parents=True, exist_ok=True)
        if anew: file.unlink(missing_ok=True)
        for line in file.read_text().splitlines() if file.exists() else ():
            one = json.loads(line)
            if one["mark"] == mark: self._keep(one["key"], one["states"], one["cpu"])

    def _keep(self, key, states, cpu):
        super().__setitem__(key, states)
        self.cpu[key] = cpu

    def __setitem__(self, key, states):
        now = time.process_time()
        self._keep(key, states, now - self.since)
        self.since = now
        if self.file is None: return
        with self.file.open("a") as out: print(json.dumps({"mark": self.mark, "key": key, "states": states, "cpu": self.cpu[key]}), file=out, flush=True)

    def seconds(self, kind): return round(sum(t for key, t in self.cpu.items() if key.split(":")[0] == kind))


def code():
    "Hash of the code that is asked and that asks."
    files = sorted(f for folder in ("features", "causality") for f in (ROOT/"qtp"/folder).glob("*.py") if not f.name.startswith(("zoo", "lint", "flow", "rules")))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


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


def report(result, left, asked, kinds, kept, save):
    table = result.summary().assign(cpu=[kept.seconds(k) for k in kinds])
    show_table(table.reset_index())
    for feature, kind in result.missed: print(f"missed at {asked.budget}: {kind} in {feature}" + (", and at exhaustive" if (feature, kind) in left else ""))
    for feature in result.false_alarms: print(f"false alarm: {feature}")
    n, equivalent = (int(mask.sum().sum()) for mask in (result.table != "equivalent", result.table == "equivalent"))
    print(f"mutation score {result.score:.4f} at {asked.budget}, {1 - len(left) / n:.4f} once what was missed is asked at exhaustive, of {n} mutants of {len(result.table)} "
          f"features; {equivalent} equivalent, {len(result.false_alarms)} false alarms; {sum(kept.cpu.values()):,.0f} CPU-s")
    rows = [{"mutation": k, "about": MUTATIONS[k].about, "features": len(result.table), **{c: int(table.loc[k, c]) for c in ("found", "equivalent", "cpu")},
             "missed": [f for f, kind in result.missed if kind == k], "missed_exhaustive": [f for f, kind in left if kind == k]} for k in kinds]
    found = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "processor": platform.machine(), "cores": os.cpu_count(), "versions": versions(), "budget": asked.budget,
             "seed": asked.seed, "panel": PANEL, "honest": {"features": len(result.table), "false_alarms": list(result.false_alarms), "cpu": kept.seconds(HONEST)}, "rows": rows}
    if save: write_json(save, found)
    return 0 if not left and not result.false_alarms else 1


def versions(): return {"python": platform.python_version(), "audit": str(AUDIT_VERSION), **{p: importlib.metadata.version(p) for p in ("qtp", "numpy", "pandas", "numba")}}


if __name__ == "__main__": sys.exit(main())
