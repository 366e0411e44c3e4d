"""Programs as files of their own, so that their lines have numbers."""

import importlib.util
import itertools
import sys

import numpy as np

COUNT = itertools.count()


def written(folder, source, name="net"):
    """The module of a source that is written into a folder."""
    path = folder / f"{name}_{next(COUNT)}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    r = np.random.default_rng(0)
    module.np, module.r, module.n = np, r, lambda *shape: r.normal(size=shape)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def slipped(source, old, new):
    """(the source with its last `old` made `new`, the number of that line)."""
    head, _, tail = source.rpartition(old)
    return head + new + tail, head.count("\n") + 1
