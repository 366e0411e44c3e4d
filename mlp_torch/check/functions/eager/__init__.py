"""A person's NumPy code run eagerly, in Python's own control flow, on arrays that torch.autograd follows."""
