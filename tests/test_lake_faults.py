"""The lake under kill -9, other writers, full disks, damage and wrong clocks: the last good version stays, nothing twice, nothing lost."""
import gzip
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import time
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Home
from deltalake import DeltaTable, write_deltalake
from replay import Answer, Replay
from typer.testing import CliRunner

from qtp.core.errors import DataError, LakeError
from qtp.core.lake import Lake
from qtp.core.records import Content, content_of
from qtp.data.calendar import Calendar
from qtp.data.ingest import ingest
from qtp.data.providers import FileProvider, SimulatedProvider
from qtp.workbench.cli import app

TABLE, NOW, DAY = "bars_5min", pd.Timestamp("2024-02-01 06:00", tz="UTC"), pd.Timedelta("1D")
SEED = 20240328


def bars(day, names="ABCD", slots=50, fetched=NOW, add=0.0):
    "Five-minute records of one day; the same arguments give the same rows."
    ends = pd.date_range(pd.Timestamp("2024-01-02 15:00", tz="UTC") + day*DAY, periods=slots, freq="5min", unit="us").repeat(len(names))
    close = 100 + add + np.random.default_rng(day).standard_normal(len(ends)).round(3)
    return pd.DataFrame({"timestamp": ends, "event_time": ends, "asset_id": list(names)*slots, "close": close, "ingested_at": fetched})


# Processes of their own, forked from one that has imported everything and done nothing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["qtp.data.ingest", "qtp.workbench.cli", "qtp.workbench.runner", "deltalake.transaction", "hypothesis", "pandera.pandas", "pytest",
                                  "typer.testing"])


class Process:
    "One piece of work in a process of its own: `kill` ends it with kill -9, `wait` gives what it answers."

    def __init__(self, work, *args):
        self.answer, theirs = PROCESSES.Pipe(duplex=False)
        self.process = PROCESSES.Process(target=obey, args=(theirs, work, *args))
        self.process.start()
        theirs.close()
        assert self.answer.recv() == "begun"

    def kill(self):
        "Whether it was still at work."
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def wait(self):
        told = self.answer.recv()
        self.process.join()
        return told


def obey(answer, work, *args):
    answer.send("begun")
    try: answer.send(work(*args))
    except LakeError as e: answer.send(f"LakeError: {e}")


def do_appends(root, name, days, gate=None, options=None):
    "Append days one after the other, each when the gate opens; what was appended, what was skipped."
    lake, told = Lake(root, options=options), []
    for day in days:
        if gate: gate.wait()
        done = lake.append(TABLE, bars(day, name))
        told.append((done.appended, done.skipped))
    return told


def do_ingest(root, assets, start, now):
    return ingest(market(assets, start), Lake(root), Calendar(), now).rows


def market(assets, start): return SimulatedProvider(n_assets=assets, start=start, end="2023-12-29", freq="5min")


def do_rewrite(root, part): return Lake(root).rewrite(TABLE, part)


# What must hold whatever happened: told from the files themselves, not by the lake

def read_every_version(lake):
    "Read each version of each table from its own files; versions read. What they hold is what the commit said."
    n = 0
    for table in lake.tables():
        said, held, path = lake.history(table).set_index("version")["hash"], {}, Path(lake.root, table)
        for version in range(lake.version(table) + 1):
            files = [u.removeprefix("file://") for u in DeltaTable(path, version=version).file_uris()]
            held |= {f: content_of(pq.ParquetFile(f).read().to_pandas()) for f in files if f not in held}
            assert reduce(add, (held[f] for f in files), Content()).hash == said[version], f"{table}, version {version}"
            n += 1
    return n


def stored_twice(lake):
    "Bars that stand twice."
    return sum(int(frame.duplicated(["asset_id", "event_time", "timestamp"]).sum()) for frame in lake.stream(TABLE)) if lake.exists(TABLE) else 0


def left_behind(lake):
    "Data files that no version names."
    named = {u.removeprefix("file://") for t in lake.tables() for v in range(lake.version(t) + 1) for u in DeltaTable(Path(lake.root, t), version=v).file_uris()}
    return sorted(str(p) for t in lake.tables() for p in Path(lake.root, t).rglob("*.parquet") if "_delta_log" not in p.parts and str(p) not in named)


