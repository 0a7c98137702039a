"""What `qtp run` costs: wall time, CPU time and peak memory of all its processes, cold and warm.

Cold is the first run of a new home with an empty folder of compiled kernels; warm is the same command once more. Memory is the sum of the processes'
proportional set sizes (shared pages count once), sampled five times a second. Needs Linux.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tests"))
from conftest import Home  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", help="files; params/quick.yaml and params/default.yaml if none is named")
    parser.add_argument("--small", action="store_true", help="measure `qtp params` instead, to see that the measuring works")
    asked = parser.parse_args()
    files = asked.experiments or [str(ROOT/"params"/f"{name}.yaml") for name in ("quick", "default")]
    jobs = {"qtp params": ("params",)} if asked.small else {f"qtp run {Path(f).stem}": ("run", str(Path(f).resolve())) for f in files}
    print(f"{'command':<20} {'state':<6} {'wall, s':>8} {'CPU, s':>8} {'peak, MiB':>10} {'exit':>5}")
    codes = [row["exit"] for name, words in jobs.items() for row in cold_and_warm(name, words)]
    return int(any(codes))


def cold_and_warm(name, words):
    with tempfile.TemporaryDirectory(prefix="qtp-road-") as folder:
        home = Home(folder)
        home.env["NUMBA_CACHE_DIR"] = f"{folder}/kernels"
        for state in ("cold", "warm"):
            row = measure(home, words)
            print(f"{name:<20} {state:<6} {row['wall']:>8.1f} {row['cpu']:>8.1f} {row['peak']:>10.0f} {row['exit']:>5}", flush=True)
            yield row


def measure(home, words):
    "Run a command of `qtp`; its wall and CPU seconds, its peak memory in MiB, its exit code."
    started, used, peak = time.monotonic(), {}, 0
    process = subprocess.Popen([sys.executable, "-m", "qtp.workbench.cli", *words], env=home.env, cwd=home.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        seen = {pid: look(pid) for pid in home.processes()}
        used |= {pid: cpu for pid, (cpu, _) in seen.items() if cpu}
        peak = max(peak, sum(memory for _, memory in seen.values()))
        time.sleep(0.2)
    return {"wall": time.monotonic() - started, "cpu": sum(used.values()), "peak": peak/2**20, "exit": process.returncode}


def look(pid):
    "(CPU seconds so far, proportional set size in bytes) of a process; zeros if it has just ended."
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError: return 0.0, 0
    return (int(stat[11]) + int(stat[12]))/TICK, next((1024*int(line.split()[1]) for line in rollup if line.startswith("Pss:")), 0)


if __name__ == "__main__": sys.exit(main())
