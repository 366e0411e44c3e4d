"""The compiled engine: the hand-written step of `manual` as machine code (needs numba)."""

from manual.compiled.engine import CompiledEngine
from manual.compiled.ready import prepare, unsupported

__all__ = ["CompiledEngine", "prepare", "unsupported"]
