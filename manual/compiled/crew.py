"""What `threads.py` was called: tests/mlp_torch/verify/test_compiled.py imports it, and it goes with that."""

from manual.compiled.threads import NOBODY_WAITS

__all__ = ["NOBODY_WAITS"]
