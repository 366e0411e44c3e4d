"""What the board is made of: one row a part, for which level, when, and of which runs."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlp_torch.board import graph, histograms, layout, scalars, texts
from mlp_torch.board.moment import (
    Moment,
    of_classes,
    of_numbers,
    of_probabilities,
    of_two_inputs,
    with_hidden_layers,
)
from mlp_torch.board.values import File, Value

BEGINNING, END = "beginning", "end"


def spaced(epoch: int, epochs: int, least: int, most: int) -> bool:
    """The last, and before it those as many epochs apart, at least `least`, `most` in all or so."""
    return epoch == epochs or epoch % max(least, -(-epochs // most)) == 0


# When parts are shown while training: (epoch, epochs of the run) → whether after this one.
SCHEDULES: dict[str, Callable[[int, int], bool]] = {
    "every epoch": lambda epoch, epochs: True,
    "now and then": lambda epoch, epochs: spaced(epoch, epochs, 15, 20),
    "often": lambda epoch, epochs: spaced(epoch, epochs, 1, 100),
}
MORE_OFTEN = {"now and then": "often"}  # at the fullest level


def any_run(moment: Moment) -> bool:
    return True


@dataclass(frozen=True)
class Part:
    """One row: its name, the lowest level that shows it, when, what makes it, and for which runs it is.

    `when` is BEGINNING (before the first epoch), a row of SCHEDULES, or END (of the weights kept).
    `seconds` is what a picture at the end takes at most, of a few hundred samples on a slow core.
    """

    name: str
    level: str
    when: str
    make: Callable[[Moment], Iterable[Value | File]]
    applies: Callable[[Moment], bool] = any_run
    seconds: float = 0.3


def affordable(parts: Sequence[Part], seconds: float) -> Sequence[Part]:
    """The parts, where making all of them takes at most a twentieth of the seconds of training, or none."""
    return parts if 20 * sum(part.seconds for part in parts) <= seconds else ()


def curves(measure: Callable[[Moment], Mapping[str, float | None]]) -> Callable[[Moment], list[Value]]:
    """The points of what a function measures."""
    return lambda moment: scalars.points(measure(moment))


def drawn(name: str) -> Callable[[Moment], Iterable[Value | File]]:
    """A function of `figures`, whose libraries are imported when it is called: most runs draw nothing."""

    def make(moment: Moment) -> Iterable[Value | File]:
        found: Iterable[Value | File] = getattr(importlib.import_module("mlp_torch.board.figures"), name)(
            moment
        )
        return found

    return make


def checked(moment: Moment) -> bool:
    return moment.report is not None


PARTS: tuple[Part, ...] = (
    Part("layout", "minimal", BEGINNING, layout.layout),
    Part("about", "standard", BEGINNING, texts.about),
    Part("configuration", "standard", BEGINNING, texts.configuration),
    Part("data", "standard", BEGINNING, texts.data),
    Part("gradient check", "standard", BEGINNING, texts.gradient_check, checked),
    Part("margins of the first check", "standard", BEGINNING, curves(scalars.first_margins), checked),
    Part("graph", "standard", BEGINNING, graph.network),
    Part("gradient picture", "full", BEGINNING, drawn("gradients"), checked),
    Part("curves", "minimal", "every epoch", curves(scalars.curves)),
    Part("update ratios", "standard", "every epoch", curves(scalars.update_ratios)),
    Part("dead units", "standard", "now and then", curves(scalars.dead_units)),
    Part("weights", "standard", "now and then", histograms.weights),
    Part("gradients", "standard", "now and then", histograms.gradients),
    Part("activations", "standard", "now and then", histograms.activations),
    Part("test", "minimal", END, curves(scalars.curves)),
    Part("decision boundary", "full", "now and then", drawn("decision_boundary"), of_two_inputs),
    Part("confusion matrix", "full", END, drawn("confusion_matrix"), of_classes),
    Part("worst mistakes", "full", END, drawn("worst_mistakes"), of_classes),
    Part("predictions", "full", END, drawn("predictions"), of_numbers),
    Part("first layer", "full", END, drawn("first_layer")),
    Part("PR curves", "full", END, drawn("pr_curves"), of_probabilities),
    Part("ROC curves", "full", END, drawn("roc_curves"), of_probabilities),
    Part("embedding", "full", END, drawn("last_hidden_layer"), with_hidden_layers),
)
