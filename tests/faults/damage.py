"""Files as they should be, and what becomes of them: cut, flipped, doubled, of another kind."""

import gzip
import io
import random
import signal
from pathlib import Path

import numpy as np
import polars as pl

from mlp_torch import artifact
from mlp_torch.__main__ import parse
from mlp_torch.errors import UserError
from mlp_torch.inference.listing import read as read_run
from mlp_torch.training import checkpoint
from mlp_torch.training.resume import begun

SECONDS = 20  # after which a file is said to hang


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Another file: cut, flipped, doubled, with parts taken out, moved or of another kind."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        a, b = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(9):
            case 0:
                data = data[:a]
            case 1 if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 2:
                del data[a : min(b, a + 40)]
            case 3:
                data[a:a] = data[a : min(b, a + 200)]
            case 4:
                data[a:a] = draw.randbytes(draw.randrange(1, 30))
            case 5:
                odd = [
                    b"\x00",
                    b"\xff\xfe",
                    b'"',
                    b",",
                    b"\n",
                    b"\r",
                    b"nan",
                    b"1e999",
                    b"-",
                    b"{",
                    b"=",
                    b"\xc3",
                ]
                data[a:a] = draw.choice(odd) * draw.choice([1, 1, 3, 1000])
            case 6:
                data[a:b] = bytes(reversed(data[a:b]))
            case 7:
                data[a : a + 8] = draw.randbytes(8)
            case _:
                data[a : a + 1] = str(draw.randrange(-(10**9), 10**9)).encode()
    return bytes(data)


def _csv(draw: random.Random) -> bytes:
    rows = [f"{draw.gauss(0, 1):.4g},{draw.randrange(9)},{draw.choice('abc')},{draw.choice(['y', 'n'])}"
            for _ in range(60)]  # fmt: skip
    return ("\n".join(["x,k,c,target", *rows]) + "\n").encode()


def _frame(draw: random.Random) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(_csv(draw)))


def _parquet(draw: random.Random) -> bytes:
    box = io.BytesIO()
    _frame(draw).write_parquet(box)
    return box.getvalue()


def _npz(draw: random.Random) -> bytes:
    box = io.BytesIO()
    columns = {"x": np.random.default_rng(draw.randrange(99)).normal(size=(40, 3)), "y": np.arange(40) % 2}
    np.savez(box, **columns)
    return box.getvalue()


TABLES = {
    ".csv": _csv,
    ".csv.gz": lambda draw: gzip.compress(_csv(draw)),
    ".tsv": lambda draw: _csv(draw).replace(b",", b"\t"),
    ".parquet": _parquet,
    ".npz": _npz,
}


def refused_or_read(act, content: bytes) -> bool:
    """Whether it was read; the message of a refusal is one line."""
    signal.alarm(SECONDS)
    try:
        act()
        said = ""
    except UserError as error:
        said = str(error)
    finally:
        signal.alarm(0)
    assert "\n" not in said, (said, content)
    return not said


ACTS = {
    "model.safetensors": artifact.read,
    "checkpoint.safetensors": checkpoint.last,
    "config.toml": lambda run: resumed(run),
    "metrics.jsonl": read_run,
}


def resumed(run: Path) -> None:
    begun(parse(["train", "--resume", str(run)])).lock.release()
