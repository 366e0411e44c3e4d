"""What the board draws: each part reads the moment; `pictures/`, `curves`, `graph`, `embedding` draw it."""

import numpy as np

from manual.catalogue import LOSSES
from manual.numbers import Array
from mlp_torch.board import curves, embedding
from mlp_torch.board.moment import Moment, of_classes, of_probabilities
from mlp_torch.board.pictures.boundary import boundary, limits
from mlp_torch.board.pictures.confusion import confusion
from mlp_torch.board.pictures.images import pixels
from mlp_torch.board.pictures.mistakes import Decisions, as_columns, as_images, regression
from mlp_torch.board.pictures.weights import first_weights
from mlp_torch.board.values import File, Value, figure
from mlp_torch.data.splits import decide
from mlp_torch.inference import metrics
from mlp_torch.inference.loaded import has_probabilities, probabilities

KEPT = "The weights that were kept, on the validation samples."


def gradients(moment: Moment) -> list[Value]:
    """Both gradients of the first batch, and their errors under the bound."""
    assert moment.picture is not None
    return [figure("training/gradient_check", moment.picture(), "The first batch, on the initial weights.")]


def confusion_matrix(moment: Moment) -> list[Value]:
    """How many of a class were taken for another."""
    found, target = decisions(moment), moment.data.target
    matrix = metrics.confusion(found.truth, found.decision, len(found.labels))
    return [figure("kept_weights/confusion_matrix", confusion(matrix, found.labels, target.name), KEPT)]


def worst_mistakes(moment: Moment) -> list[Value]:
    """The samples of the largest loss: images where the inputs are pixels, else their columns."""
    names = moment.data.preprocessing.input_names
    x, found, grid = moment.shown.x, decisions(moment), pixels(names)
    drawn = as_columns(x, names, found) if grid is None else as_images(x, grid, found)
    return [figure("kept_weights/worst_mistakes", drawn, f"The largest losses. {KEPT}")]


def predictions(moment: Moment) -> list[Value]:
    """Predictions against the truth, in the target's own units; the largest losses are marked."""
    target = moment.data.target
    truth, found = (target.decode(v[:, 0]) for v in (moment.shown.y, moment.output))
    return [figure("kept_weights/predictions", regression(truth, found, target.name, losses(moment)), KEPT)]


def decision_boundary(moment: Moment) -> list[Value]:
    """What the network says of every point of the plane of its two inputs."""
    data = moment.data
    names, target = data.preprocessing.input_names, data.target

    def said(x: Array) -> Array:
        output = moment.predict(x.astype(moment.shown.x.dtype))
        if has_probabilities(data):
            return probabilities(output, data)
        if target.classes:
            return np.eye(len(target.classes))[decide(output, data.loss)]
        return target.decode(output[:, 0])

    truth = moment.shown.labels
    if truth is None:
        truth = target.decode(moment.shown.y[:, 0])
    drawn = boundary(
        said, moment.shown.x, truth, limits(moment.plane), names, [str(c) for c in target.classes],
        title=f"epoch {moment.epoch}",
    )  # fmt: skip
    return [figure("training/decision_boundary", drawn, "After the epoch, with the validation samples.")]


def first_layer(moment: Moment) -> list[Value]:
    """What the first layer's units weigh."""
    names = moment.data.preprocessing.input_names
    drawn = first_weights(moment.parameters["layers.0.weight"], names, pixels(names))
    return [figure("kept_weights/first_layer", drawn, "The weights that were kept: one tile or row a unit.")]


def pr_curves(moment: Moment) -> list[Value]:
    """Precision against recall, each class against the rest."""
    found, shown = decisions(moment), moment.shown
    p = probabilities(moment.output, moment.data)
    return list(curves.pr_curves(found.truth, p, found.labels, shown.weights).value)


def roc_curves(moment: Moment) -> list[Value]:
    """The ROC curves, each class against the rest."""
    found, shown = decisions(moment), moment.shown
    p = probabilities(moment.output, moment.data)
    return [figure("kept_weights/roc_curves", curves.roc(found.truth, p, found.labels, shown.weights), KEPT)]


def last_hidden_layer(moment: Moment) -> list[File]:
    """What the last hidden layer gives for each sample, for the Projector."""
    if of_classes(moment):
        columns = embedding.known(decisions(moment))
    else:
        target = moment.data.target
        truth, found = (target.decode(v[:, 0]) for v in (moment.shown.y, moment.output))
        columns = embedding.known_numbers(truth, found, losses(moment))
    grid = pixels(moment.data.preprocessing.input_names)
    images = None if grid is None else grid.images(moment.shown.x)
    return embedding.files(moment.activations[moment.architecture.depth - 1], columns, images)


def losses(moment: Moment) -> Array:
    """Each sample's own loss (N,)."""
    row = LOSSES[moment.loss]
    terms = row.terms(moment.output, moment.shown.y, **row.options)
    return terms if terms.ndim == 1 else terms.mean(axis=1)


def decisions(moment: Moment) -> Decisions:
    """What became of the samples shown."""
    truth = moment.shown.labels
    assert truth is not None
    decision = decide(moment.output, moment.loss)
    p = None
    if of_probabilities(moment):
        p = probabilities(moment.output, moment.data)[np.arange(len(truth)), decision]
    labels = [str(label) for label in moment.data.target.classes]
    return Decisions(truth, decision, losses(moment), labels, p)
