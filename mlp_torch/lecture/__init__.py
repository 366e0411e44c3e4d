"""The lecture, runnable: one function a step, in the lecture's order; `steps.py` is the table of contents."""
