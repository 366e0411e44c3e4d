"""Checking anybody's hand-written backward pass, and naming the factor of the chain rule that is wrong."""

from mlp_torch.check.describe.layers import Dropout, Layer, Penalty
from mlp_torch.check.gradients import check_gradients, check_step
from mlp_torch.check.report import ArrayRow, CheckReport, Fault

__all__ = ["ArrayRow", "CheckReport", "Dropout", "Fault", "Layer", "Penalty", "check_gradients", "check_step"]
