"""Without scikit-learn's import, its very rows: who trains on digits does not wait for it."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from mlp_torch.data.sets import DATASETS
from mlp_torch.tables.splitting import shuffled, stratified

shares = st.floats(0.02, 0.9)
seeds = st.integers(0, 2**31)


@given(st.integers(2, 300), shares, seeds)
def test_rows_are_shuffled_into_the_parts_of_scikit_learn(n, share, seed):
    try:
        expected = train_test_split(np.arange(n), test_size=share, random_state=seed)
    except ValueError:
        return  # a part would be empty, which `split` says before
    for ours, theirs in zip(shuffled(n, share, seed), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(st.lists(st.integers(0, 4), min_size=4, max_size=300), shares, seeds)
def test_classes_are_split_into_the_parts_of_scikit_learn(labels, share, seed):
    y = np.array(labels)
    try:
        expected = train_test_split(np.arange(len(y)), test_size=share, random_state=seed, stratify=y)
    except ValueError:
        return  # a class or a part is too small, which `split` sees before
    for ours, theirs in zip(stratified(y, share, seed), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_digits_are_those_of_scikit_learn():
    x, labels, names = DATASETS["digits"].read(0)
    bunch = load_digits()
    np.testing.assert_array_equal(x, bunch.data)
    np.testing.assert_array_equal(labels, bunch.target)
    assert names == list(bunch.feature_names)


def test_training_on_digits_imports_no_library_that_it_does_not_use(tmp_path):
    code = (
        "import sys; from mlp_torch.__main__ import main;"
        f"assert main('train --epochs 1 --engine manual --runs-dir {tmp_path}'.split()) == 0;"
        "print(*{'sklearn', 'matplotlib', 'scipy.stats'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "\n")
