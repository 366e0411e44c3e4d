"""The PyTorch side: the same MLP as an nn.Module, trained, compared with the hand-written backward."""
