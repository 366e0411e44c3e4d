"""`mlp explain`: one gradient entry as the product of its factors, from the loss down to the weight.

`chain.explain` reads two traces; everything else here shows what it found. Nothing is imported by this
room itself, so that the command line can read the flags in `config` at once.
"""
