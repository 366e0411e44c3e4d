"""The guilty line of a torch.autograd.Function: tensors for arrays, a reference for the loss."""
