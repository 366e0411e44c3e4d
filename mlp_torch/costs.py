"""What the compiled step costs before it saves anything: code is loaded, and once it is compiled."""

import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from subprocess import DEVNULL, Popen
from typing import Any

from manual.structure.architecture import Architecture
from mlp_torch.config import Train
from mlp_torch.machine import step_flops

# Seconds to load the compiled step's code of two dtypes from disk, numba with it, and to compile it first.
# And what a step saves beside `manual`: so many seconds, and so many an operation. Measured on an Intel Xeon.
LOADING, COMPILING, SAVED_A_STEP, SAVED_AN_OPERATION = 0.7, 13.0, 18e-6, 6e-12


def saved(config: Train, architecture: Architecture, steps: int) -> float:
    """The seconds by which the compiled step is faster in so many steps, once its code is loaded."""
    return steps * (SAVED_A_STEP + SAVED_AN_OPERATION * step_flops(architecture.sizes, config.batch_size))


def worth_loading(config: Train, architecture: Architecture, steps: int) -> str | None:
    """Why the compiled step would not be faster in a process that is for one such run."""
    if importlib.util.find_spec("numba") is None or saved(config, architecture, steps) >= LOADING:
        return None
    return "its code takes longer to load than it would save here"


def worth_compiling(config: Train, architecture: Architecture, steps: int) -> str | None:
    """Why the compiled step would not be faster where its code is not on disk."""
    if saved(config, architecture, steps) >= COMPILING or at_hand(kinds(config.dtype)):
        return None
    return "its code is to be compiled first, which takes longer than it would save (--warm: for next time)"


def kinds(dtype: str) -> list[str]:
    """What a run computes in: its own dtype, and float64 where its gradients are judged."""
    return sorted({dtype, "float64"})


class ToBeCompiledError(Exception):
    """The code that was asked for is not on disk."""


def at_hand(dtypes: Iterable[str]) -> bool:
    """Whether the compiled step's code is in this process, or on disk: then it is in this process now."""
    from manual.compiled.ready import AT_HAND

    return all(dtype in AT_HAND or _on_disk(dtype) for dtype in dtypes)


@cache
def _on_disk(dtype: str) -> bool:
    from manual.compiled import prepare

    def waiting() -> None:
        raise ToBeCompiledError

    try:
        prepare(dtype, waiting)
    except ToBeCompiledError:
        return False
    return True


WARM = """import os, sys
if os.name == "posix":
    os.nice(19)
from manual.compiled import prepare
for dtype in sys.argv[1:]:
    prepare(dtype)"""


def warm(dtype: str) -> None:
    """Compile the step for next time, in a process of its own that steps back and outlives this one."""
    quiet: Any = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL, "start_new_session": True}
    Popen([sys.executable, "-c", WARM, *kinds(dtype)], **quiet)
