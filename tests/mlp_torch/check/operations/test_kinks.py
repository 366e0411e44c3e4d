"""At kinks one-sided derivatives are right and said, signs and factors are not; entries beside are judged."""

import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import X, draw, kernel


def relu(at_zero, change=lambda g: g):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return change(g * torch.where(x > 0, 1.0, torch.where(x < 0, 0.0, at_zero)))

    return kernel(forward, backward)


ON_KINKS = torch.where(draw(5, 7).abs() < 0.7, 0, draw(5, 7))


@pytest.mark.parametrize("at_zero", [0.0, 1.0, 0.5])
def test_both_one_sided_derivatives_of_relu_are_right_and_the_entry_is_said(at_zero):
    report = check_autograd_function(relu(at_zero), torch.relu, [ON_KINKS])
    assert report.verdict == "right", str(report)
    assert any("lies on a kink" in note for note in report.notes)


@pytest.mark.parametrize("at_zero", [-1.0, 2.0])
def test_no_derivative_of_relu_is_wrong_at_a_kink(at_zero):
    report = check_autograd_function(relu(at_zero), torch.relu, [ON_KINKS])
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize("change", [lambda g: -g, lambda g: 2 * g, lambda g: g * 1.0001, lambda g: 0 * g])
def test_entries_beside_a_kink_are_judged(change):
    assert check_autograd_function(relu(0.0, change), torch.relu, [ON_KINKS]).verdict in ("wrong", "scaled")


def hidden(x, w, y):
    return ((torch.relu(x @ w).sum(1) - y) ** 2).sum()


def hidden_by_hand(change, at_zero):
    def forward(ctx, x, w, y):
        ctx.save_for_backward(x, w, y)
        return hidden(x, w, y)

    def backward(ctx, g):
        x, w, y = ctx.saved_tensors
        z = x @ w
        d = 2 * (z.clamp(min=0).sum(1) - y)[:, None] * ((z > 0) + at_zero * (z == 0)) * g
        return None, change(x.T @ d), None

    return kernel(forward, backward)


@pytest.mark.parametrize("w", [torch.zeros(2, 2), torch.tensor([[1.0, 1], [1, -1]])])
@pytest.mark.parametrize("at_zero", [0.0, 1.0])
@pytest.mark.parametrize(
    ("change", "right"),
    [(lambda g: g, True), (lambda g: -g, False), (lambda g: 2 * g, False), (lambda g: 3 * g + 1, False)],
)
def test_units_on_their_kink_do_not_swallow_the_gradient(w, at_zero, change, right):
    x = torch.tensor([[1.0, -1], [1, 1], [2, -2]], dtype=torch.float64)
    y = torch.tensor([1.0, 0, 1], dtype=torch.float64)
    given = [x, w.double().requires_grad_(), y]
    report = check_autograd_function(hidden_by_hand(change, at_zero), hidden, given)
    unchanged = not w.any() and not at_zero  # all units at 0: the gradient is 0 whatever it is multiplied by
    truth = right or (unchanged and not change(torch.zeros(1)).any())
    assert (report.verdict == "right") == truth or report.verdict == "not_comparable", str(report)
    assert truth or report.verdict != "right"


def labelled(change, loss):
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return loss(x, y)

    def backward(ctx, g):
        x, y = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            return change(torch.autograd.grad(loss(leaf, y), leaf, g)[0]), None

    return kernel(forward, backward)


@pytest.mark.parametrize(
    "loss", [functional.hinge_embedding_loss, lambda x, y: (x * (y == 1) - x * (y == -1)).sum()]
)
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        (lambda g: g, ["right"]), (lambda g: -g, ["wrong"]), (lambda g: 2 * g, ["scaled", "wrong"]),
        (lambda g: 0 * g, ["wrong"]),
    ],
)  # fmt: skip
def test_labels_that_are_compared_are_not_nudged_away(loss, asked, change, verdicts):
    x, y = draw(9), torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1, 1], dtype=torch.float64)
    given = [x.requires_grad_(), y] if asked else [x, y]
    assert check_autograd_function(labelled(change, loss), loss, given).verdict in verdicts


def test_max_at_a_tie_is_right_with_the_gradient_of_argmax_and_wrong_with_both():
    tied = torch.tensor([[1.0, 3, 3, 2], [0, 1, 2, 3]], dtype=torch.float64)

    def backward(both):
        def run(ctx, g):
            (x,) = ctx.saved_tensors
            mask = (x == x.amax(-1, keepdim=True)).double()
            first = functional.one_hot(x.argmax(-1), 4).double()
            return g[:, None] * (mask if both else first)

        return run

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.amax(-1)

    right = check_autograd_function(kernel(forward, backward(False)), lambda x: x.amax(-1), [tied])
    assert right.verdict == "right", str(right)
    assert (
        check_autograd_function(kernel(forward, backward(True)), lambda x: x.amax(-1), [tied]).verdict
        == "wrong"
    )


