"""What losses over logits form where a twin holds those in {0, ±1024}: softmax, sigmoid are 0, ½ or 1."""

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage
from mlp_torch.verify.bits import SENTINELS, RefusedError, Values, unit


def logits_units(stage: Stage, v: Values) -> tuple[Array, int]:
    """Sizes of logits times targets, and their unit."""
    output = v[stage.reads[0]]
    if not np.isin(output, SENTINELS).all():
        raise RefusedError(f"{stage.name}: {stage.row} is dyadic only for logits in {{0, ±1024}}")
    if stage.row == "cross_entropy" and (np.sort(output, axis=1)[:, -1:] == output).sum() > len(output):
        raise RefusedError(f"{stage.name}: softmax is dyadic only without ties at the largest logit")
    if v["y"].shape != output.shape:  # labels
        return 1 + 2 * np.abs(output), 0
    y = v[stage.reads[1]]
    return (1 + 2 * np.abs(output)) * (1 + np.abs(y).sum(axis=1, keepdims=True)), max(unit(y), 0)
