"""The floating-point environment of torch's threads, which are at work before a run begins."""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

from manual.training import subnormals


@cache
def _openmp() -> Any:
    """The OpenMP library that torch brings along, or None where its threads are another's."""
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*"):
        return ctypes.CDLL(str(path))
    return None


def spread(environment: Any) -> None:
    """Give the environment to each thread that torch's kernels run on: all of them call fesetenv."""
    threads, openmp, library = torch.get_num_threads(), _openmp(), subnormals.LIBRARY
    if threads > 1 and openmp is not None and library is not None:
        openmp.GOMP_parallel(library.fesetenv, ctypes.byref(environment), threads, 0)
