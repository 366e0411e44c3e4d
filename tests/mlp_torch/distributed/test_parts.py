"""Masks belong to a sample's place, rows to one rank, leaves to one branch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from mlp_torch.distributed import parts
from mlp_torch.distributed.group import Group, current
from mlp_torch.distributed.masks import mask
from mlp_torch.distributed.parts import OwnRows
from mlp_torch.distributed.shares import LEAVES, branch, cuts, leaves_of

FLOAT = np.dtype(np.float32)


@given(
    first=st.integers(0, 10**12), count=st.integers(1, 9), width=st.integers(1, 40), skipped=st.integers(0, 8)
)
def test_a_sample_has_the_same_mask_whoever_draws_it_and_with_what(first, count, width, skipped):
    whole = mask(7, 1, first, count, width, 0.3, FLOAT)
    low = min(skipped, count)
    assert np.array_equal(whole[low:], mask(7, 1, first + low, count - low, width, 0.3, FLOAT))


def test_masks_keep_1_minus_p_of_all_and_differ_by_seed_and_layer_and_place():
    drawn = mask(0, 1, 0, 1000, 100, 0.2, FLOAT)
    assert set(np.unique(drawn)) == {np.float32(0), np.float32(1) / np.float32(0.8)}
    assert abs((drawn > 0).mean() - 0.8) < 5 * np.sqrt(0.16 / drawn.size)
    others = [mask(1, 1, 0, 1000, 100, 0.2, FLOAT), mask(0, 2, 0, 1000, 100, 0.2, FLOAT)]
    others.append(mask(0, 1, 1, 1000, 100, 0.2, FLOAT))
    for other in others:  # as often equal as independent ones
        assert abs((drawn == other).mean() - 0.68) < 0.01


@given(n=st.integers(0, 100), size=st.sampled_from([1, 2, 4, 8]))
def test_the_leaves_of_a_rank_are_its_share(n, size):
    shares, leaves = cuts(n, size), cuts(n, LEAVES)
    for rank in range(size):
        own = leaves_of(rank, size)
        assert (leaves[own[0]], leaves[own[-1] + 1]) == (shares[rank], shares[rank + 1])


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_branches_of_any_number_of_ranks_sum_to_the_bits_of_the_whole_tree(size):
    values = torch.randn(LEAVES, 50, generator=torch.Generator().manual_seed(0))
    whole = branch(list(values.clone()))
    each = [branch([values[i].clone() for i in leaves_of(r, size)]) for r in range(size)]
    assert torch.equal(branch(each), whole)
    assert not torch.equal(values.sum(0), whole)  # another order has other bits


def test_every_rank_reads_its_own_rows_of_a_table_and_together_they_have_each_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    rows = [f"{a:.3f},{'red' if a > 0 else 'blue'},{i % 2}" for i, a in enumerate(rng.normal(size=203))]
    path.write_text("\n".join(["number,colour,y", *rows]))
    flags = DataFlags(data=str(path))
    whole = load(flags)
    monkeypatch.setattr(parts, "HELD", 0)
    each = [load(flags, holder=OwnRows(Group(rank, 4))) for rank in range(4)]
    for name in ("train", "validation", "test"):
        owned = [getattr(data, name).x for data in each]
        assert [len(x.own) for x in owned] == np.diff(cuts(len(getattr(whole, name)), 4)).tolist()
        assert np.array_equal(np.concatenate([x.own for x in owned]), getattr(whole, name).x)
        assert np.array_equal(getattr(each[3], name).y, getattr(whole, name).y)


def test_a_process_that_has_joined_nobody_is_alone():
    assert (current().rank, current().size) == (0, 1)
