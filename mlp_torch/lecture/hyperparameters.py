"""Step 8: units that saturate or die, counted, and each of the last slides' hyperparameters, measured."""

from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from manual import ACTIVATIONS, MLP
from manual.numbers import Array
from mlp_torch.config import Train
from mlp_torch.lecture.experiments import BASE, TrainedNetwork, accuracy, read, repeat
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

FLAT = 0.01  # a unit is saturated on a sample where |f′(z)| is below this share of its largest value
SCARCE = 150  # training samples where the question is what to do about too few
Results = dict[str, list[TrainedNetwork]]


def slopes(name: str, z: Array, a: Array) -> Array:
    """|f′(z)| of an activation, entry by entry."""
    return np.abs(ACTIVATIONS[name].backward(np.ones_like(z), z, a))


def measure_saturation(
    walk: Walk, scales: tuple[float, ...] = (1, 4, 16)
) -> list[tuple[str, float, float, float]]:
    """Of a 64-64-64-64-10 network whose weights are enlarged: the saturated share, ‖dW₁‖ over ‖dW₄‖."""
    data = read(walk.data, None, walk.seed)
    x, y = data.train.x[:500].astype(float), data.train.y[:500]
    rows = []
    for name in ("sigmoid", "tanh", "relu"):
        for scale in scales:
            model = MLP((data.inputs, 64, 64, 64, data.outputs), activation=name, seed=walk.seed)
            for parameter, value in model.parameters.items():
                if parameter.endswith("weight"):
                    value *= scale
            trace = model.trace(x, y, data.loss)
            top = slopes(name, np.array([1e-9]), ACTIVATIONS[name].forward(np.array([1e-9])))[0]
            found = [slopes(name, trace[f"z{i}"], trace[f"a{i}"]) for i in (1, 2, 3)]
            share = fmean(float((s < FLAT * top).mean()) for s in found)
            ratio = float(np.linalg.norm(trace["dW1"]) / np.linalg.norm(trace["dW4"]))
            rows.append((name, float(scale), share, ratio))
    return rows


def dead_units(model: MLP, walk: Walk, seed: int) -> int:
    """Hidden units of the first layer whose f′ is 0 on every training sample: no gradient revives them."""
    data = read(walk.data, None, seed)
    trace = model.trace(data.train.x, data.train.y, data.loss)
    found = slopes(model.architecture.activation, trace["z1"], trace["a1"])
    return int((found == 0).all(axis=0).sum())


def measure_dying(walk: Walk) -> list[tuple[str, float, float, str]]:
    """relu and leaky_relu, 64 units, under plain SGD with a moderate and with too high a rate."""
    rows = []
    for activation in ("relu", "leaky_relu"):
        for lr in (0.1, 2.0):
            setting = replace(
                BASE, hidden=(64,), activation=activation, optimizer="sgd", lr=lr, schedule="constant"
            )
            runs = repeat(walk, replace(setting, epochs=walk.epochs(5)))
            dead = [dead_units(o.model, walk, s) for o, s in zip(runs, walk.repetitions, strict=True)]
            rows.append((activation, lr, fmean(dead), accuracy(runs)))
    return rows


def comparisons(walk: Walk) -> dict[str, tuple[dict[str, Train], int | None]]:
    """By slide: the settings that are compared, each different from `BASE` in one thing, and the samples."""
    base = replace(BASE, epochs=walk.epochs(12))
    data = read(walk.data, None, walk.seed)
    outputs = [
        ("identity", data.loss),
        ("identity", "mse"),
        ("sigmoid", "mse"),
    ]  # softmax is in cross_entropy
    if data.outputs > 1:
        outputs += [("softmax", "mse"), ("identity", "multi_margin")]
    scarce = replace(base, hidden=(64,), lr=0.01, epochs=walk.epochs(60), schedule="constant")
    sgd = replace(base, optimizer="sgd", lr=0.03, schedule="constant", epochs=walk.epochs(6))
    return {
        "Activation functions (hidden), 32 32": (
            {
                name: replace(base, hidden=(32, 32), activation=name)
                for name in ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "silu")
            },
            None,
        ),
        "Activation functions (output) and their losses": (
            {
                f"{output}, {loss}": replace(base, output_activation=output, loss=loss)
                for output, loss in outputs
            },
            None,
        ),
        "Network size": (
            {
                name: replace(base, hidden=hidden)
                for name, hidden in (
                    ("none: linear", ()),
                    ("4", (4,)),
                    ("16", (16,)),
                    ("64", (64,)),
                    ("256", (256,)),
                )
            },
            None,
        ),
        "Regularization, on few samples": (
            {
                "none": scarce,
                "L2, ½λΣθ², λ = 0.001": replace(scarce, weight_decay=1e-3),
                "L2, ½λΣθ², λ = 0.01": replace(scarce, weight_decay=1e-2),
                "L1, λΣ|W|, λ = 0.001": replace(scarce, l1=1e-3),
            },
            SCARCE,
        ),
        "Early stopping, on few samples": (
            {"none": scarce, "patience 5": replace(scarce, early_stopping=5)},
            SCARCE,
        ),
        "Dropout, on few samples": (
            {f"p = {p:g}": replace(scarce, dropout=p) for p in (0.0, 0.2, 0.5)},
            SCARCE,
        ),
        "Momentum (SGD, η = 0.03)": (
            {
                "0": sgd,
                "0.9": replace(sgd, momentum=0.9),
                "0.9, Nesterov": replace(sgd, momentum=0.9, nesterov=True),
            },
            None,
        ),
    }