@pytest.mark.parametrize("sign_at_zero", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("factor", [1, -1, 2])
def test_a_lasso_at_zero(sign_at_zero, factor):
    w = torch.tensor([0.0, 0, 1, -2], dtype=torch.float64)

    def forward(ctx, w):
        ctx.save_for_backward(w)
        return w.abs().sum()

    def backward(ctx, g):
        (w,) = ctx.saved_tensors
        return factor * g * torch.where(w == 0, sign_at_zero, w.sign())

    report = check_autograd_function(kernel(forward, backward), lambda w: w.abs().sum(), [w])
    assert (report.verdict == "right") == (factor == 1), str(report)


def test_kinks_that_cancel_in_some_nudges_are_found():
    """|x w v − y| at 0 for several samples at once: found by a search over nets of −1, 0 and 1."""
    generator = torch.Generator().manual_seed(0)

    def whole(*shape):
        return torch.randint(-1, 2, shape, generator=generator).double()

    def loss(x, w, v, y):
        return (x @ w @ v - y).abs().sum()

    def forward(ctx, *given):
        ctx.save_for_backward(*given)
        return loss(*given)

    def backward(factor, at_zero):
        def run(ctx, g):
            x, w, v, y = ctx.saved_tensors
            z = x @ w @ v - y
            return None, factor * g * x.T @ (z.sign() + at_zero * (z == 0)) @ v.T, None, None

        return run

    for _ in range(12):
        given = [whole(5, 3), whole(3, 2).requires_grad_(), whole(2, 1), whole(5, 1)]
        for at_zero in (-1, 0, 1):
            report = check_autograd_function(kernel(forward, backward(1, at_zero)), loss, given)
            assert report.verdict in ("right", "not_comparable"), str(report)
            assert at_zero or report.verdict == "right"


def test_entries_on_two_kinks_each_are_judged_together():
    """−t takes a one-sided value in every entry, and is none as a whole."""
    x = torch.tensor([[-1, -1, 1], [1, 1, -1], [-1, 1, 1]], dtype=torch.float64)
    w = torch.tensor([[0, 0], [-1, 0], [1, 0]], dtype=torch.float64).requires_grad_()
    v, y = torch.tensor([[0.0], [-1]]).double(), torch.tensor([[1.0], [0], [0]]).double()

    def loss(w):
        return (x @ w @ v - y).abs().sum()

    def forward(ctx, w):
        ctx.save_for_backward((x @ w @ v - y).sign())
        return loss(w)

    def backward(factor):
        return lambda ctx, g: factor * g * x.T @ ctx.saved_tensors[0] @ v.T

    assert check_autograd_function(kernel(forward, backward(1)), loss, [w]).verdict == "right"
    assert check_autograd_function(kernel(forward, backward(-1)), loss, [w]).verdict != "right"


@pytest.mark.parametrize(("slope", "right"), [(1, True), (0, True), (2, False), (-1, False)])
def test_where_autograd_misses_the_derivative_beside_the_point_the_authors_is_right(slope, right):
    """relu(x) − relu(−x) is x, and autograd's derivative at 0 is 0."""
    x = torch.tensor([0.0, 1, -2], dtype=torch.float64)

    def forward(ctx, x):
        ctx.save_for_backward(x == 0)
        return x.clone()

    function = kernel(forward, lambda ctx, g: g * torch.where(ctx.saved_tensors[0], slope, 1))
    report = check_autograd_function(function, lambda v: torch.relu(v) - torch.relu(-v), [x])
    assert (report.verdict == "right") == right, str(report)


def test_where_only_kinks_are_left_nothing_is_said_to_be_right():
    def forward(ctx, x):
        return x.abs()

    report = check_autograd_function(
        kernel(forward, lambda ctx, g: 0.3 * g), torch.abs, [torch.zeros(4).double()]
    )
    assert report.verdict == "not_comparable"
    assert "move the inputs off the kink" in report.message


def test_scaled_is_not_said_where_the_author_has_entries_that_the_truth_has_not():
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.relu(x)

    report = check_autograd_function(
        kernel(forward, lambda ctx, g: g + g * (ctx.saved_tensors[0] > 0)), torch.relu, [X]
    )
    assert report.verdict == "wrong"
    assert all(row.verdict == "wrong" for row in report.arrays.values())


def shared(ctx, g):
    x, y = ctx.saved_tensors
    tied = (x == y[:, None]).to(g.dtype)
    return g[:, None] * tied / tied.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("change", "right"), [(1, True), (2, False), (-1, False), (0.5, False), (0, False), (1.5, False)]
)
def test_ties_in_several_rows_may_be_shared(change, right):
    tied = torch.tensor([[2.0, 2, 2, 1], [2, 2, 2, 1], [3, 0, 3, 1]])

    def forward(ctx, x):
        ctx.save_for_backward(x, x.amax(-1))
        return x.amax(-1)

    function = kernel(forward, lambda ctx, g: change * shared(ctx, g))
    for reference in (lambda x: x.max(-1).values, lambda x: x.amax(-1)):
        report = check_autograd_function(function, reference, [tied])
        assert (report.verdict == "right") == right, str(report)


@pytest.mark.parametrize("windows", [1, 2, 8, 16])
@pytest.mark.parametrize(("factor", "right"), [(1, True), (-1, False), (2, False)])
def test_the_last_of_equals_in_windows_of_zeros_is_right(windows, factor, right):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return functional.max_pool1d(x, 4)

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        u = x.unflatten(-1, (-1, 4))
        last = 3 - u.flip(-1).argmax(-1, keepdim=True)
        return factor * torch.zeros_like(u).scatter_(-1, last, g[..., None]).flatten(-2)

    given = [torch.zeros(1, 1, 4 * windows)]
    report = check_autograd_function(kernel(forward, backward), lambda x: functional.max_pool1d(x, 4), given)
    assert (report.verdict == "right") == right, str(report)
