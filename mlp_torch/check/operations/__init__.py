"""A torch callable with a backward of its own, judged by autograd of a reference."""
