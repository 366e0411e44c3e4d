"""Where an explained network comes from: the flags, or a run's folder; and which samples go through it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import manual
from manual.numbers import Array
from manual.structure.architecture import choose
from manual.structure.trace import Trace
from mlp_torch import artifact
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Data
from mlp_torch.engines import manual_model
from mlp_torch.errors import UserError
from mlp_torch.explanation.config import Explain
from mlp_torch.flags import flag_name, from_table
from mlp_torch.machine import resolve_device
from mlp_torch.model import to_torch
from mlp_torch.network import Network
from mlp_torch.trace import trace

OWN = ("dtype", "device", "batch_size")  # of Network's flags, those that a run does not settle
BATCH_NORM_SAMPLES = 4


@dataclass(frozen=True)
class Source:
    """A network with its data; `epoch` is that of a run's weights, None where they are the initial ones."""

    config: Explain
    data: Data
    model: manual.MLP
    epoch: int | None


def source(config: Explain) -> Source:
    """What the flags name. Raises UserError for a run that cannot be read or a flag that contradicts it."""
    arrays: Mapping[str, Array] = {}
    epoch = None
    if config.run is not None:
        loaded, arrays = artifact.read(config.run)
        config, epoch = with_run(config, config.run, loaded.config), loaded.epoch
    data = load(config, config.loss, seed=config.seed, dtype=np.dtype(config.dtype))
    model = manual_model(config, config.architecture(data.inputs, data.outputs))
    if config.run is not None and loaded.sizes != model.architecture.sizes:
        raise UserError(
            f"--run {config.run}: --data {config.data} has changed since the run was trained on it"
        )
    for home in (model.parameters, model.buffers):
        home |= {name: arrays[name].astype(model.dtype) for name in home if name in arrays}
    return Source(config, data, model, epoch)


def with_run(config: Explain, run: Path, table: Mapping[str, Any]) -> Explain:
    """The flags with the network's own taken from the run's; another value is refused."""
    settled: dict[str, Any] = {}
    try:
        settings = from_table(Network, table)
        for field in fields(Network):
            if field.name in OWN or field.name not in table:
                continue
            value, given = getattr(settings, field.name), getattr(config, field.name)
            if given != field.default and given != value:
                raise UserError(
                    f"{flag_name(field.name)}: {run} was trained with {value}; leave the flag out with --run"
                )
            settled[field.name] = value
        config = replace(config, **settled)
        config.check()
    except TypeError as error:
        raise UserError(f"--run {run}: its flags cannot be read ({error})") from None
    return config


def batch(config: Explain, n: int) -> Array:
    """Which of n training samples: `--sample` (0 as long as none is chosen), and the next ones of the batch.

    batch_norm cannot train on one sample, so it takes four where no `--batch-size` is given. Raises
    UserError for a sample that is not there.
    """
    first = config.sample or 0
    if first >= n:
        raise UserError(f"--sample {first}: the training data has {n} samples, 0 to {n - 1}")
    size = config.batch_size
    if config.normalization == "batch_norm" and size == 1:
        size = BATCH_NORM_SAMPLES
    return (first + np.arange(min(size, n))) % n


def our_trace(found: Source) -> Trace:
    """The hand-written trace, with the masks that `traces` will draw."""
    samples = batch(found.config, len(found.data.train))
    generator = found.model.generator.bit_generator
    before = generator.state
    try:
        return found.model.trace(found.data.train.x[samples], found.data.train.y[samples], found.data.loss)
    finally:
        generator.state = before


def traces(found: Source) -> tuple[Trace, Trace]:
    """The hand-written trace and autograd's, in training mode, with the same masks."""
    samples = batch(found.config, len(found.data.train))
    x, y = found.data.train.x[samples], found.data.train.y[samples]
    masks = found.model.draw_masks(len(x))
    module = to_torch(found.model).to(resolve_device(found.config.device, found.config.dtype))
    ours = found.model.trace(x, y, found.data.loss, masks=masks)
    return ours, trace(module, x, y, found.data.loss, masks=masks)


def locate(text: str, trace: Trace) -> tuple[str, tuple[int, ...]]:
    """`layers.0.weight[2,0]` as a name and an index; without an index, the entry of largest gradient.

    Raises UserError with the nearest name or the range.
    """
    gradients = trace.gradients
    name, _, rest = text.replace(" ", "").partition("[")
    try:
        choose("parameter", name, sorted(gradients))
    except ValueError as error:
        raise UserError(f"--parameter {text}: {error}") from None
    gradient = gradients[name]
    if "[" not in text:
        position = np.unravel_index(int(np.argmax(np.abs(gradient))), gradient.shape)
        return name, tuple(int(i) for i in position)
    ranges = " and ".join(f"0 to {size - 1}" for size in gradient.shape)
    example = f"{name}[{','.join('0' for _ in gradient.shape)}]"
    if not re.fullmatch(r"\d+(,\d+)*\]", rest):
        raise UserError(f"--parameter {text}: write it as {example}, indices {ranges}")
    index = tuple(int(i) for i in rest[:-1].split(","))
    inside = len(index) == gradient.ndim and all(i < n for i, n in zip(index, gradient.shape, strict=True))
    if not inside:
        shape = "×".join(map(str, gradient.shape))
        raise UserError(
            f"--parameter {text}: {name} is {shape}, so its indices are {ranges}, as in {example}"
        )
    return name, index
