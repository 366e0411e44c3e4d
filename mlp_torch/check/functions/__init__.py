"""A NumPy program that gives a loss and gradients, judged on its own forward pass."""