def check_lake(lake, least=0):
    "No version is lost, no row stands twice, no file is damaged, and at least so many bars are there; (versions read, bars)."
    versions, rows = read_every_version(lake), lake.fingerprint(TABLE)["rows"] if lake.exists(TABLE) else 0
    assert lake.verify().empty and stored_twice(lake) == 0 and rows >= least
    return versions, rows


def sweep(lake):
    "Vacuum takes exactly the files that killed writers left, once they are old; how many."
    orphans = left_behind(lake)
    assert lake.vacuum() == []
    for path in orphans: os.utime(path, (time.time() - 8*86400,)*2)
    assert sorted(f"{lake.root}/{p}" for p in lake.vacuum()) == orphans
    return len(orphans)


# kill -9

def kill_ingest(folder, assets, start, kills, seed=SEED, tell=print):
    """Kill an ingestion at random instants, and go on a day later each time; what became of it.

    A lake is left to finish after three kills, if it has not before; then comes a new one, until there were so many.
    """
    rng, whole, lakes, found, began = random.Random(seed), Lake(folder/"whole"), [], dict(kills=0, versions=0, orphans=0), time.monotonic()
    Process(do_ingest, folder/"warm", assets, start, NOW).wait()
    rows, took = timed(Process(do_ingest, whole.root, assets, start, NOW).wait)
    tell(f"left alone: {rows:,} rows in {took:.1f} s")
    while found["kills"] < kills:
        lakes.append(lake := Lake(folder/f"lake{len(lakes)}"))
        now, before, killed, last = NOW, 0, True, min(kills, found["kills"] + 3)
        while killed:
            process, at = Process(do_ingest, lake.root, assets, start, now), rng.uniform(0, took)
            if found["kills"] < last: time.sleep(at)
            else: process.wait()
            killed, now = process.kill(), now + DAY
            versions, before = check_lake(lake, before)
            found = found | dict(kills=found["kills"] + killed, versions=found["versions"] + versions)
            if killed: tell(f"kill {found['kills']:2} after {at:5.2f} s: {before:>9,} rows, {versions} versions read")
        found["orphans"] += sweep(lake)
        check_same(whole, lake)
    return found | dict(lakes=len(lakes), rows=rows, seconds=round(time.monotonic() - began, 1))


def timed(work):
    began = time.monotonic()
    return work(), time.monotonic() - began


def check_same(whole, other):
    "A lake whose ingestions were killed says what one says that was left alone."
    assert other.tables() == whole.tables()
    for table in set(whole.tables()) - {"manifest"}:
        assert other.fingerprint(table)["hash"] == whole.fingerprint(table)["hash"], table


def test_killed_ingest(tmp_path):
    found = kill_ingest(tmp_path, 6, "2023-07-03", 3)
    assert found["kills"] == 3 and found["versions"] > 10



def month(root, names="ABCD", slots=50, days=20):
    "A lake with one month in as many files as days; the content that must stay."
    lake = Lake(root)
    for day in range(days): lake.append(TABLE, bars(day, names, slots))
    return lake, lake.fingerprint(TABLE)["hash"]


def kill_rewrite(folder, names, slots, days, kills, seed=SEED, tell=print):
    "Kill the rewrite of a month at random instants, and start it again; a month that was rewritten makes room for a new one."
    rng, found, began = random.Random(seed), dict(kills=0, versions=0, orphans=0, lakes=0), time.monotonic()
    source, content = month(folder/"month", names, slots, days)
    copy = lambda name: Lake(shutil.copytree(source.root, folder/name))
    Process(do_rewrite, copy("warm").root, "2024-01").wait()
    _, took = timed(Process(do_rewrite, copy("whole").root, "2024-01").wait)
    tell(f"left alone: {source.fingerprint(TABLE)['rows']:,} rows in {took:.2f} s")
    while found["kills"] < kills:
        lake, killed = copy(f"lake{found['lakes']}"), True
        while killed:
            process, at = Process(do_rewrite, lake.root, "2024-01"), rng.uniform(0, took)
            if found["kills"] < kills: time.sleep(at)
            else: process.wait()
            killed = process.kill()
            versions, _ = check_lake(lake)
            assert lake.fingerprint(TABLE)["hash"] == content
            found = found | dict(kills=found["kills"] + killed, versions=found["versions"] + versions)
            if killed: tell(f"kill {found['kills']:2} after {at:5.2f} s: {len(DeltaTable(Path(lake.root, TABLE)).file_uris()):2} files, {versions} versions read")
        assert len(DeltaTable(Path(lake.root, TABLE)).file_uris()) == 1
        found = found | dict(orphans=found["orphans"] + sweep(lake), lakes=found["lakes"] + 1)
    return found | dict(seconds=round(time.monotonic() - began, 1))


