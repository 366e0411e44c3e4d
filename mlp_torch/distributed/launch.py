"""`mlp train` under torchrun: rank 0 runs the command, the others follow; a restart goes on where it was cut.

torchrun starts all processes anew when one has ended badly (--max-restarts). What survives is its store: it
keeps the name of the run's folder, and the new rank 0 goes on from the last checkpoint there.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlp_torch.artifact import CONFIG
from mlp_torch.config import Train
from mlp_torch.distributed.follow import follow
from mlp_torch.distributed.group import RUN, Group, LostError, join, leave
from mlp_torch.errors import UserError
from mlp_torch.runs import check_name

TIMEOUT = 300.0  # seconds, where none are given


def run(config: Train, alone: Callable[[Train], int]) -> int:
    """This process's part of the command, whose whole `alone` is; its exit code."""
    group = join(config.timeout or TIMEOUT, config.device)
    ended = False
    try:
        if group.rank:
            ended = True
            return _followed(group)
        code = alone(going_on(config, group))
        ended = True
        return code
    except (UserError, KeyboardInterrupt, SystemExit):
        ended = True
        raise
    finally:
        if not ended:  # by a fault of this program: the others are wherever they are
            group.lost = True
        elif group.rank == 0 and not group.lost:
            with contextlib.suppress(LostError):  # one has left already, for the same reason
                group.tell("end")
        leave()


def _followed(group: Group) -> int:
    """What rank 0 has to say of an error it says itself."""
    try:
        return follow(group)
    except LostError:
        raise
    except UserError:
        return 2


def going_on(config: Train, group: Group) -> Train:
    """The flags of this attempt: `--resume` of the folder that an earlier one of this launch has begun."""
    if config.resume is not None or group.signs is None:
        return config
    store = group.signs.launch
    if store.check([RUN]):
        folder = Path(store.get(RUN).decode())
        found = (folder / CONFIG).is_file()
        return replace(config, resume=folder) if found else replace(config, name=folder.name)
    if config.name is not None:
        check_name(config.runs_dir, config.name)
        group.began(config.runs_dir / config.name)
    return config
