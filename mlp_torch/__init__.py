"""The PyTorch side: the same MLP as an nn.Module, trained, compared with the hand-written backward.

A name is imported when it is first used, so that `mlp --help` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manual import __version__ as __version__
    from mlp_torch.check.describe.layers import Dropout as Dropout
    from mlp_torch.check.describe.layers import Layer as Layer
    from mlp_torch.check.describe.layers import Penalty as Penalty
    from mlp_torch.check.functions.function import check_function as check_function
    from mlp_torch.check.gradients import check_gradients as check_gradients
    from mlp_torch.check.gradients import check_step as check_step
    from mlp_torch.check.operations.function import check_autograd_function as check_autograd_function
    from mlp_torch.errors import UserError as UserError
    from mlp_torch.estimators.classes import MLPClassifier as MLPClassifier
    from mlp_torch.estimators.classes import MLPRegressor as MLPRegressor
    from mlp_torch.explanation.notebook import explain as explain
    from mlp_torch.inference.loaded import load_run as load_run
    from mlp_torch.model import MLP as MLP
    from mlp_torch.training.python import TrainedRun as TrainedRun
    from mlp_torch.training.python import train as train
    from mlp_torch.verify.comparison import compare as compare
    from mlp_torch.verify.report import ComparisonReport as ComparisonReport
    from mlp_torch.verify.report import WrongGradientError as WrongGradientError

# One row a public name: the module that holds it.
EXPORTS = {
    "__version__": "manual",
    "Dropout": "mlp_torch.check.describe.layers",
    "Layer": "mlp_torch.check.describe.layers",
    "Penalty": "mlp_torch.check.describe.layers",
    "check_autograd_function": "mlp_torch.check.operations.function",
    "check_function": "mlp_torch.check.functions.function",
    "check_gradients": "mlp_torch.check.gradients",
    "check_step": "mlp_torch.check.gradients",
    "MLP": "mlp_torch.model",
    "MLPClassifier": "mlp_torch.estimators.classes",
    "MLPRegressor": "mlp_torch.estimators.classes",
    "TrainedRun": "mlp_torch.training.python",
    "UserError": "mlp_torch.errors",
    "ComparisonReport": "mlp_torch.verify.report",
    "WrongGradientError": "mlp_torch.verify.report",
    "compare": "mlp_torch.verify.comparison",
    "explain": "mlp_torch.explanation.notebook",
    "load_run": "mlp_torch.inference.loaded",
    "train": "mlp_torch.training.python",
}

__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'mlp_torch' has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *EXPORTS])
