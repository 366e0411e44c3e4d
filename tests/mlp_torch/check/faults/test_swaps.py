"""Gradients at each other's places, with one other mistake beside that."""

import pytest

from tests.mlp_torch.check.faults.stranger import Stranger, kinds


def turned(found, *names):
    return found | {names[0]: found[names[1]], names[1]: found[names[0]]}


@pytest.mark.parametrize("names", [("W2", "W3"), ("b1", "b2"), ("b2", "b3")])
@pytest.mark.parametrize(
    ("top", "slope", "others"),
    [
        (7, None, {"constant_factor"}),
        (-1, None, {"sign"}),
        (1, lambda z: 1.0, {"missing_activation_derivative"}),
    ],
)
def test_exchanged_gradients_are_found_beside_another_mistake(names, top, slope, others):
    s = Stranger((4, 5, 5, 5, 3))
    options = {} if slope is None else {"slope": slope}
    report = s.check(turned(s.back(s.top * top, **options), *names))
    assert report.verdict == "wrong"
    assert set(kinds(report)) == {"swapped_gradients", *others}
    found = next(f for f in report.faults if f.kind == "swapped_gradients")
    assert set(found.arrays) == set(names)
