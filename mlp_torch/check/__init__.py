"""Checking anybody's hand-written backward pass, and naming the factor of the chain rule that is wrong.

A name is imported when it is first used, so that the pytest plugin costs nothing where it is not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlp_torch.check.describe.layers import Dropout as Dropout
    from mlp_torch.check.describe.layers import Layer as Layer
    from mlp_torch.check.describe.layers import Penalty as Penalty
    from mlp_torch.check.gradients import check_gradients as check_gradients
    from mlp_torch.check.gradients import check_step as check_step
    from mlp_torch.check.report import ArrayRow as ArrayRow
    from mlp_torch.check.report import CheckReport as CheckReport
    from mlp_torch.check.report import Fault as Fault

# One row a public name: the module that holds it.
EXPORTS = {
    "ArrayRow": "mlp_torch.check.report",
    "CheckReport": "mlp_torch.check.report",
    "Dropout": "mlp_torch.check.describe.layers",
    "Fault": "mlp_torch.check.report",
    "Layer": "mlp_torch.check.describe.layers",
    "Penalty": "mlp_torch.check.describe.layers",
    "check_gradients": "mlp_torch.check.gradients",
    "check_step": "mlp_torch.check.gradients",
}

__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'mlp_torch.check' has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
