"""The benchmarks run; what they measure is for `make bench`."""
import subprocess
import sys

import pytest
from conftest import ROOT

SMALL = {"bench_planted": "found", "bench_road": "warm", "bench_lake": "met", "bench_session": "all statistics",
         "bench_mutants": "mutation score", "bench_features": "raw to 50 stored", "bench_rolling": "median over kernels",
         "bench_alpha158": "0 differ"}   # and a word of what they print; the others take minutes even when small


@pytest.mark.parametrize("file", sorted(f for f in ROOT.glob("benchmarks/bench_*.py") if f.stem not in SMALL), ids=lambda p: p.stem)
def test_help(file):
    done = subprocess.run([sys.executable, file, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--small" in done.stdout, done.stderr


@pytest.mark.parametrize("name", SMALL)
def test_small(name):
    done = subprocess.run([sys.executable, ROOT/"benchmarks"/f"{name}.py", "--small"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SMALL[name] in done.stdout
