"""What is true of values: by torch and by differences; within bounds of memory."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch import check_function
from mlp_torch.check.lines import store
from mlp_torch.check.lines.differences import (
    Differences,
    agrees,
    by_complex_step,
    by_differences,
    by_moving,
    direction,
    slope,
)
from mlp_torch.check.lines.draws import drawn
from mlp_torch.check.lines.guilty import proven_by_differences
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.probes import probed, shares
from tests.mlp_torch.check.lines.two_layers import BEYOND, SLIPS, lines_of, net, program_of
from tests.mlp_torch.check.lines.written import slipped, written


@pytest.mark.parametrize("what", list(BEYOND))
def test_a_line_is_named_where_torch_cannot_go(what, tmp_path):
    for old, new in SLIPS:
        source, number = slipped(net(*BEYOND[what]), old, new)
        module = written(tmp_path, source)
        report = check_function(module.f, module.P, *module.D, timeout=60)
        assert [line.line for line in report.lines] == [number], str(report)
        assert 0 < report.lines[0].resolution < 1e-7
        assert "two draws of the data; by differences, resolution " in str(report)
        mended = source.splitlines()
        mended[number - 1] = report.lines[0].mended
        right = written(tmp_path, "\n".join(mended))
        assert check_function(right.f, right.P, *right.D).verdict == "right"


@pytest.mark.parametrize("what", list(BEYOND))
def test_a_right_program_beyond_torch_is_never_accused(what, tmp_path):
    module = written(tmp_path, net(*BEYOND[what]))
    assert lines_of(module) == ([], "")


def test_differences_give_every_value_the_gradient_that_torch_gives(tmp_path):
    source, _ = slipped(net(), *SLIPS[0])
    program, parameters, data = program_of(written(tmp_path, source))
    loss, hand = program.run(parameters, data, recording=True)
    events = program.recorder.events
    exact = probed(program, parameters, data, loss, events)
    moved = by_moving(program, parameters, data, loss, hand, events, {}, {}, 60.0)
    assert not moved.forward
    assert any(g is not None for g in moved.values.values())
    for at, g in moved.values.items():
        assert (g is None) == (exact.values[at] is None)
        if g is not None:
            np.testing.assert_allclose(g, exact.values[at], rtol=0, atol=1e-8 * np.abs(g).max())


def test_a_path_that_numbers_leave_the_graph_on_is_seen_and_its_gradient_is_not_taken(tmp_path):
    source, _ = slipped(net(*BEYOND["a number as text"]), *SLIPS[0])
    program, parameters, data = program_of(written(tmp_path, source))
    loss, _ = program.run(parameters, data, recording=True)
    torn = probed(program, parameters, data, loss, program.recorder.events)
    assert torn.leaks
    assert not torn.gradients["W1"].any()  # what torch's graph would have it be
    draw = drawn(program, parameters, data, seconds=60.0)
    assert draw.resolution
    assert draw.true["W1"].any()
    assert set(draw.wrong) == {"W1", "b1"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_slopes_and_gradients_by_differences_are_as_exact_as_they_say(seed, size):
    r = np.random.default_rng(seed)
    value, w = r.normal(size=size), r.normal(size=size)

    def real(v):
        return complex(np.sum(np.tanh(w * np.real(v)) ** 2) + np.exp(0.3 * np.real(v)).sum())

    def analytic(v):
        return np.sum(np.tanh(w * v) ** 2) + np.exp(0.3 * v).sum() + 0j

    true = 2 * np.tanh(w * value) * (1 - np.tanh(w * value) ** 2) * w + 0.3 * np.exp(0.3 * value)
    along = slope(real, value, direction(value, 0))
    gradient, error = by_differences(real, value, along)
    assert np.linalg.norm(gradient - true) <= 10 * error + 1e-13
    assert error <= 1e-7 * np.linalg.norm(true)
    assert agrees(true, along)
    assert not agrees(true * (1 + 1e-4), along)
    assert by_complex_step(real, value, along) is None  # its imaginary part is 0, and the slope is not
    np.testing.assert_allclose(by_complex_step(analytic, value, along)[0], true, rtol=1e-12, atol=1e-14)


def test_next_to_a_kink_a_smaller_step_is_taken():
    value = np.array([2e-4, 1.0])  # the widest step crosses 0
    along = slope(lambda v: complex(np.maximum(v, 0).sum()), value, np.array([1.0, 0.0]))
    assert abs(along.value - 1) <= 1e-8


def test_without_the_time_for_differences_no_line_is_named(tmp_path):
    source, _ = slipped(net(*BEYOND["bytes"]), *SLIPS[0])
    lines, why = lines_of(written(tmp_path, source), seconds=1e-6)
    assert lines == []
    assert "too slow" in why or "the search for lines ended" in why


def test_one_line_is_named_where_its_truth_is_not_known_and_no_set_in_its_place(tmp_path, monkeypatch):
    """da1 is twice what it should be; where its truth is not known, dW1 and db1 could each be blamed."""
    source, number = slipped(net(*BEYOND["a special function"]), *SLIPS[0])
    whole = Differences.of_events

    def forgetful(self):
        left = whole(self)
        known = {at for at, g in self.found.items() if g is not None}
        for at in known:
            del self.found[at]
        return left | known

    monkeypatch.setattr(Differences, "of_events", forgetful)
    lines, why = lines_of(written(tmp_path, source))
    assert [g.line for g in lines] == [number]
    assert "differences were too slow for" in why


def test_differences_name_only_what_makes_every_gradient_right_on_two_draws():
    def line(*arrays):
        return GuiltyLine("net.py", 3, 0, "f", "dz = da", "", "", arrays, True)

    def draw(*slow):
        return SimpleNamespace(wrong=["W", "b"], resolution=1e-9, forward=frozenset(slow))

    sites = [SimpleNamespace(assigned=True), SimpleNamespace(assigned=False)]
    two, three = [draw(), draw()], [draw((0, 0)), draw((1, 0))]
    lines, why = proven_by_differences([line("W", "b")], two, sites)
    assert (len(lines), lines[0].resolution, why) == (1, 1e-9, "")
    assert proven_by_differences([line("W", "b")], two[:1], sites)[0] == []  # one draw
    assert proven_by_differences([line("W")], two, sites)[0] == []  # a part
    assert len(proven_by_differences([line("W"), line("b")], two, sites)[0]) == 2
    assert proven_by_differences([line("W"), line("b")], three, sites)[0] == []  # one line may do
    assert "too slow for 1 values" in proven_by_differences([line("W", "b")], three, sites)[1]


# memory


def test_the_same_line_is_found_within_a_megabyte_of_values(tmp_path, monkeypatch):
    source, number = slipped(net(samples=4000), *SLIPS[0])
    peaks = {}
    for limit in (2**30, 2**20):
        monkeypatch.setattr(store, "LIMIT", limit)
        program, parameters, data = program_of(written(tmp_path, source))
        tracemalloc.start()
        drawn(program, parameters, data)
        peaks[limit] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        held = program.recorder.store
        assert held.held <= limit
        assert (held.spilled > 0) == (limit == 2**20)
        lines, _ = lines_of(written(tmp_path, source), seconds=60)
        assert [line.line for line in lines] == [number]
    values = held.held + held.spilled
    assert values > 3 * 2**20
    assert peaks[2**20] < peaks[2**30] - (values - 2**20) // 2


def test_what_is_stored_comes_back_as_it_was(monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 1000)
    kept = store.Store()
    r = np.random.default_rng(0)
    given_ = [r.normal(size=s) for s in ((), (3,), (50, 4), (0, 2), (7, 1, 5))] * 20
    back = [kept.keep(a) for a in given_]
    assert kept.spilled
    for a, b in zip(given_, back, strict=True):
        assert a.shape == b.shape
        assert np.array_equal(a, b)


def test_probes_of_many_values_take_turns_and_find_the_same(tmp_path, monkeypatch):
    source, _ = slipped(net(samples=50), *SLIPS[0])
    program, parameters, data = program_of(written(tmp_path, source))
    loss, _ = program.run(parameters, data, recording=True)
    events = program.recorder.events
    whole = probed(program, parameters, data, loss, events).values
    monkeypatch.setattr(store, "LIMIT", 10_000)
    assert len(shares(events)) > 3
    parts = probed(program, parameters, data, loss, events).values
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[at], parts[at]) for at in whole if whole[at] is not None)
