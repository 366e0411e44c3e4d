"""Step 10: wide or deep? Test accuracy against depth at equal parameter count, and against width."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual import MLP, Adam, Architecture, fit
from manual.buffered import BufferedEngine
from manual.numbers import Array
from mlp_torch.lecture.experiments import BASE, gain, read, train
from mlp_torch.lecture.page import Page, spread
from mlp_torch.lecture.walk import Walk

DEPTHS = (1, 2, 3, 4, 6)  # hidden layers
WIDTHS = (4, 16, 64, 256)  # of one hidden layer
BUDGETS = {"digits": 5000, "moons": 300, "sawtooth": 300}  # learnable parameters
FOLDS = 3  # the sawtooth is the tent map applied so often, one to the other: 2³ straight pieces


@dataclass(frozen=True, eq=False)
class ShapeResult:
    """One network shape: hidden sizes, its parameters, and the test accuracy of each seed."""

    hidden: tuple[int, ...]
    parameters: int
    accuracies: list[float]


def parameters(inputs: int, hidden: tuple[int, ...], outputs: int) -> int:
    """The number of learnable parameters."""
    return Architecture((inputs, *hidden, outputs)).counts().parameters


def width_for(budget: int, depth: int, inputs: int, outputs: int) -> int:
    """The width whose `depth` equal hidden layers come nearest to the budget of parameters."""
    width = 1
    while parameters(inputs, (width,) * depth, outputs) < budget:
        width += 1
    near = (w for w in (width - 1, width) if w >= 1)
    return min(near, key=lambda w: abs(parameters(inputs, (w,) * depth, outputs) - budget))


# t(x) = 1 − |2x − 1|, applied k times: 2^k straight pieces. A relu layer of 2 units makes one t, so depth
# k needs 2k units, and a single layer 2^k (Telgarsky 2016, Benefits of depth in neural networks)
def sawtooth(x: Array, k: int = FOLDS) -> Array:
    """t(t(… t(x))) on [0, 1]."""
    for _ in range(k):
        x = 1 - np.abs(2 * x - 1)
    return x


def by_hand(k: int = FOLDS) -> MLP:
    """The sawtooth as a relu network of k layers of 2: t(x) = 2 relu(x) − 4 relu(x − ½) on [0, 1]."""
    model = MLP((1, *(2,) * k, 1))
    tent = np.array([[2.0, -4.0]])
    for i in range(k):
        model.parameters[f"layers.{i}.weight"] = np.ones((2, 1)) if i == 0 else np.tile(tent, (2, 1))
        model.parameters[f"layers.{i}.bias"] = np.array([0.0, -0.5])
    model.parameters[f"layers.{k}.weight"], model.parameters[f"layers.{k}.bias"] = tent, np.zeros(1)
    return model


def sawtooth_accuracy(hidden: tuple[int, ...], seed: int, epochs: int) -> float:
    """Train on 1,000 points to tell sawtooth(x) above ½ from below; accuracy on 1,000 others."""
    rng = np.random.default_rng([seed, 6])
    x = rng.uniform(0, 1, (2000, 1)).astype(np.float32)
    y = 2 * sawtooth(x) - 1
    model = MLP((1, *hidden, 1), initialization="he", seed=seed, dtype=np.float32)
    engine = BufferedEngine(model, "mse", Adam(model.parameters))
    inputs = 2 * x - 1
    for _ in fit(
        engine, inputs[:1000], y[:1000], epochs=epochs, batch_size=50, lr=0.02, schedule="cosine", seed=seed
    ):
        pass
    return float(((engine.predict(inputs[1000:]) > 0) == (y[1000:] > 0)).mean())


def digits_accuracy(walk: Walk, hidden: tuple[int, ...], seed: int) -> float:
    """The walk's data set, by Adam."""
    setting = replace(
        BASE, data=walk.data, seed=seed, hidden=hidden, batch_size=64, lr=5e-3, epochs=walk.epochs(20)
    )
    return train(replace(setting, initialization="he")).test_accuracy


Series = dict[str, list[ShapeResult]]


def measure_depth(walk: Walk, depths: tuple[int, ...] = DEPTHS) -> Series:
    """By problem: equal parameters, growing depth."""
    shapes = {
        name: [(width_for(BUDGETS[name], depth, *ends(name, walk)),) * depth for depth in depths]
        for name in (walk.data, "sawtooth")
    }
    return measure(walk, shapes)


def measure_width(walk: Walk) -> Series:
    """By problem: one hidden layer, growing width."""
    return measure(walk, {walk.data: [(w,) for w in WIDTHS], "sawtooth": [(w,) for w in WIDTHS]})


def ends(name: str, walk: Walk) -> tuple[int, int]:
    """Inputs and outputs of the problem."""
    if name == "sawtooth":
        return 1, 1
    data = read(name, None, walk.seed)
    return data.inputs, data.outputs


