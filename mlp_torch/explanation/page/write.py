"""The page of one explanation, with the epochs of its run."""

import copy
from dataclasses import replace
from pathlib import Path

from mlp_torch.errors import UnwritableError
from mlp_torch.explanation.chain import Explanation
from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.explanation.page.document import fitting, page, resource
from mlp_torch.explanation.page.epochs import Weights, repeat
from mlp_torch.explanation.source import Source, traces
from mlp_torch.files import replace as write_whole

EPOCHS = 25


def write(found: Source, explanation: Explanation, path: Path) -> None:
    """Write the page. Raises UserError where a file cannot be written or the run cannot be read."""
    moments, current, note = epochs(found, explanation)
    data, e = found.data, explanation
    outputs = [str(name) for name in data.target.classes]
    subject = Subject(e.title, data.preprocessing.input_names, outputs, (e.parameter, e.index))
    heading = "The chain rule, factor by factor"
    body = f"<main>\n<h1>{heading}</h1>\n{resource('explanation.html')}</main>"
    text = page(f"∂L/∂{e.entry}: {heading}", body, fitting(moments, subject, current, note))
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UnwritableError(path, error, "--html {path}: cannot be written ({why})") from None


def epochs(found: Source, explanation: Explanation) -> tuple[list[Moment], int, str]:
    """The moments, the current one among them, and what is to be said of them."""
    run = found.config.run
    label = "the initial weights" if found.epoch is None else f"epoch {found.epoch}"
    now = Moment(label, *explanation.traces)
    if run is None or found.epoch is None:
        return [now], 0, ""
    again = repeat(run, EPOCHS)
    moments = []
    for epoch, weights in sorted(again.weights.items()):
        words = f"epoch {epoch}" if epoch else "the initial weights"
        moments.append(now if epoch == found.epoch else Moment(words, *traces(with_weights(found, weights))))
    if now not in moments:
        return [now], 0, again.note
    return moments, moments.index(now), again.note


def with_weights(found: Source, weights: Weights) -> Source:
    """The same network and samples with other weights; masks are drawn as they were."""
    model = copy.deepcopy(found.model)
    for home in (model.parameters, model.buffers):
        home |= {name: weights[name].astype(model.dtype) for name in home if name in weights}
    return replace(found, model=model)