def test_killed_rewrite(tmp_path):
    found = kill_rewrite(tmp_path, [f"A{i:03}" for i in range(400)], 30, 8, 3)
    assert found["kills"] == 3 and found["versions"] >= 3*8


# Two writers

def do_upkeep(root, work, until, gate):
    "Rewrite or vacuum over and over while another process writes; how often it succeeded."
    lake, n = Lake(root), 0
    gate.wait()
    while lake.fingerprint(TABLE)["rows"] < until:
        try: n += len(lake.vacuum(older_than="0D")) if work == "vacuum" else lake.rewrite(TABLE, "2024-01") > 1
        except LakeError as e: assert "Let the other writer finish" in str(e), e      # the append was faster, and the files stay
    return n


def do_watch(root, until, gate):
    "Read over and over while others write: whole commits, never fewer rows."
    lake, seen = Lake(root), [0]
    gate.wait()
    while seen[-1] < until: seen.append(len(lake.read(TABLE)))
    return seen == sorted(seen) and not any(n % 200 for n in seen)


def both(*work):
    "Several pieces of work at once, started together; what each answers."
    gate = PROCESSES.Barrier(len(work))
    return [p.wait() for p in [Process(do, *args, gate) for do, *args in work]]


def together(*parts): return reduce(add, map(content_of, parts), Content()).hash


def do_append_days(root, name, n, gate): return do_appends(root, name, range(n), gate)


def test_two_processes_append_the_same(tmp_path):
    told = both(*[(do_append_days, tmp_path, "ABCD", 12)]*2)
    assert [a + b for (a, _), (b, _) in zip(*told)] == [200]*12 and [a + b for (_, a), (_, b) in zip(*told)] == [200]*12
    check_lake(Lake(tmp_path), 12*200)
    assert Lake(tmp_path).fingerprint(TABLE)["hash"] == together(*[bars(d) for d in range(12)])


def test_two_processes_append_what_differs(tmp_path):
    told = both((do_append_days, tmp_path, "ABCD", 12), (do_append_days, tmp_path, "EFGH", 12))
    assert told == [[(200, 0)]*12]*2
    check_lake(Lake(tmp_path), 12*400)
    assert Lake(tmp_path).fingerprint(TABLE)["hash"] == together(*[bars(d, names) for d in range(12) for names in ("ABCD", "EFGH")])


def do_append_late(root, n, gate):
    gate.wait()
    return do_appends(root, "ABCD", range(1, n))


@pytest.mark.parametrize("work", ["rewrite", "vacuum"])
def test_append_against_upkeep(tmp_path, work):
    lake = Lake(tmp_path)
    lake.append(TABLE, bars(0))
    told = both((do_append_late, tmp_path, 30), (do_upkeep, tmp_path, work, 30*200), (do_watch, tmp_path, 30*200))
    assert told[0] == [(200, 0)]*29 and told[2] is True, told
    assert lake.fingerprint(TABLE)["hash"] == together(*[bars(d) for d in range(30)])
    assert lake.verify().empty and stored_twice(lake) == 0
    if work == "rewrite": assert told[1] > 0 and read_every_version(lake) == lake.version(TABLE) + 1


# Disks that are full, places that cannot be written

@pytest.fixture
def small_disk(tmp_path):
    "A file system of one MiB."
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs asks for root")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def leave_room(folder, size):
    "Fill a disk but for so many bytes."
    (folder/"junk").unlink(missing_ok=True)
    left = os.statvfs(folder)
    (folder/"junk").write_bytes(b"x"*max(left.f_bavail*left.f_bsize - size, 0))


