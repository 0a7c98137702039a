"""Build the docs site out of the notebooks: `python docs/build.py [--no-execute]`, then open _docs/index.html.

A copy of every notebook is executed (results are kept by content hash), nbdev processes the copies (`show_doc`, hidden and exported
cells), each becomes one Markdown page, and mkdocs-material renders them. Nothing is fetched: no font, no script, no image.
"""
import argparse
import ast
import base64
import hashlib
import html
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import qtp
import yaml
from fastcore.docments import docments

from qtp.core.files import write_text
from qtp.workbench.report import draw_math, sanitise

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "docs"
SOURCE, CACHE, PAGES = WORK / "source", WORK / "executed", WORK / "pages"
LAYERS = ("core data labels evaluation features causality models execution backtest validation options serving monitoring workbench phases").split()
ROOMS = {   # what each package is for, as the sidebar's first page says it
    "core": "Time, frames, errors, settings, lake, tracking, certificate.", "data": "Calendar, providers, simulation, quality, adjustment, universe, ingestion.",
    "labels": "What a score is meant to predict, and how much each label counts.", "evaluation": "How well scores rank.",
    "features": "Declaring, computing and choosing features.", "causality": "Proof that nothing looked ahead.", "models": "Purged splits, models, training.",
    "execution": "Costs, fills, position sizes.", "backtest": "A ledger that reconciles, its metrics and its tear sheet.",
    "validation": "Gates, sensitivity, benchmark, the untouched final span.", "options": "Greeks, implied volatility, exposure.",
    "serving": "Predictions and rankings in a database.", "monitoring": "Drift, alerts, retraining, promotion.",
    "workbench": "Experiments, the runner, reports, the command line.", "phases": "The road: ten notebooks, run in order."}


# Copies, executed ------------------------------------------------------------------------------------------------------------------

def notebooks():
    "Every notebook of the project, index first, then in the order of packages and numbers."
    found = [p.relative_to(ROOT / "nbs") for p in (ROOT / "nbs").rglob("*.ipynb") if not any(x.startswith((".", "_")) for x in p.parts[len(ROOT.parts):])]
    rank = {None: -1, **{name: i for i, name in enumerate(LAYERS)}}
    front = ["index", "decisions", "deliverables"]
    return sorted(found, key=lambda p: (rank.get(p.parent.name or None, 99), front.index(p.stem) if p.stem in front else 99, p.name))


def modules_in(text):
    "Files of the library that a text names: `qtp.core.lake`, a whole package, or a shortcut such as `qtp.audit`."
    named = re.findall(r"\bqtp((?:\.\w+)+)", text) + [f".{n}" for group in re.findall(r"from qtp import ([\w, ]+)", text) for n in re.split(r"[, ]+", group)]
    named = [qtp._SHORTCUTS.get(n[1:].split(".")[0], f"qtp{n}")[4:].split(".") if n[1:].split(".")[0] in qtp._SHORTCUTS else n[1:].split(".") for n in named]
    found = set()
    for parts in named:
        file, package = ROOT / "qtp" / Path(*parts[:2]).with_suffix(".py"), ROOT / "qtp" / parts[0]
        found |= {file} if file.is_file() and len(parts) > 1 else set(package.glob("*.py")) if package.is_dir() else set()
    return found


def key(path):
    "Hash of a notebook and of every module that it reaches: an executed copy is good while these are what they were."
    texts, todo = {}, {ROOT / "nbs" / path}
    while todo:
        file = todo.pop()
        texts[file] = file.read_text(encoding="utf-8")
        own = re.search(r"default_exp ([\w.]+)", texts[file])
        todo |= modules_in(texts[file] + (f" qtp.{own[1]}" if own else "")) - set(texts)
    return hashlib.sha256("".join(f"{f.relative_to(ROOT)}\0{texts[f]}\0" for f in sorted(texts)).encode()).hexdigest()


