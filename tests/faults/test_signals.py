"""Ctrl-C, SIGTERM and SIGHUP are one: all is kept, the way to go on is said, the exit code tells which."""

import signal

import pytest

from tests.faults.processes import Processes
from tests.faults.test_kill import same

BEGUN = (
    "train --data wine --hidden 9 --dropout 0.1 --epochs 250 --keep last --batch-size 60 --runs-dir . --name"
)
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


@pytest.mark.long
@pytest.mark.parametrize("name", list(CODES))
def test_a_signal_keeps_the_run_says_how_to_go_on_and_exits_with_its_code(name, tmp_path):
    with Processes() as processes:
        whole = processes.run([*BEGUN.split(), "whole"], tmp_path)
        assert whole.code == 0, whole.text
        number, file = getattr(signal, name), f"{name}/checkpoint.safetensors"
        ended = processes.run([*BEGUN.split(), name], tmp_path, once=file, after=0.05, number=number)
        assert ended.code == CODES[name], ended.text
        last = ended.text.splitlines()[-1]
        assert last.startswith("mlp train: interrupted; the weights of epoch ")
        assert last.endswith(f"it goes on by mlp train --resume {name}")
        going_on = processes.run(["train", "--resume", name], tmp_path)
        assert going_on.code == 0, going_on.text
    same(tmp_path / "whole", tmp_path / name)
