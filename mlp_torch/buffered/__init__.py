"""The hand-written step in torch buffers: forward, backward and update without autograd, on CPU or GPU.

`manual/` derives the chain rule and stays its plain text; here every stage of it is a few kernels that
write into tensors which are made once. Read `step.py` first: it is `manual.chain` in buffers.
"""

from mlp_torch.buffered.engine import TorchEngine, unsupported

__all__ = ["TorchEngine", "unsupported"]
