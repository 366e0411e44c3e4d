"""`mlp train`: read the data, check the gradients, train, keep the run, say how it went."""

import contextlib
import copy
import math
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import manual
from manual.structure.architecture import Architecture
from manual.training.batches import first_batch as first_of
from mlp_torch.artifact import Artifact
from mlp_torch.config import ON_CPU, Train
from mlp_torch.costs import warm
from mlp_torch.data.splits import Data
from mlp_torch.distributed.data import read
from mlp_torch.distributed.group import current, launched
from mlp_torch.engines import AnyEngine, build, choose_engine, moves_by_formula, step_of
from mlp_torch.errors import UnwritableError, UserError
from mlp_torch.interrupts import held, released
from mlp_torch.machine import resolve_device, threads
from mlp_torch.model import MLP, to_torch
from mlp_torch.runs import Run, check_name, make_folder, plain
from mlp_torch.tables.summary import summary
from mlp_torch.terminal import Terminal, counted
from mlp_torch.training.checkpoint import Checkpoint
from mlp_torch.training.loop import Training
from mlp_torch.training.outcome import Outcome, summarize, weights_of
from mlp_torch.training.resume import Begun, begun
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import ComparisonReport, WrongGradientError

if TYPE_CHECKING:  # half a second that only pictures need
    from matplotlib.figure import Figure


class NotTrainedError(WrongGradientError):
    """A gradient ended the training, or let it not begin: the evidence, and `said`, what became of it."""

    def __init__(self, evidence: object, said: str) -> None:
        super().__init__(f"{evidence}\n{said}")
        self.evidence, self.said = evidence, said


def run(
    config: Train, around: Callable[[Training], AbstractContextManager[Any]] = contextlib.nullcontext
) -> int:
    """The command: `trained`, and what came of it in words; the exit code.

    0: trained; 1: the gradients are wrong; 130, 143, 129: ended by Ctrl-C, SIGTERM or SIGHUP, all is kept.
    """
    if launched():
        from mlp_torch.distributed import launch

        return launch.run(config, partial(_alone, around=around))
    return _alone(config, around)


def _alone(config: Train, around: Callable[[Training], AbstractContextManager[Any]]) -> int:
    """As `run`, in the process that prints and writes."""
    with held():
        try:
            outcome = trained(config, around)
            if config.warm:
                warm(config.dtype)
        except NotTrainedError as error:
            print(error.evidence)
            print(f"mlp train: {error.said}", file=sys.stderr)
            return 1
        if outcome.interrupted:
            going_on = f"it goes on by mlp train --resume {shlex.quote(str(outcome.folder))}"
            with contextlib.suppress(OSError):  # the terminal is gone, after SIGHUP
                print(f"mlp train: {outcome.lines[0]}; {going_on}", file=sys.stderr)
            return 128 + outcome.interrupted
        print(*([""] if outcome.report else []), *outcome.lines, sep="\n")
        return 0


def trained(
    config: Train, around: Callable[[Training], AbstractContextManager[Any]] = contextlib.nullcontext
) -> Outcome:
    """Train as the flags say (`config.check()` has passed), and what it has come to.

    Raises UserError for what the user can put right, a loss that is not finite among it; NotTrainedError
    where a gradient is wrong or cannot be judged. `around` makes a context, in which the training that it
    is given runs; it may set its `after_epoch`.
    """
    with contextlib.ExitStack() as ends:
        before: Begun | None = None
        with released():
            if config.resume is not None:
                before = begun(config)
                ends.callback(before.lock.release)
                if before.finished:
                    return Outcome(before.folder, (before.finished,))
                config = before.config
            else:
                check_name(config.runs_dir, config.name)
            data = read(config)
            if before is not None and before.checkpoint is not None:
                check_same_data(before.checkpoint, data, config)
            alone = around is contextlib.nullcontext  # a sweep trains many times in a process
            config, why = resolve(config, data, lasting=not alone)
            check_batches(config, weighing(data))
            architecture = config.architecture(data.inputs, data.outputs)
            at_once = min(config.batch_size, weighing(data))
            engine = build(replace(config, batch_size=at_once), architecture, data.loss)
            report = check_gradients(engine, data, config)
        if not report.passed:
            found = "are wrong" if report.verdict == "wrong" else "could not be judged"
            raise NotTrainedError(report, f"the gradients {found} (table above); nothing was trained")
        with held():
            if before is None:
                stem = f"{data.dataset.name}-{config.engine}"
                path, lock = make_folder(config.runs_dir, config.name, stem, asdict(config))
                ends.callback(lock.release)
                current().began(path)
            else:
                path = before.folder
            if data.columns:
                show(data)
            if why:
                print(f"engine: {config.engine}, {why}")
            if by_formula := moves_by_formula(config):
                print(by_formula)
            start = None if before is None else before.checkpoint
            sizes = {} if start is None else start.numbers["files"]
            folder = Run(path, asdict(config), describe(config, data, architecture), sizes)
            # in a sweep checkpoints would cost more than many a trial
            training = Training(config, data, engine, folder, start, keeps_checkpoints=alone)
            try:
                at_work = threads(architecture.sizes, at_once, config.engine in ON_CPU)
                with at_work, around(training), training.board.session():
                    if start is None:
                        drawn = partial(picture, engine, data, config)
                        training.board.begin(training.moment(training.last, report=report, picture=drawn))
                    training.train()
                    return summarize(training, report)
            except UnwritableError as error:
                raise error.saying(training.rescue()) from None
            except WrongGradientError as error:
                kept = f"{weights_of(training.kept)} are kept in {path}"
                said = f"a gradient is wrong (above); training stopped, {kept}"
                raise NotTrainedError(error, said) from None
            finally:
                folder.close()


