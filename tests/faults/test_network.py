"""Two hosts and the wire between them: what breaks is said with the other's name, and a restart mends it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.wires import DEVICE, Wire, possible
from tests.forked import ROOT
from tests.mlp_torch.distributed.comparing import equal

FLAGS = "--data wine --batch-size 13 --dropout 0.2 --hidden 6 --epochs 40 --checkpoint-every 2 --reproducible"
TIMEOUT, STORE = 6, 29400  # seconds; the port of torchrun's store, on the first host
RESTARTS = 20  # on a busy machine the hosts' processes may start further apart than TIMEOUT
CHECKPOINT = "cut/checkpoint.safetensors"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not possible(), reason="needs root, for network namespaces and tun devices"),
]


@pytest.fixture
def wire():
    with Wire() as made:
        yield made


def launch(wire, host: int, folder: Path) -> subprocess.Popen:
    meeting = "--nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-id=1"
    meeting += f" --rdzv-endpoint=10.77.0.1:{STORE} --rdzv-conf=is_host={int(host == 0)}"
    line = f"--max-restarts={RESTARTS} --local-addr=10.77.0.{host + 1} "
    line += f"-m mlp_torch train {FLAGS} --timeout {TIMEOUT}"
    given = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": DEVICE}
    given |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    command = [*wire.at(host), sys.executable, "-m", "torch.distributed.run", *meeting.split(), *line.split()]
    return subprocess.Popen(
        [*command, "--runs-dir", ".", "--name", "cut"], cwd=folder, env=os.environ | given, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(wire, folder: Path, trouble) -> str:
    """All that both hosts said of a run that `trouble` befell once it was at work."""
    both = [launch(wire, host, folder) for host in (0, 1)]
    try:
        while not (folder / CHECKPOINT).exists() and all(p.poll() is None for p in both):
            time.sleep(0.01)
        trouble()
        said = [p.communicate(timeout=300)[0] for p in both]
    finally:
        for p in both:
            p.kill()
    assert [p.returncode for p in both] == [0, 0], "\n".join(said)
    return "\n".join(said)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    line = f"-m mlp_torch train {FLAGS} --runs-dir . --name whole"
    path = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *line.split()], cwd=folder, env=os.environ | path, check=True)
    return folder / "whole"


def test_a_delay_of_200_ms_changes_no_bit(wire, tmp_path, whole):
    def trouble():
        wire.say("delay 0.2")
        time.sleep(8)
        wire.say("delay 0")

    assert "in vain" not in ended(wire, tmp_path, trouble)
    assert equal(whole, tmp_path / "cut")


def test_a_wire_that_is_cut_names_the_other_host_and_the_run_goes_on_when_it_is_mended(wire, tmp_path, whole):
    def trouble():
        wire.say("cut")
        time.sleep(TIMEOUT + 3)
        wire.say("mend")

    said = ended(wire, tmp_path, trouble)
    assert "rank 1" in said
    assert "no sign of life" in said or "in vain for rank" in said
    assert equal(whole, tmp_path / "cut")


def test_a_reset_in_the_middle_names_the_other_host_and_the_run_goes_on(wire, tmp_path, whole):
    said = ended(wire, tmp_path, lambda: wire.reset(but=STORE))  # without which torchrun itself ends
    assert "in vain for rank" in said
    assert equal(whole, tmp_path / "cut")