def copy(path, execute):
    "The copy that nbdev will process: executed now, from an earlier build, or as it is."
    text = (ROOT / "nbs" / path).read_text(encoding="utf-8")
    kept = CACHE / f"{key(path)}.ipynb"
    if execute and not kept.exists() and (made := run(nbformat.reads(text, 4), path)): write_text(kept, made)
    made, target = with_intro(nbformat.reads(kept.read_text(encoding="utf-8") if kept.exists() else text, 4)), SOURCE / "nbs" / path
    if not target.exists() or target.read_text(encoding="utf-8") != made: write_text(target, made)
    return kept


def with_intro(nb):
    "nbdev reads the first cell as title and summary and drops what follows: the introduction gets a cell of its own."
    first = nb.cells[0 if nb.cells[0].cell_type == "markdown" else 1]
    head, _, intro = first.source.partition("\n\n> ")
    summary, _, intro = intro.partition("\n\n")
    if intro:
        first.source = f"{head}\n\n> {' '.join(summary.split())}"
        nb.cells.insert(nb.cells.index(first) + 1, nbformat.v4.new_markdown_cell(intro, id=f"{first.get('id', 'x')}-intro"))
    return nbformat.writes(nb)


FAILED = []   # notebooks that did not execute; their pages show code without results


def run(nb, path):
    "Execute a notebook in a process of its own, leaving out what is marked slow, net or not to be evaluated."
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    print(f"executing {path}", flush=True)
    for cell in nb.cells:
        if cell.cell_type == "code" and re.search(r"^#\|\s*(slow|net|eval:\s*false)\b", cell.source, re.M): cell.metadata["tags"] = ["skip-execution"]
    folder = SOURCE / "nbs" / path.parent
    folder.mkdir(parents=True, exist_ok=True)
    quiet, inline = ["--log-level=ERROR"], {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    client = NotebookClient(nb, timeout=900, kernel_name="python3", extra_arguments=quiet, resources={"metadata": {"path": str(folder)}})
    try: client.execute(env=inline)
    except CellExecutionError as e:
        FAILED.append(f"{path}: {e.ename}: {e.evalue}"[:400])
        return None
    return nbformat.writes(nb)


def copies(execute, workers):
    "All copies; what no notebook stands behind any more is removed."
    wanted = notebooks()
    write_settings()
    with ThreadPoolExecutor(workers) as pool: kept = list(pool.map(lambda p: copy(p, execute), wanted))
    for base in (SOURCE / "nbs", SOURCE / "_proc"):
        for old in base.rglob("*.ipynb"):
            if old.relative_to(base) not in wanted: old.unlink()
    if execute:
        for old in set(CACHE.glob("*.ipynb")) - set(kept): old.unlink()
    return wanted


def write_settings():
    "The project's settings, but nbdev runs no exported cell: entries are made from the installed modules, in one process."
    text = re.sub(r"^skip_procs =.*$", "skip_procs = exec_show_docs,add_links", (ROOT / "settings.ini").read_text(encoding="utf-8"), flags=re.M)
    file = SOURCE / "settings.ini"
    if not file.exists() or file.read_text(encoding="utf-8") != text: write_text(file, text)


def process():
    "nbdev's own processing of notebooks for documentation; its command line would install Quarto first, so its function is called."
    code = "from nbdev.serve import proc_nbs; proc_nbs(n_workers=1)"
    subprocess.run([sys.executable, "-c", code], cwd=SOURCE, check=True)


# One notebook, one page -------------------------------------------------------------------------------------------------------------

def page_of(path):
    "features/03_liquidity.ipynb -> features/liquidity.md"
    return path.with_name(re.sub(r"^\d+[a-z]?_", "", path.stem) + ".md") if path.parent.name != "phases" else path.with_suffix(".md")


def markdown(nb, path, index):
    "The processed notebook as Markdown: prose, API entries, examples with what they show."
    module = next((m[1] for c in nb.cells_source if (m := re.search(r"#\|\s*default_exp\s+(\S+)", c))), None)
    parts, said = [], "Figure"
    for cells in grouped(nb.cells):
        for cell in cells:
            if cell.cell_type == "raw": parts.append(front(cell.source)); continue
            source = re.sub(r"^\s*#\|.*\n?", "", cell.source, flags=re.M).strip()
            if cell.cell_type == "markdown":
                if source.startswith("<!-- WARNING"): continue
                said = " ".join(re.sub(r"[#>*`$|_\[\]\"]", "", source).split())[:120] or said
                parts.append(linked(draw_math(plain_links(source, path)), path, index))
            elif source.startswith("show_doc("): parts.append(api(module, source[9:-1].split(",")[0], path, index))
            elif source: parts += [example(source), *[shown(o, path, said) for o in cell.get("outputs", [])]]
    return "\n\n".join(p for p in parts if p) + "\n"


def grouped(cells):
    "nbdev puts the entries of one cell in backwards order: runs of entries are put as they stand in the source."
    run = []
    for cell in cells:
        if cell.cell_type == "code" and "show_doc(" in cell.source: run.append(cell); continue
        if run: yield in_order(run)
        run = []
        yield [cell]
    if run: yield in_order(run)


def in_order(run): return sorted(run, key=lambda c: c.metadata.get("line", 0))


def front(raw):
    "Title and summary, which nbdev moves into a raw cell."
    meta = yaml.safe_load(raw.strip().strip("-")) or {}
    return f"# {meta.get('title', '')}" + (f"\n\n> {meta['description']}" if meta.get("description") else "")


def plain_links(text, path):
    "Links to neighbouring notebooks become links to their pages."
    def target(m):
        if re.match(r"[a-z]+:|#", m[1]): return m[0]
        base, _, anchor = m[1].partition("#")
        there = (Path(path).parent / base).as_posix() if base.endswith(".ipynb") else None
        if there is None: return m[0]
        return f"]({relative(page_of(Path(os.path.normpath(there))), path)}{'#' + anchor if anchor else ''})"
    return re.sub(r"\]\(([^)\s]+)\)", target, text)


def relative(page, path): return os.path.relpath(page, page_of(path).parent).replace(os.sep, "/")


def linked(text, path, index):
    "Names in backquotes lead to their entry, unless several modules share the name."
    def link(m):
        name = m[1].removesuffix("()")
        home = index.get(name.removeprefix("qtp."))
        return f"[`{m[1]}`]({relative(home, path)}#{name.split('.')[-1]})" if home and home != page_of(path) else m[0]
    blocks = re.split(r"(```.*?```|<[^>]+>)", text, flags=re.S)
    return "".join(b if i % 2 else re.sub(r"(?<![\[`])`([\w.]+(?:\(\))?)`(?!\])", link, b) for i, b in enumerate(blocks))


def example(source):
    "Code of an example; imports alone are folded."
    fence = f"```python\n{source}\n```"
    try: body = ast.parse(source).body
    except SyntaxError: return fence
    if body and all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in body):
        return '??? imports "Imports"\n\n' + "\n".join(f"    {line}" for line in fence.splitlines())
    return fence


