"""Render README.md from nbs/index.ipynb: `python docs/readme.py`, or `--check` to exit with 1 when it is not current."""
import re
import sys
from pathlib import Path

import nbformat

from qtp.core.files import write_text
from qtp.workbench.report import readable

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Rendered from nbs/index.ipynb by docs/readme.py: edit the notebook. -->"


def readme(
    notebook: Path,  # the index notebook
) -> str:            # Markdown: its prose and its examples, without hidden and test cells
    "The index notebook as one Markdown text; links to neighbouring notebooks are made to hold from the project's folder."
    cells = [c for c in readable(nbformat.read(notebook, as_version=4)).cells if c.cell_type in ("markdown", "code")]
    parts = [f"```python\n{c.source}\n```" if c.cell_type == "code" else _from_root(c.source) for c in cells]
    return "\n\n".join([NOTE, *parts]) + "\n"


def _from_root(text): return re.sub(r"\]\(([\w/]+\.ipynb)\)", r"](nbs/\1)", text)


def main():
    text, path = readme(ROOT / "nbs" / "index.ipynb"), ROOT / "README.md"
    current = path.exists() and path.read_text(encoding="utf-8") == text
    if "--check" in sys.argv[1:]: sys.exit(0 if current else "README.md is not what nbs/index.ipynb says: run `python docs/readme.py`.")
    if not current: write_text(path, text)


if __name__ == "__main__":
    main()
