"""The author's output and loss value against those of a described network, before any gradient is judged."""

from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.noise import DOUBLE, SINGLE
from mlp_torch.check.describe.targets import MisfitError, orient
from mlp_torch.check.report import CheckReport, Fault


@dataclass(frozen=True)
class Asked:
    """What the author's arrays are held against besides: output and loss value, and the ε they came with."""

    output: Array | None = None
    loss_value: float | None = None
    unit: float = DOUBLE

    @property
    def slack(self) -> float:
        """How far the author's output and loss may lie from ours, relatively."""
        return {DOUBLE: 1e-7, SINGLE: 1e-4}.get(self.unit, 8 * self.unit)


def same_loss(p: Network, asked: Asked) -> bool:
    assert asked.loss_value is not None
    return abs(p.loss_value() - asked.loss_value) <= asked.slack * abs(asked.loss_value)


def same_output(p: Network, asked: Asked) -> bool:
    assert asked.output is not None
    try:
        mine = orient(asked.output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
    except MisfitError:
        return False
    scale = max(float(np.linalg.norm(p.output)), 1e-300)
    return float(np.linalg.norm(mine - p.output)) <= asked.slack * scale


def forward_mismatch(p: Network, output: Array) -> CheckReport:
    try:
        mine = orient(output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
        index = np.unravel_index(int(np.argmax(np.abs(mine - p.output))), mine.shape)
        where = [int(i) for i in index]
        evidence = (
            f"your output{where} is {mine[index]:.6g}, the described network gives {p.output[index]:.6g}"
        )
    except MisfitError as misfit:
        evidence = str(misfit)
    fault = Fault(
        "forward_mismatch", None, ("output",), "the forward pass differs from the layers described", evidence
    )
    text = f"your forward pass is not the one described, so gradients cannot be compared: {evidence}."
    return CheckReport("not_comparable", {}, [fault], message=text)


def ambiguous(problems: list[Network]) -> str:
    differing = [
        option
        for option in ("samples", "weight_layout", "output_samples")
        if len({str(p.choices[option]) for p in problems}) > 1
    ]
    if "samples" in differing:
        differing = [d for d in differing if d != "output_samples"]
    choices = {
        "samples": "'rows' or 'columns'",
        "output_samples": "'rows' or 'columns'",
        "weight_layout": "'in,out' or 'out,in'",
    }
    asked = " and ".join(f"{option}={choices[option]}" for option in differing)
    return f"the shapes allow more than one layout; say {asked or 'samples='}"
