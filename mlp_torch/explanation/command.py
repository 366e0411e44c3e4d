"""`mlp explain`: one gradient entry, factor by factor: as text, Markdown, JSON, picture or in TensorBoard."""

import contextlib
import json

import numpy as np

from mlp_torch.errors import UserError
from mlp_torch.explanation.chain import Explanation, explain
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.config import Explain
from mlp_torch.explanation.killer import elsewhere
from mlp_torch.explanation.source import Source, batch, source, traces
from mlp_torch.explanation.text import render
from mlp_torch.machine import threads
from mlp_torch.pager import paged
from mlp_torch.terminal import Terminal

SIZE = "The picture is 800 pixels wide: *Show actual image size*. Its numbers stand in the tab Text."


def run(config: Explain) -> int:
    """Explain as the flags say; 1 where a stage is proven wrong or the factors do not multiply, else 0."""
    found = source(config)
    sizes = found.model.architecture.sizes
    with threads(sizes, found.config.batch_size):
        choice = choose(found)
        found = choice.found
        ours, theirs = traces(found)
        if not np.isfinite(ours.loss):
            sample = found.config.sample
            raise UserError(f"the loss of --sample {sample} is {ours.loss}: no gradient to explain")
        explanation = explain(ours, theirs, choice.parameter, choice.index, title(found, choice.why))
    if not np.isfinite(explanation.product):
        raise UserError(f"∂L/∂{explanation.entry} is {explanation.product}: there is nothing to multiply")
    if config.json:
        print(json.dumps(explanation.to_dict(), allow_nan=False))
    elif config.format == "markdown":
        from mlp_torch.explanation.markdown import markdown

        with paged(config):
            print(markdown(explanation))
    else:
        with paged(config):
            Terminal(highlight=False, soft_wrap=True).print(render(explanation))
            where, entry = elsewhere(ours)
            if where and config.parameter is None and explanation.killer is None:
                flags = f"--sample {found.config.sample} --parameter '{entry}'"
                print(f"a gradient dies elsewhere: {where}; to see one: {flags}")
    if config.html is not None:
        from mlp_torch.explanation.page.write import write

        write(found, explanation, config.html)
        if not config.json and config.format == "text":
            print(f"page: {config.html}")
    if config.plot is not None or config.tensorboard:
        pictures(found, explanation)
    return 0 if explanation.holds else 1


def title(found: Source, why: str) -> str:
    """Which samples and which weights, in words, and why these."""
    config, n = found.config, len(found.data.train)
    samples = batch(config, n)
    which, several = f"sample {samples[0]}", ""
    if len(samples) > 1:
        which = f"samples {', '.join(map(str, samples[:8]))}{' …' if len(samples) > 8 else ''}"
        several = " (one batch: batch_norm needs several)" if config.batch_size == 1 else " (one batch)"
    weights = "initial weights" if found.epoch is None else f"{config.run}, epoch {found.epoch}"
    told = f"{which} of the training data of {config.data}{several}, {weights}, {config.dtype}"
    return f"{told}; {why}" if why else told


def pictures(found: Source, explanation: Explanation) -> None:
    """The picture into a file, and text and picture into the run's event file, as the flags ask."""
    from mlp_torch.explanation.picture import draw
    from mlp_torch.verify.plot import save_figure

    config, figure = found.config, draw(explanation)
    if config.plot is not None:
        save_figure(figure, config.plot)
        if not config.json and config.format == "text":
            print(f"picture: {config.plot}")
    if config.tensorboard and config.run is not None:
        from mlp_torch.board import values
        from mlp_torch.events import Events
        from mlp_torch.explanation.markdown import markdown

        try:
            tag = f"explain/{explanation.name}"
            with contextlib.closing(Events(config.run, ".explain")) as events:
                about = f"One gradient entry, factor by factor: {explanation.title}. {SIZE}"
                said = values.text(tag, markdown(explanation, formulas=False), about)
                events.add([said, values.figure(tag, figure, about)], found.epoch or 0)
        except OSError as error:
            raise UserError(
                f"--tensorboard: {config.run} cannot be written into ({error.strerror})"
            ) from None
        if not config.json and config.format == "text":
            print(f"tensorboard --logdir {config.run}: tabs Text and Images, {tag}")