def test_disk_full(small_disk):
    lake, refused = Lake(small_disk/"lake"), []
    for day in range(2): lake.append(TABLE, bars(day))
    before = lake.fingerprint(TABLE)
    for room in range(0, 9*4096, 4096):               # no room for a file, then for the file and not for its commit, then for both
        leave_room(small_disk, room)
        try: lake.append(TABLE, bars(2, slots=70))
        except LakeError as e: refused.append(str(e))
        else: break
        assert lake.fingerprint(TABLE) == before and lake.verify().empty
        with pytest.raises(LakeError, match="Make room on the disk, then ask again"): Lake(small_disk/"new").append(TABLE, bars(2, slots=400))
        assert Lake(small_disk/"new").tables() == []
    assert len(refused) >= 2 and all("cannot be written, the last version stays" in e and "Make room on the disk, then ask again" in e for e in refused)
    leave_room(small_disk, 0)
    with pytest.raises(LakeError, match="2024-01 cannot be rewritten, its files stay as they are .* Make room"): lake.rewrite(TABLE, "2024-01")
    with pytest.raises(LakeError, match="pin 'run' cannot be written .* Make room"): lake.pin("run", {TABLE: 0})
    (small_disk/"junk").unlink()
    assert lake.pins() == {} and lake.append(TABLE, bars(3)).appended == 200 and lake.rewrite(TABLE, "2024-01") == 4
    assert check_lake(lake) == (5, 880)
    assert sweep(lake) <= len(refused)


def do_append_limited(root, size):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return do_appends(root, "ABCD", range(1, 3))


def test_file_too_large(tmp_path):
    lake = Lake(tmp_path)
    lake.append(TABLE, bars(0))
    assert "Make room on the disk, then ask again" in Process(do_append_limited, tmp_path, 500).wait()
    assert check_lake(lake) == (1, 200) and left_behind(lake) == []
    assert Process(do_append_limited, tmp_path, 10**6).wait() == [(200, 0)]*2


def test_read_only(small_disk):
    lake = Lake(small_disk/"lake")
    lake.append(TABLE, bars(0))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for change in (lambda: lake.append(TABLE, bars(1)), lambda: lake.replace("sectors", bars(1)), lambda: Lake(small_disk/"new").append(TABLE, bars(1))):
        with pytest.raises(LakeError, match="cannot be written, .* Allow writing there, or name another place with QTP_LAKE_URL"): change()
    assert lake.append(TABLE, bars(0)).skipped == 200 and check_lake(lake) == (1, 200)


# Damage

def damaged(lake, path, content):
    "What reading says while a file holds this (None: is gone): the rows, or the refusal; and what `verify` finds."
    good = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try: told = lake.read(TABLE)
    except LakeError as e: told = str(e)
    found = lake.verify()["file"].tolist()
    path.write_bytes(good)
    return told, found


def test_a_flipped_bit_is_never_served(tmp_path):
    rng, (lake, _) = np.random.default_rng(SEED), month(tmp_path, days=3)
    whole, path = lake.read(TABLE), sorted(tmp_path.rglob("*.parquet"))[1]
    good, refused = path.read_bytes(), 0
    for _ in range(60):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        told, found = damaged(lake, path, bytes(bad))
        refused += isinstance(told, str)
        if isinstance(told, str): assert "Run `qtp lake verify` to see which" in told and found == [str(path.relative_to(tmp_path/TABLE))]
        else: pd.testing.assert_frame_equal(told, whole)      # a bit that nobody reads
    assert refused > 40 and lake.verify().empty


