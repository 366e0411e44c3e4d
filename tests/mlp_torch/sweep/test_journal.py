"""A study's journal is never half written, and one that was goes on, less the half line."""

import errno
import json
import re
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_torch.__main__ import main
from mlp_torch.errors import UnwritableError
from mlp_torch.lock import Turns
from mlp_torch.sweep.journal import Journal

SWEEP = "--data xor --epochs 2 --hidden 3 --sweep lr=1e-2:1 --sampler random --study s"
LINES = [{"op_code": i % 9, "worker_id": "a", "note": "x" * i} for i in range(7)]


def sweep(runs, trials: int) -> int:
    return main(["sweep", *SWEEP.split(), "--trials", str(trials), "--runs-dir", str(runs)])


def filled(path) -> Journal:
    journal = Journal(path)
    journal.append_logs(LINES)
    return journal


@given(cut=st.integers(min_value=1))
def test_a_line_cut_anywhere_is_dropped_and_said_and_the_next_is_read(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.journal"
    journal = filled(path)
    whole = path.read_bytes()
    cut %= len(whole)
    path.write_bytes(whole[:cut])
    before = whole[:cut].count(b"\n")
    journal = Journal(path)
    journal.append_logs([{"op_code": 3, "worker_id": "b"}])
    assert list(journal.read_logs(0)) == [*LINES[:before], {"op_code": 3, "worker_id": "b"}]


def test_a_line_behind_a_half_one_is_saved(tmp_path, capsys):
    path = tmp_path / "study.journal"
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:9], *lines[4:]]))
    assert list(Journal(path).read_logs(0)) == [*LINES[:3], *LINES[4:]]
    assert "9 bytes of a line that was cut off are dropped" in capsys.readouterr().err


def test_a_full_disk_takes_a_line_whole_or_not_at_all(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="limits are POSIX's")
    path = tmp_path / "study.journal"
    journal = filled(path)
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, limits[1]))
    try:
        with pytest.raises(UnwritableError, match="cannot be written"):
            journal.append_logs([{"op_code": 3, "worker_id": "b" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == whole


def test_a_study_whose_disk_was_full_goes_on_and_tries_the_lost_trial_again(runs, monkeypatch, capsys):
    assert sweep(runs, 2) == 0
    with monkeypatch.context() as patch:

        def full(file, content):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("mlp_torch.runs.append", full)  # of the third trial's metrics
        assert sweep(runs, 3) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device" in said
    assert "the same command goes on with the study" in said
    assert sweep(runs, 3) == 0
    shown = capsys.readouterr().out
    assert re.search(r"trial 3: lr=.*validation loss", shown)  # the third, tried again
    results = [json.loads(line) for line in (runs / "s" / "study.journal").read_text().splitlines()]
    assert all("op_code" in row for row in results)


# ---- one process at a time --------------------------------------------------------------------------

LOG = LINES[3]
HOLDS = """import sys, time
from pathlib import Path
from mlp_torch.lock import Turns
Turns(Path(sys.argv[1])).acquire()
print("mine", flush=True)
time.sleep(60)
"""
WRITES = f"""import sys
from pathlib import Path
from mlp_torch.sweep.journal import Journal
journal = Journal(Path(sys.argv[1]))
for _ in range(50):
    journal.append_logs([{LOG!r}])
"""


def started(program, path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)


def test_the_lock_of_a_process_that_was_killed_with_it_is_free_at_once(tmp_path):
    journal = Journal(tmp_path / "study.journal")
    holder = started(HOLDS, journal._lock.path)
    assert holder.stdout.readline() == "mine\n"
    waiting = threading.Thread(target=journal.append_logs, args=([LOG],))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()  # as long as another has it
    holder.kill()
    holder.communicate()
    waiting.join(10)
    assert not waiting.is_alive()
    assert list(Journal(journal.path).read_logs(0)) == [LOG]


def test_many_processes_and_threads_write_whole_lines_one_after_the_other(tmp_path):
    path = tmp_path / "study.journal"
    writers = [started(WRITES, path) for _ in range(3)]
    shared = Journal(path)
    threads = [
        threading.Thread(target=lambda: [shared.append_logs([LOG]) for _ in range(50)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0] * 3
    assert list(Journal(path).read_logs(0)) == [LOG] * 300


def test_where_the_system_has_no_locks_optunas_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("mlp_torch.lock.fcntl", None)
    journal = Journal(tmp_path / "study.journal")
    journal.append_logs([LOG])
    assert not isinstance(journal._lock, Turns)
    assert list(journal.read_logs(0)) == [LOG]
