"""The ddp engine as the flags describe it, and what it cannot do."""

from typing import Any

from manual.structure.architecture import Architecture
from mlp_torch.config import Train
from mlp_torch.distributed.group import current
from mlp_torch.distributed.shares import LEAVES
from mlp_torch.model import MLP, OPTIMIZERS, row_of

# Every process moves all weights: that should take no longer than it must.
FUSED = ("sgd", "adam", "adamw", "adagrad")


def ddp(config: Train, module: MLP, loss: str) -> Any:
    """The engine on this process's module; rank 0 has the others make theirs."""
    from mlp_torch.distributed.engine import DDPEngine

    group = current()
    if group.rank == 0:
        group.tell("build", config, module.architecture, loss)
    options: Any = config.optimizer_options()
    if config.optimizer in FUSED and config.device != "mps":
        options |= {"fused": True}
    optimizer = row_of("optimizer", OPTIMIZERS, config.optimizer)(
        module.parameters(), lr=config.lr, **options
    )
    return DDPEngine(
        module, loss, optimizer, config.recipe(),
        group=group, seed=config.seed, reproducible=config.reproducible,
    )  # fmt: skip


def unsupported(config: Train, architecture: Architecture) -> str | None:
    """Why the ddp engine cannot train this network."""
    size = current().size
    if architecture.normalization == "batch_norm" and (size > 1 or config.reproducible):
        return "batch_norm is over the whole batch, of which a process sees a share; use layer_norm"
    if config.fp32_precision != "ieee":
        return "it rounds products as torch is set, and --fp32-precision is for others; use --engine torch"
    if config.reproducible and LEAVES % size:
        return f"--reproducible has an order of sums for 1, 2, 4 or {LEAVES} processes, and there are {size}"
    return None
