"""The pictures that the project draws elsewhere, for the tab Images."""

from mlp_torch.board.moment import Moment
from mlp_torch.board.values import Value, figure
from mlp_torch.data.splits import decide
from mlp_torch.inference import metrics


def gradients(moment: Moment) -> list[Value]:
    """Both gradients of the first batch, and their errors under the bound."""
    assert moment.picture is not None
    return [figure("gradient_check", moment.picture(), "The first batch, on the initial weights.")]


def confusion(moment: Moment) -> list[Value]:
    """The confusion matrix, or predictions against the truth, of the validation samples shown."""
    target, shown = moment.data.target, moment.shown
    labels = [str(c) for c in target.classes]
    about = "The weights that were kept, on the validation samples."
    if shown.labels is None:
        truth, found = target.decode(shown.y[:, 0]), target.decode(moment.output[:, 0])
        return [figure("predictions", metrics.picture(truth, found, None, labels, target.name), about)]
    decision = decide(moment.output, moment.loss)
    matrix = metrics.confusion(shown.labels, decision, len(labels))
    drawn = metrics.picture(shown.labels, decision, matrix, labels, target.name)
    return [figure("confusion_matrix", drawn, about)]
