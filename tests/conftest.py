"""How the tests run: one thread a worker, and hypothesis with few examples, no clock, fixed ones in CI."""

import os

# Before NumPy and torch start: two workers with two threads each wait for one another on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.signals import answered

calm = [HealthCheck.too_slow]
settings.register_profile("here", deadline=None, max_examples=10, suppress_health_check=calm)
settings.register_profile(
    "ci", deadline=None, max_examples=10, suppress_health_check=calm, derandomize=True, database=None
)
# for tests.mutation: that there is a counterexample is enough, nobody reads the smallest one
settings.register_profile("any", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def ctrl_c():
    """Ctrl-C is answered by this process and those it starts, also where nohup or a CI ignores it."""
    with answered():
        yield


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; `tests.browser.opened` opens a page in it."""
    from tests.browser import started

    with started() as found:
        yield found
