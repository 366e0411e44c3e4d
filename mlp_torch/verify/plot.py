"""The picture of a comparison: one batch through both engines, drawn by `mlp_torch.board.pictures`."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.trace import Trace
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.board.pictures.gradients import Gradient, gradients
from mlp_torch.errors import UserError
from mlp_torch.files import replace
from mlp_torch.model import MLP
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import shares
from mlp_torch.verify.local import NO_TRUTH
from mlp_torch.verify.missing import without_truth

FINE = 100  # pixels an inch of a file, at least: TensorBoard's pictures are coarser


def draw(
    model: MLP,
    x: Array,
    y: Array,
    loss: str,
    reduction: Reduction = "mean",
    engine: str = "manual",
    weights: Array | None = None,
    recipe: Recipe = PLAIN,
) -> Figure:
    """The picture of one batch: that hand-written step against autograd, and both errors under the bound."""
    by_hand = hand_written(engine, model, loss, recipe)
    theirs = trace(model, x, y, loss, reduction=reduction, weights=weights, recipe=recipe)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    with np.errstate(all="ignore"):  # what is no number is said in the picture
        ours = by_hand(x, y, reduction=reduction, masks=masks, weights=weights)
    stages = sorted((s for s in ours if s.parameter), key=lambda s: (s.layer, s.name[1:]))
    names = [s.name for s in stages]
    our_errors, their_errors = _errors(ours, names), _errors(theirs, names)
    found = {n: Gradient(ours[n], theirs[n], our_errors.get(n), their_errors.get(n)) for n in names}
    a = model.architecture
    sizes = "-".join(map(str, a.sizes if a.depth <= 4 else (a.sizes[0], "…", a.sizes[-1])))
    depth = f" ({a.depth} layers)" if a.depth > 4 else ""
    unknown = [f"{NO_TRUTH} {row}" for row in without_truth(ours)]
    rows = unknown or [a.activation, loss]  # one line holds no more
    return gradients(found, ", ".join([f"{sizes}{depth}", *rows, f"{len(x)} samples", str(ours["z1"].dtype)]))


def _errors(found: Trace, names: list[str]) -> dict[str, Array]:
    """Every entry's error in units of its bound, where what the stage reads is finite."""
    finite = [n for n in names if all(np.isfinite(found[r]).all() for r in found.stage(n).reads)]
    return shares(found, finite)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole; the suffix says the format. Raises UserError where that cannot be."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in ("png", "svg", "pdf"):
        raise UserError(f"--plot {path}: the name must end in .png, .svg or .pdf")
    content = io.BytesIO()
    figure.savefig(content, format=suffix, dpi=max(figure.dpi, FINE))
    try:
        replace(path, content.getvalue())
    except OSError as error:
        raise UserError(f"--plot {path}: cannot be written ({error.strerror})") from None
