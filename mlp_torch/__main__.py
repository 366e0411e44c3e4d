"""The command line `mlp`: reads the flags, runs the command, says errors in one line.

Nothing heavy is imported here, so that `mlp --help` answers at once: a command's module, and torch with
it, is imported after its flags have been read and checked.
"""

import contextlib
import gc
import importlib
import io
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import tyro

from manual import __version__
from manual.structure.architecture import choose
from mlp_torch import streams
from mlp_torch.board.config import ShowBoard
from mlp_torch.check.config import Check
from mlp_torch.config import Compare, Train
from mlp_torch.data.config import SUFFIXES
from mlp_torch.errors import UserError
from mlp_torch.explanation.config import Explain
from mlp_torch.export.config import Export
from mlp_torch.inference.config import Evaluate, Predict, Runs
from mlp_torch.interrupts import code_of
from mlp_torch.lecture.config import Lecture
from mlp_torch.sweep.config import Sweep

# One row a command: the dataclass of its flags, and the function that takes it and returns the exit code.
COMMANDS: dict[str, tuple[type[Any], str]] = {
    "train": (Train, "mlp_torch.training.command:run"),
    "compare": (Compare, "mlp_torch.verify.command:run"),
    "check": (Check, "mlp_torch.check.command:run"),
    "lecture": (Lecture, "mlp_torch.lecture.command:run"),
    "explain": (Explain, "mlp_torch.explanation.words:run"),
    "sweep": (Sweep, "mlp_torch.sweep.command:run"),
    "evaluate": (Evaluate, "mlp_torch.inference.evaluate:run"),
    "predict": (Predict, "mlp_torch.inference.predict:run"),
    "export": (Export, "mlp_torch.export.command:run"),
    "board": (ShowBoard, "mlp_torch.board.command:run"),
    "runs": (Runs, "mlp_torch.inference.listing:run"),
}
DESCRIPTION = (
    "A multi-layer perceptron, its gradients by hand and by autograd, side by side. "
    "mlp --version: the versions of all that computes."
)


def program() -> int:
    """`main` as a process of its own: no search for garbage while modules are imported, nor at the end.

    Nothing that a module makes on import is garbage, and a process that ends gives back all at once: to look
    takes two thirds of a second.
    """
    gc.disable()
    try:
        return main(imported=_keep)
    finally:
        _keep()


def _keep() -> None:
    """What there is now is no garbage."""
    gc.freeze()
    gc.enable()


def main(
    arguments: Sequence[str] | None = None, imported: Callable[[], object] = contextlib.nullcontext
) -> int:
    """Run a command; `imported` is called when its modules are there.

    0: well, 1: the gradients do not agree, 2: a mistake, 70: a fault of this program, 74: stdout takes
    nothing, 130, 143, 129: interrupted, 141: nobody reads stdout.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given[0] if given and given[0] in COMMANDS else ""
    speaker = f"mlp {command}".strip()
    streams.prepare()
    try:
        return streams.delivered(speaker, lambda: _run(given, imported))
    except UserError as error:
        streams.say(f"{speaker}: {error}")
        return 2
    except MemoryError as error:
        hint = "; try smaller --hidden" if hasattr(COMMANDS.get(command, (None,))[0], "hidden") else ""
        streams.say(f"{speaker}: not enough memory ({error}){hint}")
        return 2
    except KeyboardInterrupt as end:
        streams.say(f"{speaker}: interrupted")
        return code_of(end)
    except Exception as error:  # a fault of our own: 1 would say that the gradients do not agree
        what = f"{type(error).__name__}: {error}".strip(": ")
        streams.say(f"{speaker}: an internal error, not yours ({what}); {streams.kept(error)}")
        return 70


def version() -> str:
    """This program's version, and those of what computes; nothing of it is imported to say so."""
    found = {"mlp-torch": __version__}
    for name in ("torch", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    ours, *others = (" ".join(item) for item in found.items())
    return f"{ours} ({', '.join(others)}, Python {platform.python_version()})"


def _run(given: Sequence[str], imported: Callable[[], object]) -> int:
    if list(given) == ["--version"]:
        print(version())
        return 0
    config = parse(given)
    config.check()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # what is lost in the network is said in one line, without C++
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    module, _, function = COMMANDS[given[0]][1].partition(":")
    command = getattr(importlib.import_module(module), function)
    imported()
    return int(command(config))


def parse(arguments: Sequence[str]) -> Any:
    """The command's configuration. Raises UserError for flags that cannot be read; `--help` exits 0."""
    read: Callable[..., Any]
    if "" in arguments:
        before = list(arguments[: arguments.index("")]) or [""]
        raise UserError(f"{before[-1]} '': an argument is empty; give it a value, or leave the flag out")
    if arguments and not arguments[0].startswith("-"):
        try:
            choose("command", arguments[0], list(COMMANDS))
        except ValueError as error:
            raise UserError(str(error)) from None
        command, flags = arguments[0], list(arguments[1:])
        read = partial(tyro.cli, COMMANDS[command][0], prog=f"mlp {command}", args=flags)
    else:
        rows = {name: row[0] for name, row in COMMANDS.items()}
        read = partial(
            tyro.extras.subcommand_cli_from_dict,
            rows,
            prog="mlp",
            description=DESCRIPTION,
            args=list(arguments),
        )
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return read(config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as end:
        if not end.code:
            raise
    raise UserError(one_line(box.getvalue()))


def one_line(box: str) -> str:
    """What a box of tyro's says, in one line: its first section, and the flags that it thinks similar.

    A box is framed lines; a rule of ─ ends a section; a flag stands four spaces in, its help deeper. Where
    stdout has no │, the frame is of spaces, with its title and a rule as the first lines.
    """
    framed = box.splitlines()
    if "╭" not in box:
        framed = [f"│{line[1:]}" for line in framed[2:]]
    lines = [re.sub(r"^\s*│ ?|\s*│\s*$", "", line) for line in framed]
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(("╭", "╰")):
            continue
        if line.startswith(("─", "-----")):
            sections.append([])
        elif line.strip():
            sections[-1].append(line)
    said = _unknown(" ".join(line.strip() for line in sections[0]))
    similar = [
        line.split()[0]
        for section in sections[1:]
        if re.match(r"Perhaps you meant|Arguments similar", section[0])
        for line in section[1:]
        if re.match(r" {4}-", line)
    ]
    hint = f" (did you mean {' or '.join(dict.fromkeys(similar))}?)" if similar else ""
    return f"{said[:1].lower()}{said[1:]}".rstrip(".") + hint + "; --help lists the flags"


def _unknown(said: str) -> str:
    """tyro counts as options what follows an unknown one, and a word too many."""
    kind, _, listed = said.partition(": ")
    if kind.lower() != "unrecognized options":
        return said
    words = listed.split(", ")
    flags = [word for word in words if word.startswith("-")]
    if flags:
        return f"{kind}: {', '.join(flags)}"
    table = next((word for word in words if word.endswith(SUFFIXES)), None)
    hint = f" (a table is given as --data {table})" if table else ""
    return f"too many words, nothing takes {', '.join(words)}{hint}"


if __name__ == "__main__":
    sys.exit(program())
