"""The data of a run for its processes: each reads them, and keeps its own rows of the inputs."""

import os
from dataclasses import replace

import numpy as np

from mlp_torch.config import Train
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Data, Split
from mlp_torch.distributed.group import Group, current
from mlp_torch.distributed.parts import OwnRows, Part
from mlp_torch.errors import UserError
from mlp_torch.objective import prepared

AHEAD = "POLARS_ROW_GROUP_PREFETCH_SIZE"  # parts of a Parquet file that are read ahead; as they come, 100 MB


def read(config: Train) -> Data:
    """Rank 0, or a run of one process: the data that the flags name; the other ranks read them too.

    Raises UserError where a process cannot, and names it.
    """
    group = current()
    if group.size == 1:
        return _load(config)
    group.tell("data", config)
    return agreed(config, group)


def agreed(config: Train, group: Group) -> Data:
    """All ranks: as `read`."""
    data, ended = None, None
    try:
        data = _load(config)
    except (UserError, MemoryError, OSError, KeyboardInterrupt) as error:
        ended = error
    said = "" if ended is None else str(ended) or type(ended).__name__
    shown = "" if data is None else f"{data.fingerprint} {len(data.train)}"
    found = group.gathered((said, shown))  # first: the others wait for it
    if ended is not None:
        raise ended
    for rank, (theirs, seen) in enumerate(found):
        if theirs:
            raise UserError(f"rank {rank}: {theirs}")
        if seen != found[0][1]:
            raise UserError(f"--data {config.data}: rank {rank} reads another file of that name than rank 0")
    assert data is not None
    return cut(data, group)


def _load(config: Train) -> Data:
    group, dtype = current(), np.dtype(config.dtype)
    holder = None
    if group.size > 1:
        holder = OwnRows(group)
        os.environ.setdefault(AHEAD, "1")  # polars asks when it begins to read
    return prepared(config, load(config, config.loss, seed=config.seed, dtype=dtype, holder=holder))


def cut(data: Data, group: Group) -> Data:
    """The splits with their names, by which rank 0 tells of them; of a built-in set all ranks have all."""

    def of(name: str) -> Split:
        split: Split = getattr(data, name)
        x, n = split.x, len(split)
        if not isinstance(x, Part):
            holder = OwnRows(group)
            rows = holder.rows(n, x.nbytes)
            x = holder.inputs(x[rows].copy(), rows.start, n, x.nbytes)
        x.name = name
        return replace(split, x=x)

    return replace(data, train=of("train"), validation=of("validation"), test=of("test"))