def shown(output, path, said):
    "One output: a figure becomes a file, a table is sanitised, text is shown as text."
    if output.output_type == "error": return block(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output.traceback)))
    if output.output_type == "stream": return block(output.text) if output.name == "stdout" else ""
    data = output.data
    if "text/html" in data: return f'<div class="out">\n{flat(sanitise(data["text/html"]))}\n</div>'
    if "image/png" in data: return picture(base64.b64decode(data["image/png"]), path, said)
    if "text/markdown" in data: return draw_math(data["text/markdown"])
    return block(data.get("text/plain", ""))


def flat(fragment): return re.sub(r"\n\s*\n+", "\n", fragment)


def block(text, most=40):
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).rstrip().splitlines()
    lines = [*lines[:most], f"… {len(lines) - most} more lines"] if len(lines) > most else lines
    return f'<div class="out"><pre>{html.escape(chr(10).join(x or " " for x in lines))}</pre></div>' if lines else ""


def picture(png, path, said):
    file = PAGES / "figures" / f"{hashlib.sha256(png).hexdigest()[:20]}.png"
    if not file.exists(): file.parent.mkdir(parents=True, exist_ok=True); file.write_bytes(png)
    return f'<div class="out" markdown>![{said}]({relative(file.relative_to(PAGES), path)})</div>'


