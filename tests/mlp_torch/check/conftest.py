"""Which of the many programs, kernels and slips are tried on every run; the others are marked `long`."""

from collections import defaultdict

import pytest

# By room: of the cases of one test the first, and each so-manieth after it.
EVERY = {
    "lines": 15,
    "operations": 15,
    "functions": 15,
    "describe": 15,
    "search": 15,
    "submission": 15,
    "faults": 3,
}
LONG = (
    "test_a_wrong_gradient_stays_wrong_in_every_style",
    "test_the_same_line_is_found_within_a_megabyte_of_values",
    "test_no_report_changes_without_the_shortcut",
    "test_planted_faults_are_named[200]",
    "test_planted_faults_are_named[230]",
    "test_two_faults_of_which_one_spoils_all_are_both_named",
    "test_a_line_is_named_where_torch_cannot_go",
    "test_a_perceptron_from_zero_weights",
    "test_a_limit_is_named_in_the_line_of_who_exceeds_it",
    "test_units_on_their_kink_do_not_swallow_the_gradient",
    "test_every_entry_may_take_its_own_side",
    "test_a_loss_that_is_coarse_is_held_against_what_it_was_before",
    "test_what_a_right_file_leaves_behind_changes_nothing",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Before the marker is looked at."""
    seen: dict[str, int] = defaultdict(int)
    for item in items:
        where = item.nodeid.rpartition("::")[0]
        if not any(folder in where for folder in ("tests/mlp_torch/check/",)):
            continue
        name = item.name
        function = getattr(item, "originalname", name)
        if any(part in (function, name) for part in LONG):
            item.add_marker(pytest.mark.long)
            continue
        every = next((n for room, n in EVERY.items() if f"check/{room}/" in where), 1)
        key = f"{where}::{function}"
        if seen[key] % every:
            item.add_marker(pytest.mark.long)
        seen[key] += 1