def measure(walk: Walk, shapes: dict[str, list[tuple[int, ...]]]) -> Series:
    """Every shape of every problem over the walk's seeds."""
    series: Series = {}
    for name, several in shapes.items():
        series[name] = []
        inputs, outputs = ends(name, walk)
        for hidden in several:
            accuracies = [
                sawtooth_accuracy(hidden, seed, walk.epochs(60))
                if name == "sawtooth"
                else digits_accuracy(walk, hidden, seed)
                for seed in walk.repetitions
            ]
            series[name].append(ShapeResult(hidden, parameters(inputs, hidden, outputs), accuracies))
    return series


def depth(walk: Walk) -> Page:
    """Step 10."""
    page = Page()
    page.say(
        "Figure 6.6 of the deep-learning book shows test accuracy rising with depth. Here at equal parameter",
        "count, so that depth has to pay for itself: with each layer more all of them are narrower. Two",
        f"problems: {walk.data}, and the sawtooth, the tent map t(x) = 1 − |2x − 1| applied {FOLDS} times,",
        f"composed by construction: {FOLDS} relu layers of 2 units are exactly it; a single layer needs",
        f"{2**FOLDS} units, and twice as many for each time more.",
    )
    deep, wide = measure_depth(walk), measure_width(walk)
    for name, points in deep.items():
        page.table(
            f"depth, {name}: about {BUDGETS[name]} parameters, {walk.seeds} seeds",
            ("hidden layers", "width", "parameters", "test accuracy", "least", "most"),
            [
                (
                    len(p.hidden),
                    p.hidden[0],
                    p.parameters,
                    spread(p.accuracies),
                    min(p.accuracies),
                    max(p.accuracies),
                )
                for p in points
            ],
        )
    for name, points in wide.items():
        page.table(
            f"width, {name}: one hidden layer, {walk.seeds} seeds",
            ("width", "parameters", "test accuracy"),
            [(p.hidden[0], p.parameters, spread(p.accuracies)) for p in points],
        )
    for name, points in deep.items():
        page.say(verdict(name, points))
    page.say(
        "Means hide that a deep narrow network learns the sawtooth in one start and misses it in another:",
        "look at least and most. What it can represent and what descent finds are two questions.",
    )
    page.draw = lambda figure: draw_depth(figure, deep, wide, walk)
    return page


def verdict(name: str, points: list[ShapeResult]) -> str:
    """What the numbers say of the slide: the best depth and the deepest against one hidden layer."""
    shallow, deepest = points[0], points[-1]
    best = max(points[1:], key=lambda p: float(np.mean(p.accuracies)))
    mean, half = gain(best.accuracies, shallow.accuracies)
    said = (
        f"On {name} depth pays: {len(best.hidden)} hidden layers beat one"
        if mean > half
        else f"On {name} it does not pay: at this budget no depth beats one hidden layer beyond chance"
    )
    gains = [f"{len(p.hidden)} against 1: {difference(p, shallow)}" for p in dict.fromkeys((best, deepest))]
    return f"{said} ({'; '.join(gains)}; 95 % intervals)."


def difference(deep: ShapeResult, shallow: ShapeResult) -> str:
    """The gain in words, with its 95 % interval."""
    mean, half = gain(deep.accuracies, shallow.accuracies)
    wins = sum(a > b for a, b in zip(deep.accuracies, shallow.accuracies, strict=True))
    return f"{mean:+.3f} ± {half:.3f}, better in {wins} of {len(deep.accuracies)} seeds"


def draw_depth(figure: Any, deep: Series, wide: Series, walk: Walk) -> None:
    """Accuracy against depth at equal parameters, and against width; bars reach from least to most."""
    from mlp_torch.lecture.drawing import error_bars

    left, right = figure.subplots(1, 2, sharey=True)
    for i, (name, points) in enumerate(deep.items()):
        label = f"{name}, {BUDGETS[name]:,} parameters"
        percent = [[100 * a for a in p.accuracies] for p in points]
        error_bars(left, [len(p.hidden) for p in points], percent, i, label)
    for i, (name, points) in enumerate(wide.items()):
        percent = [[100 * a for a in p.accuracies] for p in points]
        error_bars(right, [p.hidden[0] for p in points], percent, i, name)
    left.set(
        xlabel="hidden layers",
        ylabel="test accuracy (%): mean, least, most",
        title="deeper, as many parameters",
    )
    left.set_xticks(DEPTHS)
    right.set_xscale("log", base=2)
    right.set_xticks(WIDTHS, [str(w) for w in WIDTHS])
    right.set(xlabel="neurons in one hidden layer", title="wider, one hidden layer")
    left.legend(fontsize=9, loc="lower right")
    right.legend(fontsize=9, loc="lower right")
