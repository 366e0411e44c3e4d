"""`mlp sweep`: a search over the flags of `mlp train`, whose trials are runs.

Optuna, an extra, proposes values and prunes; everything else is the project's own loop and folders.
Nothing is imported by this room itself, so that the command line can read the flags in `config` at once.
"""