RATES = (0.001, 0.01, 0.1)


def measure_adaptive(walk: Walk) -> dict[str, list[list[TrainedNetwork]]]:
    """Adaptive learning rates: each optimizer at each base rate."""
    base = replace(BASE, schedule="constant", epochs=walk.epochs(5))
    return {
        name: [repeat(walk, replace(base, optimizer=name, lr=lr)) for lr in RATES]
        for name in ("sgd", "adagrad", "rmsprop", "adam")
    }


def hyperparameters(walk: Walk) -> Page:
    """Step 8."""
    page = Page()
    page.say(
        "A sigmoid or tanh unit saturates where |z| is large: its f′ is nearly 0, and every factor below it",
        "in the chain rule is multiplied by that. Four layers of 64, initial weights times a scale:",
    )
    page.table(
        f"share of unit × sample pairs with f′ below {FLAT:.0%} of its largest",
        ("activation", "weights ×", "saturated", "‖dW1‖ / ‖dW4‖"),
        [(n, f"{s:g}", f"{share:.1%}", ratio) for n, s, share, ratio in measure_saturation(walk)],
    )
    page.say(
        "A relu unit's f′ is 0 on half of its samples and does no harm, until it is 0 on all of them: then",
        "the unit is dead, and no gradient ever reaches its weights again.",
    )
    page.table(
        f"{walk.data}, 64 units, SGD, {walk.epochs(5)} epochs; means over {walk.seeds} seeds",
        ("activation", "η", "dead units of 64", "test accuracy"),
        measure_dying(walk),
    )
    results: dict[str, Results] = {}
    for title, (settings, samples) in comparisons(walk).items():
        results[title] = {name: repeat(walk, s, samples=samples) for name, s in settings.items()}
        runs = results[title]
        page.table(
            f"{title}{f' ({samples})' if samples else ''}: {walk.data}, over {walk.seeds} seeds",
            ("", "test accuracy", "training accuracy", "epochs", "s"),
            [
                (
                    name,
                    accuracy(o),
                    f"{fmean(r.train_accuracy for r in o):.3f}",
                    f"{fmean(r.epochs for r in o):.0f}",
                    f"{fmean(r.seconds for r in o):.2f}",
                )
                for name, o in runs.items()
            ],
        )
    adaptive = measure_adaptive(walk)
    page.table(
        f"Adaptive learning rates: test accuracy after {walk.epochs(5)} epochs",
        ("", *(f"η = {lr:g}" for lr in RATES)),
        [(name, *map(accuracy, cells)) for name, cells in adaptive.items()],
    )
    page.table(
        "best minus plain in test accuracy; the best is picked on these very samples: a flattered number",
        ("", "best", "instead of", "gain", "seeds better"),
        [gain(title, runs) for title, runs in results.items()],
    )
    page.draw = lambda figure: draw_hyperparameters(figure, results)
    return page


PLAIN = {"Activation functions (hidden), 32 32": "sigmoid", "Network size": "none: linear"}


def short(title: str) -> str:
    """A comparison's title without its details."""
    return title.partition(",")[0].partition(" (SGD")[0].partition(" and their")[0]


def gain(title: str, runs: Results) -> tuple[str, ...]:
    """The best row of a comparison against the plain one, which is the first if `PLAIN` names no other."""
    plain = PLAIN.get(title, next(iter(runs)))
    best = max(runs, key=lambda name: fmean(o.test_accuracy for o in runs[name]))
    gains = [a.test_accuracy - b.test_accuracy for a, b in zip(runs[best], runs[plain], strict=True)]
    if best == plain:
        return short(title), best, "", "0", ""
    better = f"{sum(g > 0 for g in gains)} of {len(gains)}"
    return short(title), best, plain, f"{fmean(gains):+.3f}", better


def draw_hyperparameters(figure: Any, results: dict[str, Results]) -> None:
    """Each comparison as one row of dots: mean and deviation of the test accuracy."""
    from mlp_torch.colours import COLOURS, MARKERS

    figure.set_size_inches(8, 8)
    axes = figure.subplots()
    y, ticks = 0, []
    for i, (title, runs) in enumerate(results.items()):
        ticks.append((y, short(title).upper()))
        y += 1
        for name, outcomes in runs.items():
            values = [o.test_accuracy for o in outcomes]
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            axes.errorbar(
                100 * float(np.mean(values)),
                y,
                xerr=100 * deviation,
                fmt=MARKERS[i],
                color=COLOURS[i],
                capsize=3,
            )
            ticks.append((y, name))
            y += 1
    axes.set_yticks([t for t, _ in ticks], [name for _, name in ticks], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="test accuracy (%), mean ± standard deviation over the seeds")
    axes.set_title("each hyperparameter by itself")
