"""What the tests of several processes share."""

import pytest

from tests.mlp_torch.distributed.ranks import Ranks


@pytest.fixture(scope="package")
def ranks():
    with Ranks() as started:
        yield started