# API entries ------------------------------------------------------------------------------------------------------------------------

def api(module, name, path, index):
    "One entry: heading, what it does, one line an argument; a class with its public methods."
    thing = importlib.import_module(f"qtp.{module}")
    for part in name.split("."): thing = getattr(thing, part)
    parts = [f"### {name} {{ #{name.split('.')[-1]} }}", signature(thing), described(thing, path, index), arguments(thing, path, index)]
    if inspect.isclass(thing):
        for method, f in vars(thing).items():
            called = not isinstance(f, property)
            f = f.__func__ if isinstance(f, (classmethod, staticmethod)) else f.fget if isinstance(f, property) else f
            if method.startswith("_") or not inspect.isfunction(f) or not f.__doc__: continue
            parts += [f"#### {thing.__name__}.{method} {{ #{thing.__name__}.{method} }}", signature(f) if called else "", described(f, path, index), arguments(f, path, index)]
    return '<div class="api" markdown>\n\n' + "\n\n".join(p for p in parts if p) + "\n\n</div>"


def signature(thing):
    "The call on one line, as far as there is one to make."
    if inspect.isclass(thing) and issubclass(thing, Exception): return ""
    try: sig = inspect.signature(thing)
    except (TypeError, ValueError): return ""
    params = [p.replace(annotation=p.empty) for p in sig.parameters.values() if p.name not in ("self", "cls")]
    text = re.sub(r"<(?:function |class )?'?([\w.]+).*?>", r"\1", str(inspect.Signature(params)))
    return f'<p class="call"><code>{html.escape(thing.__name__ + text)}</code></p>'


def described(thing, path, index):
    doc = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and doc.startswith(f"{thing.__name__}("): doc = ""   # what a dataclass says of itself when nobody did
    return linked(draw_math(doc), path, index)


def arguments(thing, path, index):
    try: known = docments(thing, full=True, returns=True)
    except (TypeError, ValueError, OSError): return ""
    said = lambda a: a["docment"] or a["anno"] not in (inspect.Parameter.empty, None)
    rows = [argument(name, known[name]) for name in known if name not in ("self", "cls", "return") and said(known[name])]
    back = known.get("return")
    if back and said(back):
        rows.append(f'<dt class="returns">returns<small>{kind(back["anno"])}</small></dt><dd>{words(back["docment"])}</dd>')
    return '<dl class="args">' + "".join(rows) + "</dl>" if rows else ""


def argument(name, known):
    default = "" if known["default"] is inspect.Parameter.empty else f" = {short(known['default'])}"
    return f"<dt><code>{name}</code><small>{kind(known['anno'])}{html.escape(default)}</small></dt><dd>{words(known['docment'])}</dd>"


def kind(anno):
    if anno is inspect.Parameter.empty or anno is None: return ""
    text = anno if isinstance(anno, str) else getattr(anno, "__name__", str(anno)) if isinstance(anno, type) else str(anno)
    return html.escape(re.sub(r"\b(?:[A-Za-z_]\w*\.)+(\w+)", r"\1", text))


def short(value):
    text = getattr(value, "__name__", None) or repr(value)
    return re.sub(r" at 0x[0-9a-f]+", "", text if len(text) < 60 else text[:57] + "…")


def words(text): return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(" ".join((text or "").split()), quote=False)) or "&nbsp;"


# The site ---------------------------------------------------------------------------------------------------------------------------

def exported(path):
    "Public names that a notebook exports, from its module as it stands on disk."
    module = module_of(path)
    file = ROOT / "qtp" / (module.replace(".", "/") + ".py") if module else None
    if file is None or not file.exists(): return []
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]


def module_of(path):
    found = re.search(r"#\|\s*default_exp\s+(\S+?)(?:\\n|\"|\s)", (SOURCE / "nbs" / path).read_text(encoding="utf-8"))
    return found[1] if found else None


def name_index(paths):
    "Public name -> the page with its entry; a name that two modules export leads nowhere."
    homes = {}
    for path in paths:
        for name in exported(path): homes.setdefault(name, []).append(page_of(path))
        if module_of(path): homes.setdefault(module_of(path), []).append(page_of(path))
    return {name: pages[0] for name, pages in homes.items() if len(pages) == 1}


