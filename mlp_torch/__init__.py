"""The PyTorch side: the same MLP as an nn.Module, trained, compared with the hand-written backward.

A name is imported when it is first used, so that `mlp --help` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlp_torch.model import MLP as MLP
    from mlp_torch.verify.comparison import compare as compare
    from mlp_torch.verify.report import Report as Report
    from mlp_torch.verify.report import WrongGradientError as WrongGradientError

# One row a public name: the module that holds it.
EXPORTS = {
    "MLP": "mlp_torch.model",
    "Report": "mlp_torch.verify.report",
    "WrongGradientError": "mlp_torch.verify.report",
    "compare": "mlp_torch.verify.comparison",
}


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'mlp_torch' has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *EXPORTS])
