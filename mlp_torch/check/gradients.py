"""check_gradients and check_step: arrays in, verdict out; the author's code is never run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manual.architecture import choose
from manual.numbers import Array
from mlp_torch.check.describe import arguments as must
from mlp_torch.check.describe import layout
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.layers import Layer, Penalty, align, as_float, flatten, layers_in_order
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS
from mlp_torch.check.describe.names import understood
from mlp_torch.check.describe.targets import MisfitError, orient
from mlp_torch.check.report import CheckReport, Fault
from mlp_torch.check.search.diagnosis import Case, diagnose
from mlp_torch.errors import UserError


@understood
def check_gradients(
    parameters: Any,
    gradients: Any,
    x: Any,
    y: Any,
    *,
    layers: Sequence[Layer] | None = None,
    activations: Sequence[str] | None = None,
    loss: str,
    reduction: str = "mean_over_samples",
    samples: str | None = None,
    output_samples: str | None = None,
    weight_layout: Any = None,
    ones_in_x: bool = False,
    l2: Penalty | float | None = None,
    l1: Penalty | float | None = None,
    sample_weight: Any = None,
    ascent: bool = False,
    output: Any = None,
    loss_value: float | None = None,
    lr: float | None = None,
    previous: Any = None,
) -> CheckReport:
    """Judge hand-written gradients from their values, and name what is wrong with them.

    `parameters` and `gradients`: arrays by the author's names, or any nesting of lists, tuples and pairs;
    x and y: one batch. `layers` describe the whole forward pass; `activations` serves where the parameters
    come in order. `loss`: squared_error, half_squared_error, absolute_error, bce, cross_entropy (both over
    the probabilities that the last layer gives; in `mlp compare` cross_entropy takes logits, as torch's
    does), bce_with_logits, cross_entropy_from_logits, hinge or multiclass_hinge (Σ max(0, 1 + sⱼ − s_y)).
    `reduction`: sum, mean_over_samples or mean_over_all (entries). `samples`: "rows" or "columns", of x and
    y; `output_samples` where outputs, y and masks differ. `weight_layout`: "in,out" or "out,in", or a
    sequence, one a layer. `ones_in_x`: x holds the column of ones of a folded bias. `l2`, `l1`: Penalty, or
    its coefficient. `sample_weight` (N,) multiplies each sample's loss. `ascent`: the author adds the
    gradient. `output` and `loss_value`: the author's, compared first. `lr`: lets a gradient that lacks or
    contains the learning rate be named. `previous`: the gradients of the call before, to tell stale ones.

    Raises UserError (a ValueError) where the shapes leave a choice; it names the option that settles it.
    """
    if lr is not None:
        must.need_rate(lr)
    names = flatten(parameters)
    values = {name: as_float(value, name) for name, value in names.items() if value is not None}
    aligned = align(names, flatten(gradients, what="gradients"))
    hand = {
        n: as_float(v, f"the gradient of {n}") for n, v in aligned.items() if v is not None and n in values
    }
    given = prepare(
        values, x, y, layers, activations, loss, reduction, samples, output_samples, weight_layout,
        ones_in_x, l2, l1, sample_weight,
    )  # fmt: skip
    must.need_gradients(given.layers, hand, "gradient")
    single = any(_single(v) for v in (*names.values(), *aligned.values(), x))
    before = None
    if previous is not None:
        earlier = align(names, flatten(previous, what="previous"))
        before = {n: as_float(v, f"previous: {n}") for n, v in earlier.items() if v is not None}
        must.need_previous(before, values)
    case = Case(hand, single=single, lr=lr, ascent=ascent, previous=before or {})
    return _judge(given, case, output, loss_value)


@understood
def check_step(
    before: Any,
    after: Any,
    lr: float,
    x: Any,
    y: Any,
    *,
    ascent: bool = False,
    **options: Any,
) -> CheckReport:
    """Judge a hand-written step from the parameters before and after it: θ′ = θ − lr·gradient.

    `before` and `after` in any nesting, `lr` the learning rate, the other options as in `check_gradients`.
    The gradient is (before − after)/lr, known to within rounding of θ/lr; with `ascent` the author's own,
    (after − before)/lr, is shown: an author who adds minus the gradient goes down all the same. `previous`,
    the gradients of the step before, lets a step with momentum be told. Raises UserError as there.
    """
    must.need_rate(lr)
    old, new = flatten(before, what="before"), flatten(after, what="after")
    new = align(old, new)
    values = {name: as_float(value, name) for name, value in old.items() if value is not None}
    later = {name: as_float(value, name) for name, value in new.items() if value is not None}
    sign = -1.0 if ascent else 1.0
    hand, floors = {}, {}
    for name, value in values.items():
        if name not in later:
            continue
        if later[name].shape != value.shape:
            raise UserError(f"{name} has shape {value.shape} before and {later[name].shape} after the step")
        hand[name] = sign * (value - later[name]) / lr
        u = np.finfo(np.float32 if _single(old[name]) or _single(new[name]) else np.float64).eps
        floors[name] = float(4 * u * np.linalg.norm(np.abs(value) + np.abs(later[name])) / lr)
    output, loss_value = options.pop("output", None), options.pop("loss_value", None)
    last = None if (p := options.pop("previous", None)) is None else align(old, flatten(p, what="previous"))
    before_it = {n: as_float(v, f"previous: {n}") for n, v in (last or {}).items() if v is not None}
    must.need_previous(before_it, values)
    given = prepare(
        values, x, y, options.pop("layers", None), options.pop("activations", None),
        options.pop("loss", None), options.pop("reduction", "mean_over_samples"),
        options.pop("samples", None),
        options.pop("output_samples", None), options.pop("weight_layout", None),
        options.pop("ones_in_x", False),
        options.pop("l2", None), options.pop("l1", None), options.pop("sample_weight", None),
    )  # fmt: skip
    must.need_gradients(given.layers, hand, "value after the step")
    if options:
        raise UserError(f"check_step has no option {', '.join(options)}")
    single = any(_single(v) for v in (*old.values(), *new.values(), x))
    case = Case(hand, single=single, lr=lr, ascent=ascent, after=later, previous=before_it, floors=floors)
    return _judge(given, case, output, loss_value)


def _single(value: Any) -> bool:
    return str(getattr(value, "dtype", "")).endswith(("float32", "float16", "bfloat16"))


def prepare(
    values: dict[str, Array], x: Any, y: Any, layers: Sequence[Layer] | None,
    activations: Sequence[str] | None, loss: str | None, reduction: str, samples: str | None = None,
    output_samples: str | None = None, weight_layout: Any = None, ones_in_x: bool = False, l2: Any = None,
    l1: Any = None, sample_weight: Any = None,
) -> layout.Given:  # fmt: skip
    """What was handed over, checked, before any layout is chosen. Raises UserError."""
    for kind, name, choices in (("loss", loss, LOSSES), ("reduction", reduction, REDUCTIONS)):
        try:
            choose(kind, str(name), list(choices))
        except ValueError as error:
            raise UserError(str(error)) from None
    for option, value in (("samples", samples), ("output_samples", output_samples)):
        if value not in (None, "rows", "columns"):
            raise UserError(f"{option}={value!r}: is 'rows' or 'columns'")
    must.need_layers(layers, activations)
    X, Y = as_float(x, "x"), as_float(y, "y")
    must.need_finite(X, "x")
    must.need_finite(Y, "y")
    if layers is None:
        assert activations is not None
        layers = layers_in_order(values, list(activations), X)
    layers = list(layers)
    for i, layer in enumerate(layers, start=1):
        slopes = [v for v in layer.activation_parameters.values() if isinstance(v, str)]
        for name in (layer.weight, layer.bias, *slopes):
            if name is not None and str(name) not in values:
                raise UserError(f"layer {i}: no parameter {name!r}; there are {', '.join(values)}")
        if layer.weight is None:
            raise UserError(f"layer {i}: say weight=, the name of its weight in parameters")
    assert loss is not None
    for name in must.used(layers):
        must.need_finite(values[name], name)
    must.need_masks(layers)
    weight = None if sample_weight is None else as_float(sample_weight, "sample_weight")
    if weight is not None:
        must.need_finite(weight, "sample_weight")
    return layout.Given(
        values, layers, X, Y, loss, reduction, samples, output_samples, weight_layout,
        ones_in_x, must.penalty(l2, "l2", values), must.penalty(l1, "l1", values), weight,
    )  # fmt: skip


def _judge(given: layout.Given, case: Case, output: Any, loss_value: float | None) -> CheckReport:
    """Settle the layout, compare the forward pass, then diagnose."""
    try:
        problems = layout.readings(given)
    except MisfitError as misfit:
        text = f"the shapes fit no layout: {misfit}"
        return CheckReport("not_comparable", {}, message=text)
    wanted = None if output is None else as_float(output, "output")
    if wanted is not None:
        matching = [p for p in problems if _same_output(p, wanted, case.single)]
        if not matching:
            return _forward_mismatch(problems[0], wanted)
        problems = matching
    if len(problems) > 1 and loss_value is not None:
        near = [
            p
            for p in problems
            if abs(p.loss_value() - float(loss_value)) <= _slack(case.single) * abs(float(loss_value))
        ]
        problems = near or problems
    if len(problems) > 1:
        reports = [diagnose(p, case, loss_value, search=False) for p in problems]
        right = [r for r in reports if r is not None and r.verdict == "right"]
        if right:
            return right[0]
        raise UserError(_ambiguous(problems))
    report = diagnose(problems[0], replace(case, output_known=wanted is not None), loss_value)
    assert report is not None
    return report


def _slack(single: bool) -> float:
    return 1e-4 if single else 1e-7


def _same_output(p: Network, output: Array, single: bool) -> bool:
    try:
        mine = orient(output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
    except MisfitError:
        return False
    scale = max(float(np.linalg.norm(p.output)), 1e-300)
    return float(np.linalg.norm(mine - p.output)) <= _slack(single) * scale


def _forward_mismatch(p: Network, output: Array) -> CheckReport:
    try:
        mine = orient(output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
        index = np.unravel_index(int(np.argmax(np.abs(mine - p.output))), mine.shape)
        where = [int(i) for i in index]
        evidence = (
            f"your output{where} is {mine[index]:.6g}, the described network gives {p.output[index]:.6g}"
        )
    except MisfitError as misfit:
        evidence = str(misfit)
    fault = Fault(
        "forward_mismatch", None, ("output",), "the forward pass differs from the layers described", evidence
    )
    text = f"your forward pass is not the one described, so gradients cannot be compared: {evidence}."
    return CheckReport("not_comparable", {}, [fault], message=text)


def _ambiguous(problems: list[Network]) -> str:
    differing = [
        option
        for option in ("samples", "weight_layout", "output_samples")
        if len({str(p.choices[option]) for p in problems}) > 1
    ]
    if "samples" in differing:
        differing = [d for d in differing if d != "output_samples"]
    choices = {
        "samples": "'rows' or 'columns'",
        "output_samples": "'rows' or 'columns'",
        "weight_layout": "'in,out' or 'out,in'",
    }
    asked = " and ".join(f"{option}={choices[option]}" for option in differing)
    return f"the shapes allow more than one layout; say {asked or 'samples='}"
