"""What is judged, and what else people hand over: one line each, and no traceback."""

import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from mlp_torch.errors import UserError
from tests.mlp_torch.check.operations.kernels import RIGHT, Linear, X, draw, kernel


def scaled_by(k):
    return kernel(lambda ctx, x: 3 * x, lambda ctx, g: k * g)


def triple(x):
    return 3 * x


def test_only_what_needs_a_gradient_is_judged_where_anything_does():
    def backward(ctx, g):
        _, w = ctx.saved_tensors
        return g @ w if ctx.needs_input_grad[0] else None, None, None

    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w.T + b

    given = [X.clone().requires_grad_(), draw(3, 7), draw(3)]
    report = check_autograd_function(kernel(forward, backward), functional.linear, given)
    assert report.verdict == "right", str(report)
    assert list(report.arrays) == ["input0 float64 cpu"]
    assert any("not judged: input1, input2" in note for note in report.notes)
    assert (
        check_autograd_function(
            kernel(forward, backward), functional.linear, [v.detach() for v in given]
        ).verdict
        == "wrong"
    )


def test_tensors_in_lists_tuples_dicts_and_keywords_are_judged():
    doubled = kernel(lambda ctx, x: x.clone(), lambda ctx, g: 2 * g)

    def reference(pair, more, *, last):
        return pair[0] * pair[1] + more["c"] * last

    given = [[draw(4), draw(4, number=2)], {"c": draw(4, number=3)}], {"last": draw(4, number=4)}
    right = check_autograd_function(reference, reference, *given)
    assert right.verdict == "right", str(right)
    assert [n.split()[0] for n in right.arrays] == ["input0[0]", "input0[1]", 'input1["c"]', "last"]

    def wrong(pair, more, *, last):
        return reference((pair[0], doubled.apply(pair[1])), more, last=doubled.apply(last))

    report = check_autograd_function(wrong, reference, *given)
    assert [(f.kind, f.arrays) for f in report.faults] == [("constant_factor", ("input0[1]", "last"))]


@pytest.mark.parametrize("change", [lambda g: g, lambda g: g.conj(), lambda g: -g])
def test_complex_inputs_and_outputs_are_judged(change):
    z = torch.complex(draw(4, 3), draw(4, 3, number=2))

    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    report = check_autograd_function(
        kernel(forward, lambda ctx, g: change(g * 2 * ctx.saved_tensors[0].conj())), lambda z: z * z, [z]
    )
    assert (report.verdict == "right") == (change(1j * torch.ones(1)) == 1j).item(), str(report)


@pytest.mark.parametrize("reference", [torch.sgn, torch.sign, torch.round])
def test_gradients_that_are_zero_by_construction_are_judged(reference):
    assert (
        check_autograd_function(
            kernel(lambda ctx, x: reference(x), lambda ctx, g: 0 * g), reference, [X]
        ).verdict
        == "right"
    )
    assert (
        check_autograd_function(kernel(lambda ctx, x: reference(x), lambda ctx, g: g), reference, [X]).verdict
        == "wrong"
    )


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_arrays_are_one_line(shape):
    report = check_autograd_function(scaled_by(3), triple, [torch.zeros(shape)])
    assert report.verdict == "not_comparable"
    assert report.message.startswith("nothing was judged")
    str(report), report.to_json()


def test_outputs_in_dicts_and_none_are_judged():
    def output(scale):
        return lambda x: {"double": scale(2 * x), "none": None, "more": (x**2, 3)}

    right = output(lambda v: v)
    assert check_autograd_function(right, right, [X]).verdict == "right"
    wrong = output(lambda v: v + (v - v.detach()))
    assert check_autograd_function(wrong, right, [X]).verdict != "right"


def test_nothing_to_differentiate_is_said():
    report = check_autograd_function(lambda x: x.detach(), lambda x: x.detach(), [X])
    assert report.verdict == "not_comparable"
    assert report.message.startswith("nothing was judged")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([torch.ones(3, device="meta")], "meta"),
        ([torch.eye(3).to_sparse()], "sparse"),
        ([torch.tensor([1, 2])], "floating"),
        ([], "floating"),
    ],
)
def test_tensors_without_entries_are_one_line(inputs, words):
    with pytest.raises(UserError, match=words) as error:
        check_autograd_function(scaled_by(3), triple, inputs)
    assert "\n" not in str(error.value)


def test_a_forward_pass_that_raises_is_one_line_with_its_place():
    def forward(ctx, x):
        raise KeyError("gamma")

    with pytest.raises(UserError, match=r"KeyError: 'gamma' \(test_arguments.py:\d+, in forward\)") as error:
        check_autograd_function(kernel(forward, lambda ctx, g: g), triple, [X])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (lambda ctx, g: (g, g, g), "incorrect number of gradients"),
        (lambda ctx, g: g[:2], "invalid gradient"),
        (lambda ctx, g: g.no_such_thing, "no_such_thing"),
        (lambda ctx, g: 1 / 0, "ZeroDivisionError"),
        (lambda ctx, g: "gradient", "str"),
    ],
)
def test_a_backward_that_raises_is_wrong_in_one_line(backward, words):
    report = check_autograd_function(kernel(lambda ctx, x: 3 * x, backward), triple, [X])
    assert report.verdict == "wrong"
    assert words in report.message
    assert "\n" not in report.message


def test_gradients_of_swapped_shapes_are_hinted_at():
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    report = check_autograd_function(
        kernel(forward, lambda ctx, g: (ctx.saved_tensors[0].T @ g, g @ ctx.saved_tensors[1].T)),
        torch.matmul, [X, draw(7, 3)],
    )  # fmt: skip
    assert "swapped order?" in report.message


def test_a_reference_that_raises_is_one_line():
    with pytest.raises(UserError, match=r"^the reference raises RuntimeError"):
        check_autograd_function(scaled_by(3), lambda x: x @ torch.ones(2), [X])


def test_another_shape_of_output_is_one_line():
    with pytest.raises(UserError, match="outputs have shapes"):
        check_autograd_function(lambda x: x.sum(0), triple, [X])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_written_into_inputs_is_said(dtype):
    def forward(ctx, x):
        out = 3 * x
        x.zero_()
        return out

    report = check_autograd_function(kernel(forward, lambda ctx, g: 3 * g), triple, [X.to(dtype)])
    assert ("mutated_input", ("input0",)) in [(f.kind, f.arrays) for f in report.faults], str(report)


def test_buffers_that_the_reference_writes_into_may_be_written_into():
    def step(x, mean):
        mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return x - x.mean(0)

    given = [X.clone().requires_grad_(), torch.zeros(7).double()]
    assert check_autograd_function(step, step, given).verdict == "right"


def test_integer_outputs_must_be_the_references():
    report = check_autograd_function(lambda x: (2 * x, x.argmin(-1)), lambda x: (2 * x, x.argmax(-1)), [X])
    assert report.verdict == "not_comparable"
    assert "output[1]" in report.message


def test_a_straight_through_estimator_is_right_and_its_second_derivative_no_verdict():
    assert check_autograd_function(*RIGHT["straight through"]).verdict == "right"


def test_what_a_function_prints_is_not_repeated_for_each_run(capsys):
    def loud(x):
        print("called")
        return 3 * x

    check_autograd_function(loud, triple, [X])
    assert not capsys.readouterr().out


def test_the_gradient_mode_of_the_caller_does_not_matter():
    with torch.no_grad():
        assert check_autograd_function(*RIGHT["linear"]).verdict == "right"
    with torch.inference_mode():
        assert check_autograd_function(Linear, functional.linear, RIGHT["linear"][2]).verdict == "right"