def lines_of(path):
    "Name -> its line in the module, to put entries as they stand in the source."
    module = module_of(path)
    file = ROOT / "qtp" / (module.replace(".", "/") + ".py") if module else None
    tree = ast.parse(file.read_text(encoding="utf-8")) if file and file.exists() else ast.Module([], [])
    return {n.name: n.lineno for n in tree.body if hasattr(n, "name")}


def write_pages(paths):
    "All pages, and a first page for each package; returns the navigation."
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "assets", PAGES / "assets")
    index, titles, summaries = name_index(paths), {}, {}
    for path in paths:
        nb, lines = nbformat.read(SOURCE / "_proc" / path, 4), lines_of(path)
        for cell in nb.cells:
            if m := re.search(r"show_doc\((\w+)", cell.source): cell.metadata["line"] = lines.get(m[1], 0)
        nb.cells_source = [f"#| default_exp {module_of(path)}"] if module_of(path) else []
        text = markdown(nb, path, index)
        titles[path] = (re.search(r"^# (.+)$", text, re.M) or [0, path.stem])[1]
        summaries[path] = (re.search(r"^> (.+)$", text, re.M) or [0, ""])[1]
        write_text(PAGES / page_of(path), text)
    titles[Path("index.ipynb")] = "Overview"
    front = [{titles[p]: str(page_of(p))} for p in paths if p.parent == Path(".")]
    return [*front, *[section(n, paths, titles, summaries, index) for n in LAYERS if any(p.parent.name == n for p in paths)]]


def section(name, paths, titles, summaries, index):
    "A package: its first page lists the modules, and its notebooks follow in order."
    mine = [p for p in paths if p.parent.name == name]
    rows = [f"| [{titles[p]}]({page_of(p).name}) | {summaries[p]} | {', '.join(f'`{n}`' for n in exported(p)[:6])} |" for p in mine]
    home = Path(name) / "_.ipynb"
    table = linked("\n".join(["| Notebook | | Names |", "|---|---|---|", *rows]), home, index)
    write_text(PAGES / name / "index.md", f"# {name}\n\n> {ROOMS.get(name, '')}\n\n{table}\n")
    return {name: [f"{name}/index.md", *[{titles[p]: str(page_of(p))} for p in mine]]}


def site(nav, strict):
    "Render with mkdocs; the page order is the only thing added to mkdocs.yml."
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    config.update(nav=nav, docs_dir=str(PAGES), site_dir=str(ROOT / "_docs"))
    write_text(WORK / "mkdocs.yml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--clean", "-f", str(WORK / "mkdocs.yml"), *(["--strict"] if strict else [])]
    subprocess.run(command, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


def fetched():
    "Anything a page would load from elsewhere: there must be nothing."
    wanted = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="?(https?:)?//[^"> ]+')
    return [f"{p.relative_to(ROOT)}: {m[0][:120]}" for p in (ROOT / "_docs").rglob("*.html") for m in wanted.finditer(p.read_text(encoding="utf-8"))
            if 'rel="canonical"' not in m[0] and 'rel="next"' not in m[0]]


def main():
    parser = argparse.ArgumentParser(description="Build the docs site into _docs/.")
    parser.add_argument("--no-execute", action="store_true", help="show results of earlier builds only, execute nothing")
    parser.add_argument("--workers", type=int, default=2, help="notebooks executed at once")
    parser.add_argument("--lenient", action="store_true", help="let warnings of mkdocs pass")
    args = parser.parse_args()
    paths = copies(not args.no_execute, args.workers)
    process()
    site(write_pages(paths), strict=not args.lenient)
    if FAILED: sys.exit("these notebooks did not execute, so their pages lack results:\n" + "\n".join(FAILED))
    if outside := fetched(): sys.exit("pages load from elsewhere:\n" + "\n".join(outside[:10]))
    print(f"{len(paths)} notebooks -> _docs/index.html")


if __name__ == "__main__":
    main()
