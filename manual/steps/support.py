"""What a fast step has no kernel for, said in one line before anything runs."""

from collections.abc import Mapping
from typing import Any

from manual.architecture import Architecture

HAS_NO = {"activation": "kernel for the activation", "loss": "kernel for the loss", "optimizer": "rule for"}


def lacking(engine: str, tables: Mapping[str, Any], architecture: Architecture, **rows: Any) -> str | None:
    """The first row that the network or `rows` ask for and the engine's table of its kind lacks, or None.

    `rows` are a loss and an optimizer, as the keys of its table; None is not asked for.
    """
    layers = range(1, architecture.depth + 1)
    asked = [("activation", architecture.activation_of(layer)) for layer in layers] + list(rows.items())
    for kind, row in asked:
        if row is not None and row not in tables[kind]:
            return f"the {engine} engine has no {HAS_NO[kind]} {getattr(row, '__name__', row)}"
    return None