def check_same_data(start: Checkpoint, data: Data, config: Train) -> None:
    """Raise UserError if the file is another one than the run was begun on."""
    if start.numbers["fingerprint"] != data.fingerprint:
        raise UserError(f"--data {config.data}: has changed since the run was begun; put the file back")


def show(data: Data) -> None:
    """What was understood of a table, before anything is trained on it."""
    parts = f"{len(data.train):,} to train, {len(data.validation):,} to validate, {len(data.test):,} to test"
    console = Terminal()
    console.print(summary(data.columns))
    console.print(f"{parts}; {counted(data.inputs, 'inputs')}\n", highlight=False, soft_wrap=True)


def describe(config: Train, data: Data, architecture: Architecture) -> Artifact:
    """What stands beside the weights, so that they can be used again."""
    return Artifact(
        architecture.sizes, architecture.options(), config.dtype, data.loss, data.preprocessing, data.target,
        plain(asdict(config)), data.fingerprint,
    )  # fmt: skip


def resolve(config: Train, data: Data, *, lasting: bool = False) -> tuple[Train, str]:
    """The configuration with every default that depends on the data or the machine filled in.

    And why it is this engine, where `auto` was to choose.
    """
    engine, why, epochs = config.engine, "", config.epochs or data.dataset.epochs
    device = "cpu" if engine in ON_CPU else resolve_device(config.device, config.dtype)
    if engine == "auto":
        at_most = replace(config, batch_size=min(config.batch_size, weighing(data)))
        steps = epochs * math.ceil(weighing(data) / at_most.batch_size)
        architecture = config.architecture(data.inputs, data.outputs)
        engine, why = choose_engine(at_most, architecture, data.loss, device, steps, lasting=lasting)
    keep = config.keep or ("best" if data.held_out else "last")
    return replace(config, loss=data.loss, epochs=epochs, device=device, engine=engine, keep=keep), why


def weighing(data: Data) -> int:
    """The training samples that weigh something."""
    weights = data.train.weights
    return len(data.train) if weights is None else int(np.count_nonzero(weights))


def check_batches(config: Train, n: int) -> None:
    """Raise UserError if batch_norm would meet a batch of one sample among n."""
    if config.normalization != "batch_norm" or not config.hidden:
        return

    def last(size: int) -> int:
        return n % size or min(size, n)

    if last(config.batch_size) == 1:
        better = next(
            size for size in range(config.batch_size + 1, n + config.batch_size + 2) if last(size) > 1
        )
        raise UserError(
            f"--batch-size {config.batch_size}: of {n} training samples the last batch has 1, and "
            f"batch_norm needs at least 2; use --batch-size {better} or --normalization layer_norm"
        )


def first_batch(data: Data, config: Train) -> dict[str, Any]:
    """The first batch that will be trained on, in float64, and what it is judged by."""
    train = data.train
    x, y, weights = first_of(train.x, train.y, config.seed, config.batch_size, train.weights)
    y = y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64)
    weights = None if weights is None else weights.astype(np.float64)
    given = {"x": x.astype(np.float64), "y": y, "weights": weights, "recipe": config.recipe()}
    return given | {
        "loss": data.loss,
        "engine": step_of(config, config.architecture(data.inputs, data.outputs), data.loss),
    }


def check_gradients(engine: AnyEngine, data: Data, config: Train) -> ComparisonReport:
    """The instrument's report on the first batch, judged in float64 on a copy with the same weights.

    What is held against autograd is the hand-written step that will train; for autograd itself, and for
    both in lock-step, the plain formulas.
    """
    return compare(in_float64(engine), **first_batch(data, config))


def picture(engine: AnyEngine, data: Data, config: Train) -> "Figure":
    """Both gradients of that batch, and their errors under the bound."""
    from mlp_torch.verify.plot import draw

    return draw(in_float64(engine), **first_batch(data, config))


def in_float64(engine: AnyEngine) -> MLP:
    """A copy of the engine's network on the cpu whose float64 weights are the very same numbers."""
    if isinstance(engine.model, manual.MLP):
        return to_torch(engine.model).double()
    module: MLP = copy.deepcopy(engine.model).cpu().double()
    return module
