"""The fast step in NumPy: the chain rule of `manual` on arrays that are made once.

The plain formulas stay the source of truth; here each is a list of calls that write into buffers. The
instrument judges every stage of this step as it judges the plain one (`BufferedEngine.trace`).
"""

from manual.buffered.engine import BufferedEngine

__all__ = ["BufferedEngine"]
