"""Hours of training, with curves and checkpoints: memory and open files stay what they were.

MLP_SOAK says for how many seconds (an hour unless told).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

SECONDS = float(os.environ.get("MLP_SOAK", "3600"))
WARM = 0.2  # of the time, until caches are full
ROOT = Path(__file__).parents[2]


def used(pid: int) -> tuple[int, int]:
    """(kB of memory in use, open files) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return memory, len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it is Linux that tells of a process")
def test_memory_and_handles_are_flat_over_a_long_run(tmp_path, ctrl_c, record_property):
    line = [sys.executable, "-m", "mlp_torch", "train", "--data", "moons", "--epochs", "10000000"]
    line += ["--hidden", "32", "--schedule", "constant", "--keep", "last", "--runs-dir", str(tmp_path)]
    line += ["--name", "run", "--checkpoint-every", "200"]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(line, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    run = tmp_path / "run"
    while not (run / "checkpoint.safetensors").exists():
        assert process.poll() is None, (tmp_path / "out").read_text()
        time.sleep(0.1)
    started, found = time.monotonic(), []
    while time.monotonic() - started < SECONDS:
        assert process.poll() is None, (tmp_path / "out").read_text()
        found.append(used(process.pid))
        time.sleep(min(1.0, SECONDS / 100))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    warm = found[: max(1, int(WARM * len(found)))]
    later = found[len(warm) :]
    epochs = (run / "metrics.jsonl").read_bytes().count(b"\n")
    said = f"{epochs} epochs; kB: {warm[-1][0]} when warm, then at most {max(m for m, _ in later)}; "
    said += f"files: {max(f for _, f in warm)}, then at most {max(f for _, f in later)}"
    print(said)
    record_property("found", said)
    assert max(m for m, _ in later) <= 1.02 * max(m for m, _ in warm) + 2000
    assert max(f for _, f in later) <= max(f for _, f in warm) + 2  # files that are just being written
    assert median(f for _, f in later) <= median(f for _, f in warm)
