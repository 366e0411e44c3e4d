"""Whether a command of a page would be understood: its flags are read and checked, nothing is run."""

import importlib.util
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from mlp_torch.__main__ import COMMANDS, parse
from mlp_torch.errors import UserError
from mlp_torch.flags import flag_name
from tests.documentation.pages import ROOT, Typed
from tests.mlp_torch.check.lines.page import PROGRAMS, SLIPS
from tests.mlp_torch.inference.tables import passengers, prices

Asked = Callable[[tuple[str, ...], bool], str]

# What pages write for a thing of the reader's, and what stands for it here.
INSTEAD = {
    "RUN": "runs/NAME",
    "WORD": "certified",
    "FILE.py:f": "FILE.py:loss_and_gradients",
    "rings": "moons",  # the data set that a recipe adds
}


def workplace(folder: Path) -> Path:
    """The files that the pages' commands name, in that folder."""
    named = [pl.Series(name, [f"{name} {i}" for i in range(400)]) for name in ("name", "ticket")]
    passengers(400, 0).with_columns(*named).write_csv(folder / "passengers.csv")
    passengers(40, 1).write_csv(folder / "new.csv")
    prices(300, 0).write_parquet(folder / "prices.parquet")
    prices(60, 1).write_parquet(folder / "next-year.parquet")
    pl.DataFrame({"a": np.arange(60.0), "kind": ["x", "y", "z"] * 20}).write_csv(folder / "iris.csv")
    prices(60, 2).write_csv(folder / "FILE")
    g = np.random.default_rng(0)
    x, y, w = g.normal(size=(8, 3)), g.normal(size=(8, 2)), g.normal(size=(3, 2))
    arrays = {"x": x, "y": y, "W1": w, "dW1": x.T @ (2 * (x @ w - y)) / 8, "W2": w[:2], "dW2": w[:2]}
    np.savez(folder / "FILE.npz", **arrays)
    for slip in SLIPS:
        (folder / slip.file).write_text(slip.source()[0], encoding="utf-8")
    for name in ("FILE.py", "net.py"):
        (folder / name).write_text((PROGRAMS / "mlp.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "mlp_torch" / "lecture" / "figures").mkdir(parents=True)
    for name in ("NAME", "moons", "saturated"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "events.out.tfevents.0").touch()
    return folder


def _mlp(words: tuple[str, ...], whole: bool) -> str:
    """What the command line answers, "" where it would run. It is read where the pages' files are."""
    if words[0] not in COMMANDS and words[0] not in ("--version", "--help"):
        return f"{words[0]} is no command"
    if words[0] == "--version" or "--help" in words:
        return ""
    if not whole:
        known = {flag_name(field.name) for field in fields(COMMANDS[words[0]][0])}
        gone = [word for word in words if word.startswith("--") and word not in known]
        return f"{words[0]} takes no {gone[0]}" if gone else ""
    try:
        parse([INSTEAD.get(word, word) for word in words]).check()
    except UserError as error:
        return str(error)
    return ""


def _pytest(words: tuple[str, ...], whole: bool) -> str:
    gone = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    return f"there is no {gone[0]}" if gone else ""


def _pip(words: tuple[str, ...], whole: bool) -> str:
    extras = [word[2:-1] for word in words if word.startswith(".[")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    gone = [
        name for extra in extras for name in extra.split(",") if name not in project["optional-dependencies"]
    ]
    return f"pyproject.toml has no extra {gone[0]}" if gone else ""


MODULES: dict[str, Asked] = {"mlp_torch": _mlp, "pytest": _pytest, "pip": _pip}


# Modules that come with Python. They are not looked for: where pip is, setuptools can no longer be imported.
PYTHONS = ("venv", "pip")


def _python(words: tuple[str, ...], whole: bool) -> str:
    first, *rest = words
    if first == "-m":
        name = rest[0]
        if name not in PYTHONS and importlib.util.find_spec(name) is None:
            return f"there is no module {name}"
        return MODULES[name](tuple(rest[1:]), whole) if name in MODULES and rest[1:] else ""
    if first == "-c":
        compile(rest[0], "<a page>", "exec")
        return ""
    path = ROOT / first
    if not path.is_file():
        return f"there is no {first}"
    flags = [word for word in rest if word.startswith("--")]
    gone = [flag for flag in flags if f'"{flag}"' not in path.read_text(encoding="utf-8")]
    return f"{first} takes no {gone[0]}" if gone else ""


def _torchrun(words: tuple[str, ...], whole: bool) -> str:
    if "-m" not in words:
        return ""
    return _python(words[words.index("-m") :], whole)


def _jupyter(words: tuple[str, ...], whole: bool) -> str:
    return "" if (ROOT / words[-1]).exists() else f"there is no {words[-1]}"


SAYS: dict[str, Asked] = {
    "mlp": _mlp,
    "python": _python,
    "torchrun": _torchrun,
    "jupyter": _jupyter,
}


def refused(typed: Typed) -> str:
    """Why the command would not run, in one line; "" where it would."""
    return SAYS[typed.words[0]](typed.words[1:], typed.whole)
