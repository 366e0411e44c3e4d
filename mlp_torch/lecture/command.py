"""`mlp lecture`: run the steps that are asked for, show their pages, save their figures."""

import importlib
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mlp_torch.lecture.config import Lecture
from mlp_torch.lecture.drawing import make_folder, save
from mlp_torch.lecture.page import Page, Printer
from mlp_torch.lecture.steps import STEPS, LectureStep
from mlp_torch.lecture.walk import Walk
from mlp_torch.pager import paged


def run(config: Lecture) -> int:
    """Walk, or list the steps; 0 at the end. Raises UserError where a figure cannot be written."""
    with paged(config):
        if config.list:
            print(listing(config.steps()))
        else:
            walk(config)
    return 0


def listing(steps: Iterable[LectureStep]) -> str:
    """A line a step: number, name and title, and under it the titles of its slides."""
    lines = []
    for step in steps:
        lines.append(f"{STEPS.index(step) + 1:2}  {step.name:<15}  {step.title}")
        lines += [f"{'':21}slide “{slide}”" for slide in step.slides]
    return "\n".join([*lines, "one of them: mlp lecture NAME, or its number; all: mlp lecture"])


def walk(config: Lecture) -> None:
    """Measure and show one step after the other."""
    from threadpoolctl import threadpool_limits

    if config.plot is not None:
        make_folder(config.plot.parent if config.to_file else config.plot)
    pages = None
    if config.html is not None:
        from mlp_torch.lecture.html.pages import Pages

        pages = Pages(config.html, config.steps(), config.walk())
    printer, started = Printer(), time.perf_counter()
    with threadpool_limits(1):  # the networks are small: a second thread would only be waited for
        for step in config.steps():
            number = STEPS.index(step) + 1
            printer.heading(f"{number} {step.title} ({step.name})", step.slides)
            with printer.measuring():
                page = open_page(step, config.walk())
            printer.show(page)
            if config.plot is not None and page.draw is not None:
                path = config.plot if config.to_file else config.plot / f"{step.name}.png"
                save(page.draw, path)
                printer.line(f"\nfigure: {path}\n  made by: {command(config, step.name, '--plot', path)}")
            if pages is not None:
                printer.line(f"\npage: {pages.add(step, page)}")
    if pages is not None and config.html is not None:
        printer.line(f"\nall pages: {pages.index(command(config, config.step, '--html', config.html))}")
    if len(config.steps()) > 1:
        printer.line(f"\n{len(config.steps())} steps in {time.perf_counter() - started:.0f} s")
        printer.line("one of them again: mlp lecture STEP, with its figure: --plot FILE.png")


def open_page(step: LectureStep, walk: Walk) -> Page:
    """Measure a step and write its page."""
    module, _, name = step.function.partition(":")
    function: Callable[[Walk], Page] = getattr(importlib.import_module(module), name)
    return function(walk)


def command(config: Lecture, step: str, flag: str, path: Path) -> str:
    """The line that makes this figure or page again; times, where it shows them, differ."""
    words = ["mlp", "lecture", *([] if step == "all" else [step]), flag, str(path)]
    words += ["--seed", str(config.seed)] if config.seed else []
    words += ["--data", config.data] if config.data != "digits" else []
    return shlex.join([*words, *(["--full"] if config.full else [])])
