"""Notebooks and the exported package agree: exported, clean, without outputs, one a module, imports in reading order.

Export and cleaning happen in a copy, so an edit that has not been taken home by `nbdev_update` is reported, not lost.
"""
import ast
import filecmp
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HAND_WRITTEN = {"qtp/__init__.py", "qtp/_modidx.py", "qtp/backtest/__init__.py"}


def notebooks(root=ROOT):
    return sorted(p for p in (root/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def code_cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def default_exp(path):
    for cell in code_cells(path):
        found = re.search(r"^#\|\s*default_exp\s+(\S+)", "".join(cell["source"]), re.M)
        if found: return found[1]
    return None


def exported_and_clean():
    "Export and clean a copy; every file that changes is a problem."
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp)/"qtp"
        copy.mkdir()
        for part in ("nbs", "qtp"):
            shutil.copytree(ROOT/part, copy/part, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        for name in ("settings.ini", "setup.py"): shutil.copy(ROOT/name, copy/name)
        for command in ("nbdev_export", "nbdev_clean"): subprocess.run([command], cwd=copy, check=True)
        for p in sorted([*copy.rglob("*.ipynb"), *copy.rglob("*.py")]):
            rel = p.relative_to(copy)
            if not (ROOT/rel).exists(): yield f"{rel}: the export writes it, but it is not there. Run nbdev_export."
            elif not filecmp.cmp(p, ROOT/rel, shallow=False):
                yield f"{rel}: differs after nbdev_export and nbdev_clean. Run nbdev_update (if the .py was edited), nbdev_export, nbdev_clean."


def one_notebook_a_module():
    modules = {}
    for path in notebooks():
        name = default_exp(path)
        if name is None: continue
        target = f"qtp/{name.replace('.', '/')}.py"
        if target in modules: yield f"{path.relative_to(ROOT)}: default_exp {name} is also that of {modules[target]}."
        modules[target] = path.relative_to(ROOT)
    for p in sorted((ROOT/"qtp").rglob("*.py")):
        rel = str(p.relative_to(ROOT))
        if rel in modules or rel in HAND_WRITTEN: continue
        if p.name == "__init__.py" and not p.read_text().strip(): continue
        yield f"{rel}: no notebook exports it. Delete it, or give it a notebook."


def without_outputs():
    for path in notebooks():
        dirty = sum(bool(c["outputs"]) for c in code_cells(path))
        if dirty: yield f"{path.relative_to(ROOT)}: {dirty} cells hold outputs. Run jupyter nbconvert --clear-output --inplace, then nbdev_clean."


def phases_have_parameters():
    for path in (ROOT/"nbs"/"phases").glob("[0-9]*.ipynb"):
        tagged = [c for c in code_cells(path) if "parameters" in c["metadata"].get("tags", [])]
        if len(tagged) != 1: yield f"{path.relative_to(ROOT)}: {len(tagged)} cells are tagged `parameters`, expected 1."


def imports_in_reading_order():
    "Within a package, an exported module imports only from lower-numbered notebooks."
    rank = {default_exp(p): p.name for p in notebooks() if default_exp(p)}
    for module, name in rank.items():
        source = ROOT/"qtp"/f"{module.replace('.', '/')}.py"
        if not source.exists(): continue
        package = module.split(".")[0]
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module: continue
            other = f"{package}.{node.module}" if node.level == 1 else node.module.removeprefix("qtp.")
            if other.split(".")[0] == package and other in rank and rank[other] >= name:
                yield f"qtp/{module.replace('.', '/')}.py:{node.lineno}: imports {other}, whose notebook {rank[other]} comes after {name}."


def main():
    checks = (exported_and_clean, one_notebook_a_module, without_outputs, phases_have_parameters, imports_in_reading_order)
    problems = [p for check in checks for p in check()]
    for p in problems: print(p)
    print(f"{len(notebooks())} notebooks, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__": sys.exit(main())
