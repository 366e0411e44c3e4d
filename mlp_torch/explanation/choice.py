"""What is explained where the flags leave it open: a sample and an entry with something to see, and why."""

from dataclasses import dataclass, replace

import numpy as np

from manual.structure.trace import Trace
from mlp_torch.explanation.source import Source, locate, our_trace

AMONG = 16  # samples that are looked at
NOTHING = 1e-12  # of the largest gradient of all parameters: an entry below it counts as 0
FIRST = "layers.0.weight"


@dataclass(frozen=True)
class Choice:
    """The network with its sample settled, the entry, and in words why these, where something was chosen."""

    found: Source
    parameter: str
    index: tuple[int, ...]
    why: str


def choose(found: Source) -> Choice:
    """The sample of the largest entry among the first few, and the largest entry of the parameter.

    What the flags name is kept. Raises UserError for a sample or a parameter that is not there.
    """
    config, n = found.config, min(AMONG, len(found.data.train))
    named = config.parameter
    if config.sample is None:
        samples = [_with(found, sample) for sample in range(n)]
        at = [our_trace(sample) for sample in samples]
        sizes = [_size(trace, named or FIRST) for trace in at]
        best = int(np.argmax(sizes))
        found, trace, among = samples[best], at[best], f" over the first {n} samples"
    else:
        trace, among = our_trace(found), ""
    parameter = named.partition("[")[0].strip() if named else seen(trace)
    name, index = locate(named or parameter, trace)
    size = abs(float(trace.gradients[name][index]))
    if named and "[" in named:
        why = f"chosen: the sample of the largest such entry{among}" if among else ""
    elif parameter != (named or FIRST):
        why = f"chosen: the largest entry of {name}, the first parameter whose gradient is not 0"
    else:
        why = f"chosen: the largest entry of {name}{among}"
    if size == 0 and why:
        what = f"{'this entry' if named and '[' in named else name} is 0" if named else "every gradient is 0"
        why = f"{what}{among}"
    return Choice(found, name, index, why)


def seen(trace: Trace) -> str:
    """The first parameter, from the input on, whose gradient is more than nothing beside the others'."""
    largest = {name: float(np.abs(gradient).max()) for name, gradient in trace.gradients.items()}
    limit = NOTHING * max(largest.values())
    return next((name for name in sorted(largest, key=_order) if largest[name] > limit), FIRST)


def _order(name: str) -> tuple[bool, int, bool]:
    """Layer by layer, each weight before its bias; what belongs to no layer stands last."""
    kind, number, part = name.split(".")
    return kind != "layers", int(number), part == "bias"


def _with(found: Source, sample: int) -> Source:
    return replace(found, config=replace(found.config, sample=sample))


def _size(trace: Trace, parameter: str) -> float:
    name, index = locate(parameter, trace)
    size = abs(float(trace.gradients[name][index]))
    return size if np.isfinite(trace.loss) and np.isfinite(size) else -1.0
