"""The audit of Qlib expressions and zipline factors, each in an environment of its own.

Makes the environments under `build/elsewhere` (a few minutes the first time), runs the programs of `benchmarks/elsewhere` there and prints what they
print. With `--store` the output goes into the recipes' page, `nbs/causality/09_recipes.ipynb`, with versions and date.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, MARK = ROOT / "nbs" / "causality" / "09_recipes.ipynb", "<!-- elsewhere -->"
NEEDS = {"qlib_expressions": ("pyqlib==0.9.7", "pandas<3", "numpy<2", "setuptools"),
         "zipline_factors": ("zipline-reloaded==3.1.1", "testfixtures", "parameterized", "responses", "coverage")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="store_true", help="put the output into the recipes' page")
    said = {name: run(name, needs) for name, needs in NEEDS.items()}
    for name, (versions, text) in said.items(): print(f"{name}, {versions}\n{text}")
    if parser.parse_args().store: store(said)
    return 0


def run(name, needs):
    "Versions of the environment, and what the program prints there."
    folder, uv = ROOT / "build" / "elsewhere" / name, shutil.which("uv") or Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "--python", "3.11", folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *needs], check=True)
    package = needs[0].partition("==")[0]
    asked = f"from importlib.metadata import version as v; print(', '.join(f'{{p}} {{v(p)}}' for p in ('{package}', 'pandas', 'numpy')))"
    versions = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([python, ROOT / "benchmarks" / "elsewhere" / f"{name}.py"], capture_output=True, text=True, env=env)
    if done.returncode: raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return versions, done.stdout.strip()


def store(said):
    "Put the output behind the mark of the page."
    page = json.loads(PAGE.read_text(encoding="utf-8"))
    cell = next(c for c in page["cells"] if MARK in "".join(c["source"]))
    head = "".join(cell["source"]).split(MARK)[0]
    parts = [f"`{name}.py`, {versions}, {datetime.now(UTC):%Y-%m-%d}:\n\n```\n{text}\n```\n" for name, (versions, text) in said.items()]
    cell["source"] = (head + MARK + "\n\n" + "\n".join(parts)).splitlines(True)
    PAGE.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__": sys.exit(main())
