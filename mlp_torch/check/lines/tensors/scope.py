"""The variables at a line of a torch program: tensors are read as arrays."""

import copy
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mlp_torch.check.lines.by_repair.scope import Offer, Scope
from mlp_torch.check.lines.tensors.edits import TensorMaker
from mlp_torch.check.operations.tensors import to_numpy

IN_PLACE = re.compile(r"\w_\(")


class TensorScope(Scope):
    """Variables of which tensors are read as arrays."""

    @staticmethod
    def plain(value: Any) -> Any:
        if isinstance(value, Tensor) and not value.is_complex():
            return to_numpy(value) if value.is_floating_point() else value.detach().cpu().numpy()
        return value

    def maker(self, lines: Sequence[str], offer: Offer) -> "TensorMaker":
        return TensorMaker(lines, self, offer)

    def read(self, text: str) -> Any:
        if IN_PLACE.search(text):  # the variables stay as they are for the next reader
            return type(self)(self.globals, copy.deepcopy(self.locals))._read(text)
        return self._read(text)

    def _read(self, text: str) -> Any:
        return super().read(text)

    def sizes(self) -> list[str]:
        return [re.sub(r"\.size$", ".numel()", text) for text in super().sizes()]
