"""`make bench-data` goes on where it was killed, and refuses a folder that holds another market."""
import subprocess
import sys

from conftest import ROOT

from qtp.core.lake import Lake

SCRIPT = [sys.executable, str(ROOT/"benchmarks"/"make_bench_data.py")]


def fill(folder, *words):
    return subprocess.run([*SCRIPT, "--into", str(folder), *words], capture_output=True, text=True, timeout=120)


def test_killed_and_resumed(tmp_path):
    whole = fill(tmp_path/"whole", "--small")
    assert whole.returncode == 0 and "177,114 rows of bars_5min" in whole.stdout, whole.stderr
    process = subprocess.Popen([*SCRIPT, "--into", str(tmp_path/"killed"), "--small"], stdout=subprocess.PIPE, text=True)
    assert any(line.startswith("2023-05") for line in process.stdout)      # stops reading there
    process.kill()
    process.wait()
    left = fill(tmp_path/"killed", "--small")
    assert left.returncode == 0 and "2023-05" not in left.stdout and "2023-12" in left.stdout, left.stderr
    same = [Lake(tmp_path/name).fingerprint("bars_5min") for name in ("whole", "killed")]
    assert same[0]["hash"] == same[1]["hash"] and same[0]["rows"] == same[1]["rows"] == 177_114
    other = fill(tmp_path/"killed", "--assets", "4", "--years", "1")
    assert other.returncode == 2 and "Name another folder with --into" in other.stderr
