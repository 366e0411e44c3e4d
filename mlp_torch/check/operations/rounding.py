"""What rounding alone does to a gradient: every operation of the reference is moved by a relative δ ≤ u.

Monte Carlo arithmetic (Parker 1997): where terms cancel, as in 1 − tanh² or in the mean of a batch norm, the
gradient moves by u times the size of what cancels, and not by u times what is left.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# results that are among the operands, or their negative: nothing is rounded
NAMES = """
abs absolute amax amin aminmax argsort bernoulli block_diag cat chunk clamp clamp_max clamp_min clone
column_stack combinations complex constant_pad_nd copy copysign cummax cummin diag diag_embed diagonal_copy
diagonal_scatter empty empty_like empty_strided empty_permuted expand_copy eye fill flip floor fmax fmin
frac frexp full full_like gather hardtanh hardtanh_backward heaviside index index_copy index_fill index_put
index_select kthvalue ldexp lift lift_fresh linspace masked_fill masked_scatter masked_select max max_pool1d
max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices maximum median min minimum
mode msort nan_to_num nanmedian neg new_empty new_empty_strided new_full new_ones new_zeros normal one_hot
ones ones_like permute_copy pixel_shuffle pixel_unshuffle put rand rand_like randint randn randn_like
reflection_pad1d reflection_pad2d reflection_pad3d relu renorm_mask repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d resize roll rot90 round scalar_tensor scatter
select_backward select_scatter sgn sign slice_backward slice_scatter sort stack take threshold
threshold_backward to_copy topk trace_mask tril triu trunc unfold_copy uniform unique unsafe_view view_copy
where zeros zeros_like zero adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d
fractional_max_pool3d embedding native_dropout_mask real imag positive im2col upsample_nearest1d
upsample_nearest2d upsample_nearest3d channel_shuffle bucketize searchsorted nonzero max_unpool2d
max_unpool3d evenly_distribute_backward squeeze_copy detach_copy arange logspace
"""
EXACT = frozenset(NAMES.split())
_rounds: dict[Any, bool] = {}


def rounds(operation: Any) -> bool:
    """The operation makes new numbers: no view, no copy, no choice among its operands, no drawing."""
    if operation not in _rounds:
        name = operation._schema.name.removeprefix("aten::").strip("_")
        _rounds[operation] = (
            name not in EXACT
            and not any(r.alias_info for r in operation._schema.returns)
            and torch.Tag.nondeterministic_seeded not in operation.tags
        )
    return _rounds[operation]


class Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """Each floating result of each operation is multiplied by 1 + δ, |δ| ≤ `unit`, drawn anew."""

    def __init__(self, unit: float, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit, self.number = unit, number
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not rounds(func):
            return out
        if isinstance(out, Tensor):
            return self.moved(out)
        return type(out)(self.moved(v) for v in out) if type(out) in (tuple, list) else out

    def moved(self, v: Any) -> Any:
        real = {torch.complex128: torch.float64, torch.complex64: torch.float32}
        if not isinstance(v, Tensor) or not (v.is_floating_point() or v.is_complex()) or v._is_zerotensor():
            return v
        if v.device not in self.generators:
            self.generators[v.device] = torch.Generator(v.device).manual_seed(self.number)
        random = torch.rand(
            v.shape, generator=self.generators[v.device], dtype=real.get(v.dtype, v.dtype), device=v.device
        )
        return v * (1 + self.unit * (2 * random - 1))
