"""check_gradients and check_step: arrays in, verdict out; the author's code is never run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.architecture import choose
from mlp_torch.check.describe import arguments as must
from mlp_torch.check.describe import layout, noise, scope
from mlp_torch.check.describe.layers import Layer, Penalty, align, as_float, flatten, layers_in_order
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS
from mlp_torch.check.describe.names import understood
from mlp_torch.check.describe.noise import DOUBLE
from mlp_torch.check.describe.scope import Asked
from mlp_torch.check.report import CheckReport
from mlp_torch.check.search.diagnosis import Case
from mlp_torch.check.verdict import judge
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

    `right` lists what was scope. A parameter that no layer mentions is never passed over: with a gradient it
    makes `right` `not_comparable`, without one it is a note. At a kink (z = 0 of relu, a hinge's margin,
    θ = 0 under l1) the derivatives from below, from above and their mean are right, and said; another between
    them is `not_comparable`, with the kink named. Rounding
    excuses at most a thousandth of an array's norm (8 ε of float16 and bfloat16); what it hides beyond that
    is `not_comparable`. A description under which all is right is told beside the faults, or for want of any.

    Raises UserError (a ValueError) where the shapes leave a choice; it names the option that settles it.
    """
    if lr is not None:
        must.need_rate(lr)
    names = flatten(parameters)
    if not names:
        return scope.nothing("parameters are empty")
    own = scope.listed(parameters, names)
    aligned = {own[n]: v for n, v in align(names, flatten(gradients, what="gradients")).items()}
    before = None
    if previous is not None:
        before = {own[n]: v for n, v in align(names, flatten(previous, what="previous")).items()}
    names = {own[n]: v for n, v in names.items()}
    values = {name: as_float(value, name) for name, value in names.items() if value is not None}
    hand = {
        n: as_float(v, f"the gradient of {n}") for n, v in aligned.items() if v is not None and n in values
    }
    given = prepare(
        values, x, y, layers, activations, loss, reduction, samples, output_samples, weight_layout,
        ones_in_x, l2, l1, sample_weight,
    )  # fmt: skip
    must.need_gradients(given.layers, hand, "gradient")
    earlier = {n: as_float(v, f"previous: {n}") for n, v in (before or {}).items() if v is not None}
    must.need_previous(earlier, values)
    unit = noise.unit((*names.values(), *aligned.values(), x))
    case = Case(hand, single=unit > DOUBLE, lr=lr, ascent=ascent, previous=earlier)
    return scope.spaced(judge(given, case, _asked(output, loss_value, unit)))


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
    if not old:
        return scope.nothing("parameters are empty")
    own = scope.listed(before, old)
    new = {own[name]: value for name, value in align(old, new).items()}
    old = {own[name]: value for name, value in old.items()}
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
        u = noise.unit((old[name], new[name]))
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
    unit = noise.unit((*old.values(), *new.values(), x))
    case = Case(
        hand, single=unit > DOUBLE, lr=lr, ascent=ascent, after=later, previous=before_it, floors=floors
    )
    return scope.spaced(judge(given, case, _asked(output, loss_value, unit)))


def _asked(output: Any, loss_value: Any, unit: float) -> Asked:
    """The author's own values. Raises UserError where they are no numbers."""
    wanted = None if output is None else as_float(output, "output")
    if wanted is not None:
        must.need_finite(wanted, "output")
    if loss_value is None:
        return Asked(wanted, None, unit)
    value = as_float(loss_value, "loss_value")
    if value.size != 1:
        raise UserError(f"loss_value: is one number, and this has shape {value.shape}")
    return Asked(wanted, float(value.item()), unit)


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
    layers = must.need_layers(layers, activations)
    X, Y = as_float(x, "x"), as_float(y, "y")
    must.need_finite(X, "x")
    must.need_finite(Y, "y")
    if layers is None:
        assert activations is not None
        layers = layers_in_order(values, list(activations), X)
    layers = must.named(layers, values)
    for i, layer in enumerate(layers, start=1):
        slopes = [v for v in layer.activation_parameters.values() if isinstance(v, str)]
        for name in (layer.weight, layer.bias, *slopes):
            if name is not None and name not in values:
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
