"""Files that are damaged, foreign or no files: refused in one line, and nothing in them is executed."""

import io
import os
import pickle
import random
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from manual.structure.fingerprint import fingerprint
from mlp_torch import artifact
from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from mlp_torch.errors import UserError
from tests.faults.damage import ACTS, TABLES, refused_or_read
from tests.mlp_torch.running import weights


class Bomb:
    """What a pickle of it would do to whoever reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.safetensors"])
def test_a_flipped_bit_is_never_read_as_something_else(name, calm, run):
    """A model's metadata may hold text that nobody reads; a checkpoint has a checksum over everything."""
    draw = random.Random(name)
    copy = calm / "run"
    shutil.copytree(run, copy)
    whole, expected = (copy / name).read_bytes(), weights(run)
    for _ in range(60):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (copy / name).write_bytes(content)
        try:
            found = ACTS[name](copy)
        except UserError:
            continue
        assert name == "model.safetensors", "a damaged checkpoint was taken for a good one"
        assert all(np.isfinite(value).all() for value in found[1].values())
        assert fingerprint(found[1]) == fingerprint(expected)


def test_pickles_in_any_file_are_refused_and_not_executed(calm, run):
    bomb = pickle.dumps(Bomb(calm / "executed"))
    objects = io.BytesIO()
    np.savez(objects, x=np.array([Bomb(calm / "executed")] * 3, dtype=object), y=np.arange(3))
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("x.npy", bomb)
        archive.writestr("data.pkl", bomb)
    for content in (bomb, objects.getvalue(), inside.getvalue()):
        for suffix in TABLES:
            file = calm / f"t{suffix}"
            file.write_bytes(content)
            assert not refused_or_read(lambda file=file: load(DataFlags(data=str(file))), content)
    copy = calm / "run"
    shutil.copytree(run, copy)
    for name in ("model.safetensors", "checkpoint.safetensors", "config.toml"):
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(bomb)
        assert not refused_or_read(lambda name=name: ACTS[name](copy), bomb)
        (copy / name).write_bytes(whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("suffix", [*TABLES, ".safetensors", ".folder"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(suffix, calm):
    pipe = calm / f"pipe{suffix}"
    if suffix == ".folder":
        pipe.mkdir()
        os.mkfifo(pipe / "model.safetensors")
    else:
        os.mkfifo(pipe)
    table = partial(load, DataFlags(data=str(pipe)))
    assert not refused_or_read(table if suffix in TABLES else partial(artifact.read, pipe), b"")


def test_a_damaged_event_file_costs_no_epoch_that_is_trained_after_it(calm, run):
    """The run goes on with the bytes that its checkpoint names; what is behind them is cut away."""
    from mlp_torch.__main__ import main

    copy = calm / "run"
    shutil.copytree(run, copy)
    (events,) = copy.glob("events.out.tfevents.*")
    with events.open("ab") as file:
        file.write(b"half a record")
    assert main(["train", "--resume", str(copy), "--epochs", "5"]) == 0
    (events,) = copy.glob("events.out.tfevents.*")
    steps = [e.step for e in EventFileLoader(str(events)).Load() if e.HasField("summary")]
    assert max(steps) == 5
