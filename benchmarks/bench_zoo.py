"""The leak zoo put to the auditors that there are: recall, precision and false alarms by mechanism and tier, with the time that each case took.

qtp's audit at three budgets and its lint; plain truncation at three cutoffs; ml4t-diagnostic's `audit_lookahead`; and the linters that the package index has. Each
foreign tool lives in an environment of its own, made with uv under `build/zoo`. A tool runs in one worker process, case by case, and every answer is written down at
once: a second call goes on where the first was stopped, and repeats only cases whose code or whose tool has changed. Results go to `docs/zoo.json`, which the
page "The zoo, judged" shows. What a tool is given: the bars of the case, its function with the records beside the bars bound to it, and nothing else; the adapter
of ml4t-diagnostic turns its long polars frame into the bars that the function wants and the answer into a long frame with its keys.
Exit code 1 if qtp raises a false alarm, or misses a leak at `exhaustive`, or more than one in twenty at `standard`.
"""
import argparse
import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QTP = tuple(f"qtp {b}" for b in ("quick", "standard", "exhaustive"))
TOOLS = ("truncation", *QTP, "ml4t-diagnostic", "qtp lint", "leakguard-mcp", "pandas-vet")
NEEDS = {"ml4t-diagnostic": ("3.12", ["ml4t-diagnostic==0.2.0"]), "leakguard-mcp": ("3.11", ["leakguard-mcp==0.1.1"]),
         "pandas-vet": ("3.11", ["flake8==7.5.0", "pandas-vet==2023.8.2"])}   # tool -> Python, packages
