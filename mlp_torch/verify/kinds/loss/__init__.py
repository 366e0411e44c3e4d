"""Losses and their gradients: the stages (`stages.py`), and the rows that they apply, by family."""
