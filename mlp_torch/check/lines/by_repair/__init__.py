"""The search by repair alone, for programs of tensors: values are replaced, then edits are run."""
