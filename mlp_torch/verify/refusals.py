"""What a network must be to be compared, looked at before anything runs: every refusal is one line.

The hand-written side is built from the network's `architecture` and its plain weights. What it cannot
express (a tied or frozen weight, a reparametrised, pruned or quantised layer, a row it does not know)
is said here, with its place and what to do, and not by a traceback from inside.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from manual.structure.architecture import Architecture
from mlp_torch.errors import UserError
from mlp_torch.model import MLP, NORMALIZATIONS, Dropout, activation_module

OWN = "compare judges networks as mlp_torch.MLP builds them"
# Buffers and parameters that a utility of torch leaves beside `weight`: what it is, and what undoes it.
UTILITIES: dict[str, tuple[str, str]] = {
    "_mask": ("pruned", "prune.remove"),
    "_g": ("under weight_norm", "remove_weight_norm"),
    "_u": ("under spectral_norm", "remove_spectral_norm"),
}


def check_network(model: MLP) -> None:
    """Raise UserError, in one line, for a network that the hand-written side cannot express."""
    for check in CHECKS:
        reason = next(check(model), None)
        if reason is not None:
            raise UserError(reason)


def expected(a: Architecture) -> dict[str, nn.Module]:
    """The module that belongs at each place; without memory for weights."""
    pairs = list(zip(a.sizes, a.sizes[1:], strict=False))
    hidden = list(enumerate(a.sizes[1:-1]))
    with torch.device("meta"):
        found: dict[str, nn.Module] = {f"layers.{i}": nn.Linear(*pair) for i, pair in enumerate(pairs)}
        if a.normalization != "none":
            found |= {f"normalizations.{i}": NORMALIZATIONS[a.normalization](size) for i, size in hidden}
        found |= {f"activations.{i}": activation_module(a, i + 1) for i in range(a.depth)}
        if a.dropout > 0:
            found |= {f"dropouts.{i}": Dropout(a.dropout) for i, _ in hidden}
    return found


def _places(model: MLP) -> dict[str, nn.Module]:
    parts = ("layers", "normalizations", "activations", "dropouts")
    return {f"{part}.{i}": m for part in parts for i, m in enumerate(getattr(model, part))}


def _code(name: str) -> str:
    """model.layers[0].weight for layers.0.weight: what can be typed."""
    return "model." + re.sub(r"\.(\d+)", r"[\1]", name)


def _told(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})".removesuffix("()")


def _tensors(model: MLP) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer under each of its names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _autocast(model: MLP) -> Iterator[str]:
    for device in sorted({value.device.type for _, value in _tensors(model)} - {"meta"}):
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            yield f"torch.autocast is on and rounds to {dtype}: call compare outside of it"


def _quantised(model: MLP) -> Iterator[str]:
    for name, module in model.named_modules():
        if type(module).__module__.startswith("torch.ao."):
            yield f"{name} is quantised ({type(module).__name__}): compare the network before that"


def _reparametrised(model: MLP) -> Iterator[str]:
    for place, module in model.named_modules():
        if parametrize.is_parametrized(module):
            name = next(iter(module.parametrizations))
            how = type(module.parametrizations[name][0]).__name__.strip("_")
            undo = f"torch.nn.utils.parametrize.remove_parametrizations({_code(place)}, '{name}')"
            yield f"{place}.{name} is parametrised ({how}): {undo} makes a plain one of it"
        if not isinstance(module, nn.Linear):
            continue
        for name in ("weight", "bias"):
            for ending, (what, undo) in UTILITIES.items():
                if hasattr(module, name + ending):
                    undo = f"torch.nn.utils.{undo}({_code(place)}, '{name}')"
                    yield f"{place}.{name} is {what}: {undo} makes a plain one of it"


def _modules(model: MLP) -> Iterator[str]:
    right, given = expected(model.architecture), _places(model)
    for place, module in right.items():
        what = "missing" if place not in given else _unlike(given[place], module)
        if what:
            yield f"{place} is {what}, where this architecture has {_told(module)}: {OWN}"
    for place, module in given.items():
        if place not in right:
            yield f"{place} is {_told(module)}, where this architecture has nothing: {OWN}"
    names: dict[nn.Module, str] = {}
    for place, module in given.items():
        if module in names:
            yield f"{names[module]} and {place} are one module: give each layer a module of its own"
        names[module] = place


def _unlike(given: nn.Module, right: nn.Module) -> str:
    """What is given where it is another kind of module or has other constants, else nothing."""
    if not isinstance(given, type(right)):
        return _told(given)
    for name in getattr(type(right), "__constants__", ()):
        if name != "momentum" and getattr(given, name, None) != getattr(right, name):
            return f"{type(given).__name__} with {name}={getattr(given, name, None)}"
    return ""


def _modes(model: MLP) -> Iterator[str]:
    for place, module in _places(model).items():
        if isinstance(module, Dropout | nn.BatchNorm1d) and module.training != model.training:
            ours, its = ("training" if mode else "evaluation" for mode in (model.training, module.training))
            yield f"{place} is in {its} mode, the network in {ours}: call model.train() or model.eval()"


def _names(model: MLP) -> Iterator[str]:
    shapes = model.architecture.parameter_shapes() | model.architecture.buffer_shapes()
    given = dict(_tensors(model))
    for name, shape in shapes.items():
        if name not in given:
            remedy = f"{_code(name)} = nn.Parameter(torch.zeros({shape[0]})) changes no other gradient"
            yield f"{name} is missing: {remedy if name.endswith('bias') else OWN}"
        elif nn.parameter.is_lazy(given[name]):
            yield f"{name} has no values yet: run the network once, or load its weights"
        elif given[name].shape != shape:
            yield f"{name} has shape {tuple(given[name].shape)}, where this architecture has {shape}: {OWN}"
    for name in given:
        if name not in shapes and not name.endswith("num_batches_tracked"):
            yield f"{name} is no part of this architecture: {OWN}, without it"


def _tied(model: MLP) -> Iterator[str]:
    names: dict[Tensor, str] = {}
    for name, value in _tensors(model):
        if value in names:
            first = names[value]
            untied = f"{_code(name)} = nn.Parameter({_code(name)}.detach().clone())"
            yield f"{first} and {name} are tied, one tensor with two gradients in one: {untied} unties them"
        names[value] = name


def _kinds(model: MLP) -> Iterator[str]:
    """Layout, place and origin of every tensor."""
    for name, value in _tensors(model):
        if value.device.type == "meta":
            yield f"{name} is on the meta device, without values: model.to_empty(device='cpu'), then load"
        if value.layout != torch.strided or value.is_quantized:
            yield f"{name} is stored as {value.layout}, {value.dtype}: use a dense one, .to_dense() say"
        if value.is_inference():
            yield f"{name} was made in torch.inference_mode(), where autograd saves nothing: make it outside"


def _alike(model: MLP) -> Iterator[str]:
    """One device, and one dtype that can be judged."""
    floats = {n: v for n, v in _tensors(model) if not n.endswith("num_batches_tracked")}
    for what, remedy in (("dtype", "model.double() makes it one"), ("device", "model.to(...) makes it one")):
        common, _ = Counter(getattr(v, what) for v in floats.values()).most_common(1)[0]
        for name, value in floats.items():
            if getattr(value, what) != common:
                yield f"{name} is {getattr(value, what)} and others are {common}: {remedy}"
    dtype = common_dtype(model)
    if dtype not in (torch.float32, torch.float64):
        yield f"the model is {dtype}; gradients are judged in float32 or float64: model.double() makes it one"


def common_dtype(model: MLP) -> torch.dtype:
    """The dtype of a network whose tensors have been found to share one."""
    return next(model.parameters()).dtype


def _frozen(model: MLP) -> Iterator[str]:
    for name, value in model.named_parameters():
        if not value.requires_grad:
            yield f"{name} is frozen, so autograd has no gradient: {_code(name)}.requires_grad_(True)"


def _finite(model: MLP) -> Iterator[str]:
    for name, value in _tensors(model):
        finite = torch.isfinite(value.detach())
        if not finite.all():
            index = tuple(torch.nonzero(~finite)[0].tolist())
            yield f"{name}{list(index)} is {value[index].item()}: load weights that are finite"


# In this order: what explains the most comes first.
CHECKS: tuple[Callable[[MLP], Iterator[str]], ...] = (
    _autocast,
    _quantised,
    _reparametrised,
    _modules,
    _names,
    _tied,
    _modes,
    _kinds,
    _alike,
    _frozen,
    _finite,
)
