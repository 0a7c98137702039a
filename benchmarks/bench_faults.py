"""The whole proof of the lake's writes: kill -9 at 20 random instants of a five-million-row ingestion, and at 20 of the rewrite of a month.

Five-minute bars of a simulated market are ingested by a process that is killed and started again, a day later by its clock each time, and left to finish after
three kills; then comes a new lake. After every kill each version of each table is read from its files and compared with what its commit said, and duplicates are
counted. A lake that was finished has the fingerprints of one that was left alone. Files that killed writers left are then removed by `vacuum`, and no others.
Exit code 1 if anything is lost, stands twice or differs. Needs Linux.
"""
import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tests"))
from test_lake_faults import kill_ingest, kill_rewrite  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20240328, help="of the instants")
    parser.add_argument("--kills", type=int, default=20, help="of each")
    parser.add_argument("--small", action="store_true", help="two kills each, of half a million rows and of a hundred thousand")
    asked = parser.parse_args()
    kills = 2 if asked.small else asked.kills
    names = [f"A{i:04}" for i in range(100 if asked.small else 1000)]
    with tempfile.TemporaryDirectory(prefix="qtp-faults-") as folder:
        proofs = {"ingestion": lambda at: kill_ingest(at, 14 if asked.small else 140, "2022-01-03", kills, asked.seed, say),
                  "rewrite": lambda at: kill_rewrite(at, names, 50, 20, kills, asked.seed, say)}
        return max(prove(Path(folder), *proof) for proof in proofs.items())


def prove(folder, name, work):
    say(f"== {name}")
    (folder/name).mkdir()
    try: found = work(folder/name)
    except AssertionError as e:
        say(f"FAILED: {e}")
        return 1
    say(f"{name}: {found['kills']} kills on {found['lakes']} lakes, {found['versions']:,} versions read, 0 rows twice, 0 lost, {found['orphans']} files removed by vacuum, "
        f"{found['seconds']} s")
    return 0


def say(text): print(text, flush=True)


if __name__ == "__main__": sys.exit(main())