NOT_USED = {"temporal-leaks": "0.1.0: its wheel holds no code, only a marker file", "canli-validation-mcp": "not on the package index"}
QUANTILES = (.4, .6, .8)   # where truncation cuts, the cutoffs that ml4t-diagnostic has by default
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="truncation and the quick budget on one mechanism; nothing is stored or judged")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), help="which of the tools; all if none is named")
    parser.add_argument("--tiers", nargs="+", type=int, choices=(1, 2, 3), default=[1, 2, 3], help="which tiers are asked now; all if none is named")
    parser.add_argument("--cases", nargs="+", help="which cases are asked now, by name; all if none is named")
    parser.add_argument("--limit", type=int, default=600, help="seconds that a case may take, 600 if not named")
    parser.add_argument("--anew", action="store_true", help="forget earlier answers")
    parser.add_argument("--python312", help="interpreter of Python 3.12, which ml4t-diagnostic needs; otherwise uv finds or fetches one")
    parser.add_argument("--worker", choices=TOOLS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker: return work(asked.worker, asked.limit)
    if asked.small: return small(asked.limit)
    kept = ROOT/"build"/"zoo"/"answers.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if asked.anew: kept.unlink(missing_ok=True)
    for tool in asked.tools: run(tool, kept, asked.limit, asked.python312, lambda c: c.tier in asked.tiers and c.name in (asked.cases or [c.name]))
    return judge(store(kept))


# Running a tool ---------------------------------------------------------------------------------------------------------------------

def run(tool, kept, limit, python312, wanted):
    "Every case that has no answer yet, in a worker process of the tool's own environment."
    from tqdm import tqdm
    done, code = {a["key"] for a in answers_in(kept)}, code_of(tool)   # taken once: the worker loads the code now
    todo = [c for c in cases() if wanted(c) and f"{code} {c.name}" not in done]
    if not todo: return
    with start(python_of(tool, python312), tool, limit) as worker, kept.open("a") as out, tqdm(todo, desc=tool, unit="case", mininterval=1) as bar:
        versions = json.loads(worker.stdout.readline())
        for case in bar:
            bar.set_postfix_str(case.name[:30], refresh=False)
            print(case.name, file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if not line: raise SystemExit(f"{tool}: its worker ended at {case.name} with code {worker.wait()}. Run it alone with --tools '{tool}'.")
            answer = {**json.loads(line), "tool": tool, "case": case.name, "key": f"{code} {case.name}", "versions": versions}
            print(json.dumps(answer), file=out, flush=True)
        worker.stdin.close()


def start(python, tool, limit):
    command = [python, str(Path(__file__).resolve()), "--worker", tool, "--limit", str(limit)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def python_of(tool, python312):
    "The interpreter of a tool; its environment is made if there is none."
    if tool not in NEEDS: return sys.executable
    version, packages = NEEDS[tool]
    folder, uv = ROOT/"build"/"zoo"/tool, ROOT/".venv"/"bin"/"uv"
    needs = [*packages, "pandas", "numpy", "scipy", "scikit-learn", "pyarrow"]
    if not (folder/"ready").exists():
        subprocess.run([uv, "venv", "-q", "--clear", "--python", python312 if version == "3.12" and python312 else version, folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", folder/"bin"/"python", *needs], check=True)
        (folder/"ready").write_text(" ".join(needs))
    return str(folder/"bin"/"python")


def cases():
    from qtp.causality.zoo import zoo
    return zoo()


def answers_in(kept): return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def code_of(tool):
    "Hash of whatever a tool's answers depend on: the zoo, the tool's version and, for qtp, its causality modules."
    folder = ROOT/"qtp"/"causality"
    files = [folder/"zoo.py", *sorted(folder.glob("zoo_leaks*.py")), *sorted(folder.glob("zoo_honest*.py"))]
    files += [p for p in sorted(folder.glob("*.py")) if not p.name.startswith(("zoo", "mutants", "replay", "certify"))] if tool.startswith("qtp") else []
    return hashlib.sha256(b"".join([tool.encode(), str(NEEDS.get(tool)).encode(), *[f.read_bytes() for f in files]])).hexdigest()[:16]


# What a worker does -----------------------------------------------------------------------------------------------------------------

def work(tool, limit):
    "Read names of cases, write answers."
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr   # what a tool prints is no answer
    judged = {c.name: c for c in cases()}
    ask = {**{q: partial(by_qtp, budget=q.split()[1]) for q in QTP}, "truncation": by_truncation, "ml4t-diagnostic": by_ml4t, "qtp lint": by_qtp_lint,
           "leakguard-mcp": by_leakguard, "pandas-vet": by_pandas_vet}[tool]
    print(json.dumps(versions_of(tool)), file=answers, flush=True)
    for name in sys.stdin: print(json.dumps(timed(ask, judged[name.strip()], limit)), file=answers, flush=True)


def timed(ask, case, limit):
    "An answer with its wall time and CPU time, children included; `error` where the tool raises or takes too long."
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(f"more than {limit} s")))
    signal.alarm(limit)
    wall, cpu = time.perf_counter(), used()
    try: answer = ask(case)
    except Exception as e: answer = {"verdict": "error", "note": f"{type(e).__name__}: {e}"[:300]}
    finally: signal.alarm(0)
    return {**answer, "wall": round(time.perf_counter() - wall, 3), "cpu": round(used() - cpu, 3)}


def used():
    own, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime


def versions_of(tool):
    foreign = {"ml4t-diagnostic": ["ml4t-diagnostic", "polars", "pandas"], "leakguard-mcp": ["leakguard-mcp"], "pandas-vet": ["pandas-vet", "flake8"]}
    names = foreign.get(tool, ["qtp", "pandas", "numpy"])
    return {"python": platform.python_version(), **{n: importlib.metadata.version(n) if n != "qtp" else qtp_version() for n in names}}


def qtp_version():
    import qtp
    return qtp.__version__


# The auditors -----------------------------------------------------------------------------------------------------------------------

def by_qtp(case, budget):
    from qtp.causality.audit import audit
    from qtp.causality.zoo import zoo_bars
    report = audit(case.function, zoo_bars(case.bars), budget=budget, decision=case.decision, sources=case.sources)
    found = report.violations
    return {"verdict": report.verdict, "note": report.reason[:300], "layers": sorted(set(found["layer"])), "ahead": as_number(found["ahead"]),
            "calls": int(report.coverage["calls"].sum()) if "calls" in report.coverage else None}


def as_number(values): return None if values.isna().all() else float(values.dropna().max())


def by_truncation(case):
    from qtp.causality.zoo import moved, stamps_of, zoo_bars
    bars = zoo_bars(case.bars)
    function, stamps = partial(case.function, **(case.sources or {})), stamps_of(bars)
    counts = [moved(function, bars, stamps[round(q * (len(stamps) - 1))]) for q in QUANTILES]
    return {"verdict": "leak" if any(counts) else "clean", "note": f"{max(counts)} values move"}


def by_ml4t(case):
    from ml4t.diagnostic.evaluation.causality import audit_lookahead
    from qtp.causality.zoo import zoo_bars
    bars = zoo_bars(case.bars)
    function = partial(case.function, **(case.sources or {}))
    report = audit_lookahead(lambda frame: to_polars(function(from_polars(frame, bars, case.bars)), bars), to_polars(bars, bars, case.bars))
    return {"verdict": "clean" if report.is_causal else "leak", "note": ", ".join(sorted({f"{e.corruption}" for e in report.leak_events}))}


def to_polars(out, bars, kind=None):
    "Bars or an answer as a long polars frame with the keys `symbol` and `timestamp`."
    import pandas as pd
    import polars as pl
    if kind == "daily" or isinstance(out, pd.DataFrame) and out.columns.nlevels == 2: long = out.stack("asset_id").reset_index()
    elif isinstance(out, dict): long = pd.concat({k: v.stack() for k, v in out.items()}, axis=1).rename_axis(["timestamp", "asset_id"]).reset_index()
    elif "timestamp" in getattr(out, "columns", ()): long = out.copy()
    elif isinstance(out, pd.DataFrame) and bars.columns.nlevels == 2 and set(out.columns) <= set(bars.columns.unique(1)):
        parts = [pd.DataFrame({"timestamp": out.index, "asset_id": a, "value": out[a].to_numpy()}) for a in out]
        long = pd.concat([bars.index[:0].to_frame().assign(asset_id="", value=0.), *parts], ignore_index=True)
    else: long = (out.to_frame("value") if isinstance(out, pd.Series) else out).rename_axis("timestamp").reset_index().assign(asset_id="ALL")
    long = long.rename(columns={"asset_id": "symbol"})
    long.columns = [c if c in ("symbol", "timestamp") or kind else f"feature_{c}" for c in map(str, long.columns)]
    return pl.DataFrame({c: pl.Series(c, listed(long[c])) for c in long})


def listed(column): return column.to_list() if column.dtype.kind in "OM" or str(column.dtype) in ("str", "string") else column.to_numpy()


def from_polars(frame, bars, kind):
    "The bars that a case wants, out of a long polars frame."
    import pandas as pd
    long = pd.DataFrame({c: frame[c].to_list() for c in frame.columns}).rename(columns={"symbol": "asset_id"})
    stamps = pd.DatetimeIndex(pd.to_datetime(long["timestamp"], utc=True)).as_unit("us")
    long["timestamp"] = stamps
    numbers = [c for c in long if c not in ("timestamp", "asset_id")]
    long[numbers] = long[numbers].astype(float)
    if kind == "long": return long[list(bars.columns)]
    if kind != "daily": return long.set_index("timestamp")[list(bars.columns)]
    return long.pivot(index="timestamp", columns="asset_id").reindex(columns=bars.columns)


# The linters ------------------------------------------------------------------------------------------------------------------------

def source_of(case):
    "The source that a reader of the case sees, without the zoo's decorator."
    function = getattr(case.function, "func", case.function)
    if not inspect.isfunction(function): function = type(function)
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    return "\n".join(["import numpy as np", "import pandas as pd", "", "", *[line for line in lines if not line.startswith("@")]]) + "\n"


def by_qtp_lint(case):
    from qtp.causality.lint import lint
    found = lint(source_of(case))
    return {"verdict": "leak" if found else "clean", "note": ", ".join(sorted({f.rule for f in found}))}


def by_leakguard(case):
    from leakguard.core import LeakGuard
    rules = sorted({f.rule_id for f in LeakGuard().scan(source_of(case))})
    return {"verdict": "leak" if rules else "clean", "note": ", ".join(rules)}


def by_pandas_vet(case):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/"case.py"
        file.write_text(source_of(case))
        done = subprocess.run([sys.executable, "-m", "flake8", "--isolated", "--select", "PD", file], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    rules = sorted({line.split()[1] for line in done.stdout.splitlines()})
    return {"verdict": "leak" if rules else "clean", "note": ", ".join(rules)}


# Results ----------------------------------------------------------------------------------------------------------------------------

def store(kept):
    "Today's answers as one JSON file: what each tool said of each case, with versions and the day."
    from qtp.causality.zoo import blind_spots
    from qtp.core.files import write_json
    found = {(a["tool"], a["case"]): a for a in answers_in(kept)}   # the last of each
    rows, versions, older = [], {}, {}
    for tool in TOOLS:
        code = code_of(tool)
        for c in cases():
            a = found.get((tool, c.name))
            if a is None: continue
            versions[tool] = a["versions"]
            older[tool] = older.get(tool, 0) + (a["key"] != f"{code} {c.name}")
            right = c.leaks == (a["verdict"] == "leak")
            rows.append({"tool": tool, "case": c.name, **{k: a[k] for k in ("verdict", "layers", "ahead", "calls", "wall", "cpu") if a.get(k) is not None},
                         **({} if right else {"note": a["note"][:160]})})
    listed = [{"case": c.name, "leaks": c.leaks, "mechanism": c.mechanism, "tier": c.tier, "layer": c.layer, "expected_ahead": c.ahead, "about": c.about} for c in cases()]
    result = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "processor": platform.machine(), "cores": os.cpu_count(), "versions": versions, "older_code": older,
              "not_used": NOT_USED, "blind_spots": [{"leak": c.name, "why": c.about} for c in blind_spots()], "cases": listed, "rows": rows}
    write_json(ROOT/"docs"/"zoo.json", result)
    return result


def judge(result):
    "Print the table and every case that a budget of qtp gets wrong."
    import pandas as pd

    from qtp.causality.zoo_score import score
    rows = pd.DataFrame(result["rows"]).merge(pd.DataFrame(result["cases"]), on="case")
    print(score(rows, "tool").round(3).to_string())
    for tool, n in result["older_code"].items():
        if n: print(f"{tool}: {n} answers are of earlier code; run it again to replace them.")
    wrong = rows[rows["tool"].isin(QTP) & (rows["leaks"] != (rows["verdict"] == "leak"))]
    print("\nqtp is wrong about:\n" + (wrong[["tool", "case", "mechanism", "tier", "leaks", "verdict", "note"]].to_string(index=False) if len(wrong) else "nothing"))
    table = score(rows, "tool")
    missed = {"qtp exhaustive": 1., "qtp standard": .95}
    return int(any(table.loc[t, "recall"] < r for t, r in missed.items() if t in table.index) or (wrong["leaks"] == False).any())   # noqa: E712


def small(limit):
    warnings.simplefilter("ignore")
    for tool, ask in (("truncation", by_truncation), ("qtp quick", partial(by_qtp, budget="quick"))):
        rows = [(c, timed(ask, c, limit)) for c in cases() if c.mechanism == "shift"]
        right = sum((a["verdict"] == "leak") == c.leaks for c, a in rows)
        print(f"{tool}: {right} of {len(rows)} cases found as they are, {sum(a['cpu'] for _, a in rows):.1f} CPU s")
    return 0


if __name__ == "__main__": sys.exit(main())
