"""The instrument: two traces side by side, each stage exact, certified, undecided or proven wrong."""

from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import ComparisonReport, WrongGradientError
from mlp_torch.verify.row import ComparisonRow

__all__ = ["ComparisonReport", "ComparisonRow", "WrongGradientError", "compare"]
