"""The page of a small network."""

import pytest

from tests.mlp_torch.explanation.pages import XOR, written


@pytest.fixture(scope="module")
def xor(tmp_path_factory):
    return written(tmp_path_factory.mktemp("xor"), XOR)
