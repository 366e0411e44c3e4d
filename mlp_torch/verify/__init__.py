"""The instrument: two traces side by side, each stage exact, certified, undecided or proven wrong."""

from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import ComparisonReport, ComparisonRow, WrongGradientError

__all__ = ["ComparisonReport", "ComparisonRow", "WrongGradientError", "compare"]