@pytest.mark.parametrize("content", [b"", b"PAR1", None, "cut", "other"])
def test_a_damaged_file(tmp_path, content):
    lake, _ = month(tmp_path, days=3)
    before, paths = lake.fingerprint(TABLE), sorted(tmp_path.rglob("*.parquet"))
    if content == "cut": content = paths[1].read_bytes()[:-1]
    swapped = content == "other"
    told, found = damaged(lake, paths[1], paths[0].read_bytes() if swapped else content)
    assert found == [str(paths[1].relative_to(tmp_path/TABLE))]
    assert swapped or "a data file cannot be read" in told      # another good file in its place is told by its name alone
    paths[1].unlink()
    with pytest.raises(LakeError, match="a data file cannot be read"): list(lake.stream(TABLE))
    with pytest.raises(LakeError, match="a data file cannot be read"): lake.rewrite(TABLE, "2024-01")
    with pytest.raises(LakeError, match="a data file cannot be read"): lake.append(TABLE, pd.concat([bars(d, add=1, fetched=NOW + DAY) for d in range(3)]))
    assert lake.fingerprint(TABLE) == before


@pytest.mark.parametrize("what", ["cut", "empty", "gone", "noise"])
@pytest.mark.parametrize("commit", [0, 1, 2])
def test_a_damaged_log(tmp_path, commit, what):
    lake, content = month(tmp_path, days=3)
    path = tmp_path/TABLE/"_delta_log"/f"{commit:020}.json"
    good = path.read_bytes()
    told, found = damaged(lake, path, {"cut": good[:len(good)//2], "empty": b"", "gone": None, "noise": os.urandom(200)}[what])
    if what == "gone" and commit == 2: assert len(told) == 400 and found == []      # the version before it: nobody can know that there was one more
    else: assert found and (what == "empty" or "its log cannot be read" in told and "Restore `_delta_log` from a copy" in told)
    assert lake.fingerprint(TABLE)["hash"] == content
    if what in ("cut", "noise"):
        path.write_bytes(good[:-20])
        with pytest.raises(LakeError, match="its log cannot be read"): lake.append(TABLE, bars(5))
        path.write_bytes(good)
        assert lake.append(TABLE, bars(5)).appended == 200


def test_a_commit_cut_between_two_lines(tmp_path):
    lake, _ = month(tmp_path, days=3)
    path = tmp_path/TABLE/"_delta_log"/f"{2:020}.json"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    for line in lines:
        _, found = damaged(lake, path, line)
        assert found == ["_delta_log"]


# Clocks and zones

def test_a_fetch_before_what_is_known(tmp_path):
    lake = Lake(tmp_path)
    lake.append(TABLE, bars(0))
    lake.append(TABLE, bars(0, add=1, fetched=NOW + DAY))
    before = lake.fingerprint(TABLE)
    for fetched in (bars(0)["event_time"].min(), NOW - DAY, NOW + DAY):
        told = "asset_id A, event_time 2024-01-02 15:00 UTC: fetched .* with other values than are stored as of 2024-02-02 06:00 UTC .*: set the clock"
        with pytest.raises(LakeError, match=told): lake.append(TABLE, bars(0, add=2, fetched=fetched))
        assert lake.append(TABLE, bars(0, fetched=fetched)).appended == 0        # what is known already may be said at any time
    assert lake.fingerprint(TABLE) == before


def five_minutes(folder, change=lambda bars: bars, name="bars.parquet", **options):
    "A file of five-minute bars, changed by a source that errs, as a provider."
    bars = pd.concat(SimulatedProvider(n_assets=6, start="2023-10-16", end="2023-11-10", freq="5min").batches(), ignore_index=True)
    change(bars[["timestamp", "asset_id", "open", "high", "low", "close", "volume"]]).to_parquet(folder/name, index=False)
    return FileProvider(str(folder/name), **dict(stamp="end", adjustment="raw", bar="5min") | options)


def wall(bars): return bars["timestamp"].dt.tz_convert("America/New_York").dt.tz_localize(None)


def test_a_clock_that_is_late(tmp_path):
    lake, provider, late = Lake(tmp_path/"lake"), five_minutes(tmp_path), pd.Timestamp("2023-11-01", tz="UTC")
    with pytest.raises(DataError, match="asset SIM000, 2023-11-01 13:35.*expected a bar that has ended by now"): ingest(provider, lake, Calendar(), late)
    assert lake.tables() == []
    ingest(provider, lake, Calendar(), NOW)
    before = {t: lake.fingerprint(t)["hash"] for t in lake.tables()}
    with pytest.raises(DataError, match="expected a bar that has ended by now"): ingest(provider, lake, Calendar(), late)
    assert {t: lake.fingerprint(t)["hash"] for t in lake.tables()} == before


SHIFTED = "expected days at the exchange's hours .* more than max_bad=5%.* name the zone that the source means"
FITS = "labelled UTC, expected the end of a bar of XNYS .* Read as America/New_York the stamps fit"
LIES = {
    "New York called UTC": (lambda b: b.assign(timestamp=wall(b).dt.tz_localize("UTC")), {}, FITS),
    "New York called UTC, naive": (lambda b: b.assign(timestamp=wall(b)), {"zone": "UTC"}, FITS),
    "UTC called New York": (lambda b: b.assign(timestamp=b["timestamp"].dt.tz_localize(None)), {"zone": "America/New_York"}, SHIFTED),
    "Chicago called New York": (lambda b: b.assign(timestamp=wall(b) - pd.Timedelta("1h")), {"zone": "America/New_York"}, SHIFTED),
    "New York called UTC, one asset": (lambda b: b.assign(timestamp=b["timestamp"].mask(b["asset_id"] == "SIM000", wall(b).dt.tz_localize("UTC"))), {}, SHIFTED),
    "no zone": (lambda b: b.assign(timestamp=wall(b)), {}, "found a stamp without a zone, expected an instant .* such as zone='America/New_York'"),
    "starts called ends": (lambda b: b.assign(timestamp=b["timestamp"] - pd.Timedelta("5min")), {}, "cannot be the end of a bar of its session .* look like stamp='start'"),
    "ends called starts": (lambda b: b, {"stamp": "start"}, "cannot be the start of a bar of its session .* look like stamp='end'"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_source_that_lies_about_time(tmp_path, lie):
    change, declared, words = LIES[lie]
    lake = Lake(tmp_path/"lake")
    with pytest.raises(DataError, match=f"bars.parquet: asset SIM000.*{words}"): ingest(five_minutes(tmp_path, change, **declared), lake, Calendar(), NOW)
    assert lake.tables() == []


def test_the_same_bars_told_honestly(tmp_path):
    told = {"utc": (lambda b: b, {}), "wall": (lambda b: b.assign(timestamp=wall(b)), {"zone": "America/New_York"}),
            "starts": (lambda b: b.assign(timestamp=b["timestamp"] - pd.Timedelta("5min")), {"stamp": "start"})}
    hashes = set()
    for name, (change, declared) in told.items():
        lake = Lake(tmp_path/name)
        (tmp_path/f"{name}-bars").mkdir()
        ingest(five_minutes(tmp_path/f"{name}-bars", change, **declared), lake, Calendar(), NOW)
        hashes.add(lake.fingerprint(TABLE)["hash"])
    assert len(hashes) == 1


# A person in a hurry, at the command line

def panel():
    "Daily bars of four assets."
    from test_bad_input import panel      # it builds a calendar, for which every process above would wait
    return panel()


def desk(home, frame=None, text=None, **data):
    "An experiment on a file of daily bars."
    file = home.path/"bars.csv"
    file.write_bytes(text) if text is not None else (panel() if frame is None else frame).to_csv(file, index=False)
    asked = {"provider": "file", "path": str(file), "stamp": "session", "adjustment": "split", "dataset": "mine", **data}
    return home.experiment({"name": "mine", "description": "a file of mine", "data": asked})


def qtp(home, *words, **env):
    "Exit code, and what a person reads."
    done = CliRunner().invoke(app, [*map(str, words)], env={"QTP_HOME": str(home.path), "COLUMNS": "400", **env})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(re.sub("[│╭╮╰╯─]", " ", done.output).split())


def stored(home): return {str(p): p.read_bytes() for p in (home.path/"data").rglob("*") if p.is_file()}


def at_four(frame): return frame.assign(timestamp=frame["timestamp"] + pd.Timedelta("16h"))


HASTE = {
    "no file": (dict(path="bras.csv"), [], ["bras.csv: not found", "Correct the path"]),
    "wrong column": (dict(frame=lambda f: f.rename(columns={"close": "Close"})), [], ["column 'close' is missing", "columns={'close': 'Close'}"]),
    "empty file": (dict(text=b""), [], ["found an empty file (0 bytes)", "Download or export it again"]),
    "no rows": (dict(frame=lambda f: f[:0]), [], ["found a header and no rows"]),
    "duplicate stamps": (dict(frame=lambda f: pd.concat([f, f.assign(close=f["close"]*1.001)])), [],
                         ["expected one row per bar", "more than max_bad=5%", "ask the source which is right"]),
    "one asset": (dict(frame=lambda f: f[f["asset_id"] == "A"]), [], ["found 1 asset (A), expected at least 2", "Add assets, or allow fewer: `data.min_assets: 1`"]),
    "no prices": (dict(frame=lambda f: f.assign(**dict.fromkeys(["open", "high", "low", "close", "volume"], np.nan))), [],
                  ["bars has a price in regular hours", "Check the column names"]),
    "no close": (dict(frame=lambda f: f.assign(close=np.nan)), [], ["column 'close': found nan, expected all four prices", "more than max_bad=5%"]),
    "no zone": (dict(frame=at_four, stamp="end"), [], ["found a stamp without a zone, expected an instant", "such as zone='America/New_York'"]),
    "no zone, intraday": (dict(frame=at_four, stamp="end", bar="5min"), [], ["found a stamp without a zone, expected an instant", "such as zone='America/New_York'"]),
    "no stamp convention": (dict(stamp=""), [], ["stamp: found ''", "['session', 'start', 'end']"]),
    "since after the data": ({}, ["--since", "2030-01-01"], ["no bars from 2030-01-01", "found 2023-01-03 to 2023-04-27", "Ask for dates inside these"]),
    "since no date": ({}, ["--since", "yesterday"], ["found 'yesterday', expected a date such as 2024-03-28"]),
    "until before since": ({}, ["--since", "2023-03-01", "--until", "2023-02-01"], ["no bars from 2023-03-01 to 2023-02-01"]),
    "unknown asset": ({}, ["--assets", "A,ZZZ"], ["asset ZZZ is not there (1 of 2 assets asked for). Known: A, B, C, D"]),
    "fetched no instant": ({}, ["--fetched", "soon"], ["--fetched: found 'soon', expected an instant such as 2024-03-28T21:00Z"]),
    "fetched before the data": ({}, ["--fetched", "2023-02-01"], ["expected a bar that has ended by now", "Check the clock"]),
    "unknown parameter": ({}, ["-p", "data.pth=x"], ["unknown key `pth`. Did you mean `path`?"]),
}


@pytest.mark.parametrize("what", HASTE)
@pytest.mark.parametrize("filled", [False, True], ids=["empty lake", "filled lake"])
def test_haste(home, what, filled):
    data, words, told = HASTE[what]
    if filled: assert qtp(home, "ingest", desk(home))[0] == 0
    before, change = stored(home), data.get("frame", lambda f: f)
    code, text = qtp(home, "ingest", desk(home, change(panel()), **{k: v for k, v in data.items() if k != "frame"}), *words)
    if filled and what == "one asset": return                 # a lake that holds the others may take it
    assert code == 2, text
    for word in told: assert word in text, f"{word!r} is not in: {text}"
    assert len(text) < 900 and stored(home) == before


def schema_1(home):
    old = home.path/"data"/"lake"/"mine"/"bars_1d"
    frame = panel().assign(timestamp=pd.Timestamp("2023-01-03 21:00", tz="UTC"), event_time=pd.Timestamp("2023-01-03 21:00", tz="UTC"))
    write_deltalake(old, frame, description='{"qtp_schema": 1, "key": ["event_time", "asset_id"]}')


def a_file(home, name):
    (home.path/name).parent.mkdir(parents=True, exist_ok=True)
    (home.path/name).write_text("notes")
    return str(home.path/name)


PLACES = {
    "a lake of schema 1": (schema_1, ["bars_1d: stored with schema 1, this qtp reads schema 2", "Run `qtp lake migrate`"]),
    "a file in place of the lake": (lambda home: a_file(home, "data/lake"), ["data/lake is a file, expected a folder", "Name another place with QTP_LAKE_URL"]),
    "a file in place of the dataset": (lambda home: a_file(home, "data/lake/mine"), ["data/lake/mine is a file, expected a folder", "move the file away"]),
    "a lake below a file": (lambda home: {"QTP_LAKE_URL": a_file(home, "notes.txt") + "/lake"}, ["notes.txt is a file, expected a folder"]),
    "an address of no kind": (lambda home: {"QTP_LAKE_URL": "nowhere://lake"}, ["lake nowhere://lake/mine: cannot be looked at", "Check the disk, the address and the keys"]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_no_lake(home, place):
    prepare, told = PLACES[place]
    env, file = prepare(home), desk(home)
    before = stored(home)
    code, text = qtp(home, "ingest", file, **(env if isinstance(env, dict) else {}))
    assert code == 2, text
    for word in told: assert word in text, f"{word!r} is not in: {text}"
    assert stored(home) == before


def test_a_folder_that_cannot_be_written(small_disk, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    (small_disk/"lake").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, text = qtp(home, "ingest", desk(home), QTP_LAKE_URL=str(small_disk/"lake"))
    assert code == 2 and "cannot be written" in text and "Allow writing there, or name another place with QTP_LAKE_URL, then ask again" in text, text
    assert list((small_disk/"lake").iterdir()) == []


def test_looking_after_a_lake_in_haste(home):
    assert qtp(home, "ingest", desk(home))[0] == 0
    before = stored(home)
    for words, told in ((["vacuum", "--older-than", "soon"], "older_than: found 'soon', expected a length of time such as '7D'"),
                        (["history", "mien", "bars_1d"], "no dataset 'mien'. Did you mean `mine`?"),
                        (["history", "mine", "bars"], "no table 'bars'. Did you mean `bars_1d`?"),
                        (["rewrite", "mine", "../x"], "table '../x'"), (["pins", "mine", "--drop", "run"], "no pin 'run'")):
        code, text = qtp(home, "lake", *words)
        assert code == 2 and told in text, text
    assert stored(home) == before and qtp(home, "lake", "verify")[0] == 0
    victim = next((home.path/"data"/"lake").rglob("bars_1d/**/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1])
    code, text = qtp(home, "lake", "verify")
    assert code == 1 and victim.name[:30] in text and "Restore the files from a copy" in text
    assert qtp(home, "ingest", desk(home, panel().assign(close=lambda f: f["close"] + 0.001)))[0] == 2


# A key that must be nowhere

CANARY = "canary0123456789canary0123456789"


def test_a_key_is_found_nowhere(home):
    keys = ("QTP_ALPACA_KEY", "QTP_ALPACA_SECRET", "QTP_ALPHAVANTAGE_KEY", "QTP_POLYGON_KEY", "QTP_FRED_KEY")
    (home.path/".env").write_text("".join(f"{k}={CANARY}\n" for k in keys))
    told = [qtp(home, "ingest", desk(home))[1], qtp(home, "providers")[1], qtp(home, "doctor")[1]]
    assert "320 bars of 4 assets" in told[0] and told[1].count("True") >= 5
    with Replay() as server:
        server.on("/query", Answer({"Error Message": f"apikey {CANARY} is not known"}))
        server.on("/v2/aggs/ticker/IBM/range/1/day/2024-03-01/2024-03-27", Answer({"status": "ERROR", "error": CANARY}, 403))
        for name, options in (("alphavantage", {"premium": True}), ("polygon", {})):
            vendor = {"assets": ["IBM"], "base_url": server.url, **options}
            asked = {"provider": name, "vendor": vendor, "start": "2024-03-01", "end": "2024-03-27", "min_assets": 1, "min_sessions": 1}
            code, text = qtp(home, "ingest", home.experiment({"name": name, "description": "a source that refuses", "data": asked}))
            assert code == 2 and name in text, text
            told.append(text)
        assert CANARY in repr(server.asked)                            # the server did get it
    written = [p for folder in ("data", "reports", "mlruns") for p in (home.path/folder).rglob("*") if p.is_file()]
    assert any("raw" in p.parts for p in written) and any("lake" in p.parts for p in written)
    for p in written: assert CANARY.encode() not in (gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()), p
    assert not [t for t in told if CANARY in t]
