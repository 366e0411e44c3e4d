"""A sweep in one line, and its trials."""

import optuna

from mlp_torch.__main__ import main
from mlp_torch.sweep import study as studies

FIXED = "--data xor --epochs 3 --hidden 4"


def sweep(runs, flags, study="s"):
    """The exit code of `mlp sweep` with these flags."""
    return main(["sweep", *flags.split(), "--runs-dir", str(runs), "--study", study])


def trials(runs, name="s", storage=None):
    """The study's trials, read anew."""
    found = studies.storage(storage, runs / name)
    return optuna.load_study(study_name=name, storage=found).get_trials()
