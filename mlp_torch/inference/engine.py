"""The network of a run behind the engine that trained it, so that its outputs have the very same bits."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from manual.numbers import Array
from mlp_torch.artifact import Artifact
from mlp_torch.config import Train
from mlp_torch.engines import ENGINES, build
from mlp_torch.errors import UserError
from mlp_torch.flags import from_table
from mlp_torch.machine import resolve_device


def flags(loaded: Artifact, run: str) -> Train:
    """The flags that the run was trained with. Raises UserError where they are none."""
    try:
        return from_table(Train, loaded.config)
    except TypeError as error:
        raise UserError(f"{run}: its flags cannot be read ({error})") from None


def predictor(loaded: Artifact, arrays: Mapping[str, Array], run: str) -> Callable[[Array], Array]:
    """(N, in) → (N, out). Where the run's engine or device is not there, the plain one, and that is said."""
    config = flags(loaded, run)
    try:
        config = replace(config, device=resolve_device(config.device, config.dtype))
        reason = ENGINES[config.engine].unsupported(config, loaded.architecture, loaded.loss)
    except (UserError, KeyError) as error:
        reason = str(error)
    if reason is not None:
        print(
            f"mlp: the {config.engine} engine is not here ({reason}); manual takes its place", file=sys.stderr
        )
        config = replace(config, engine="manual", device="cpu")
    engine = build(config, loaded.architecture, loaded.loss)
    engine.load(arrays)
    return engine.predict
