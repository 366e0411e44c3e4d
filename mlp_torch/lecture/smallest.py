"""Steps 3 and 5: y = wx with the slide's one line of code and why it fails, then two weights."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from manual import fit
from manual.activations import identity
from manual.perceptron import LinearPerceptron, X, Y, best_weight, train_smallest
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

EXACT_X = tuple(Fraction(str(x)) for x in X)
EXACT_Y = tuple(Fraction(str(y)) for y in Y)
RATE = 0.015  # of the runs that converge: below the slide's limit 2/x² = 0.02, and 2/mean(x²) = 0.068


@dataclass(frozen=True)
class Smallest:
    """What step 3 measures, all of it exact but `descent`: the weights of 40 full-batch passes."""

    best: Fraction
    two_passes: list[Fraction]
    without_last: list[Fraction]
    factors: list[Fraction]
    small_rate: list[Fraction]
    descent: list[float]


def measure_smallest() -> Smallest:
    """The slide's one-line trainer on the slide's data, with η = 1 and with one that is small enough."""
    x, y = np.array(X)[:, None], np.array(Y)
    engine = LinearPerceptron(np.zeros(1))
    for _ in fit(engine, x, y, epochs=40, batch_size=4, lr=RATE):
        pass
    passes = train_smallest(Fraction(0), EXACT_X, EXACT_Y, Fraction(str(RATE)), 12)
    return Smallest(
        best=best_weight(EXACT_X, EXACT_Y),
        two_passes=train_smallest(Fraction(0), EXACT_X, EXACT_Y, 1, 2),
        without_last=train_smallest(Fraction(0), EXACT_X[:3], EXACT_Y[:3], 1, 4)[::3],
        factors=[1 - x * x for x in EXACT_X],
        small_rate=passes[::4],
        descent=[float(w[0]) for w in engine.path],
    )


def smallest(walk: Walk) -> Page:
    """Step 3."""
    m = measure_smallest()
    page = Page(draw=draw_smallest)
    page.say(
        "y = wx has one parameter, and the four samples say what it should be: the L2 loss is smallest",
        f"where Σ (y − wx) x = 0, at w* = Σxy / Σx² = 117.8/117.25 = {float(m.best):.6f}.",
    )
    rows = []
    for i, w in enumerate(m.two_passes[1:]):
        x, factor = EXACT_X[i % 4], m.factors[i % 4]
        rows.append((f"pass {i // 4 + 1}, x = {float(x):g}", f"{float(factor):g}", f"{float(w):.6g}"))
    page.table(
        "the slide's line w = w + (y − ŷ) x from w = 0, in exact fractions",
        ("sample", "error times 1 − x²", "w after it"),
        rows,
    )
    page.say(
        "Each sample multiplies the distance to its own y/x by 1 − η x². With η = 1 that is −99 at x = 10:",
        "w flies off to 3377.9. It comes back each pass only because the last sample has x = 1, where",
        "1 − x² = 0: it throws away all that was learned, and w = 1.1 = its own y/x after every pass.",
    )
    page.slip(
        "Code to train your perceptron: just one line of code!",
        "for n = 1 … N: w = w + (yₙ − ŷ) xₙ;",
        "w = w + η (yₙ − ŷ) xₙ with η < 2/x² for every sample: 0.02 on this data",
        "η = 1 never converges: every pass after the first runs −7.9, 27.5, −297.475, 1.1. Without the"
        " sample x = 1 the error grows by −99 · −3 · −11.25 = −3341.25 a pass: w = "
        + ", ".join(f"{float(w):.4g}" for w in m.without_last[1:])
        + ".",
    )
    page.slip(
        "update rule: w = w − ∇w",
        "a step of the gradient itself",
        "w = w − η ∇w: the gradient has the unit of L/w, and only η turns it into a step of w",
        f"η = 1 is a hidden choice of units. Measure x and y in tens, and the same line has 1 − x² = "
        f"{', '.join(f'{float(1 - (x / 10) ** 2):.4g}' for x in EXACT_X)}: it settles at "
        f"{float(in_tens()[-1]):.4f}.",
    )
    page.table(
        f"with η = {RATE}",
        ("passes", "one sample at a time: w", "w − w*", "all four at once: w", "w − w*"),
        [
            (n, float(a), float(a - m.best), b, b - float(m.best))
            for n, a, b in ((n, m.small_rate[n], m.descent[n]) for n in (1, 2, 5, 10))
        ],
    )
    page.say(
        "One sample at a time, a constant η settles beside w*, since each sample pulls to its own y/x; the",
        f"full batch goes on to w* itself ({abs(m.descent[-1] - float(m.best)):.1e} away after 40 passes).",
    )
    page.slip(
        "what is this activation function? linear function! f(x) = wx",
        "the activation holds the weight",
        "f(a) = a, the identity, of a = wx: the weight belongs to the sum, not to the activation",
        f"w = 2, x = 3: the row `identity` gives f(wx) = {float(identity(np.array(2.0 * 3.0))):g}; f(x) = wx"
        " applied to a = wx would give w²x = 12, another function of w with another derivative.",
    )
    return page


def in_tens() -> list[Fraction]:
    """The slide's line with η = 1 where x and y are measured in tens; w has no unit and stays the same."""
    return train_smallest(Fraction(0), [x / 10 for x in EXACT_X], [y / 10 for y in EXACT_Y], 1, 12)


def draw_smallest(figure: Any) -> None:
    """The line through the samples, and w on its way under both rates."""
    from mlp_torch.colours import BLACK, BLUE, VERMILION

    m = measure_smallest()
    left, right = figure.subplots(1, 2)
    left.scatter(X, Y, color=BLACK, zorder=3, label="the slide's samples")
    left.plot([0, 10.5], [0, 10.5 * float(m.best)], color=BLUE, label="y = w* x, w* = 117.8/117.25")
    left.set(xlabel="x (dimensionless)", ylabel="y (dimensionless)", title="what is to be learned")
    left.legend()
    slide = [abs(float(w - m.best)) for w in train_smallest(Fraction(0), EXACT_X, EXACT_Y, 1, 3)]
    small = [
        abs(float(w - m.best)) for w in train_smallest(Fraction(0), EXACT_X, EXACT_Y, Fraction(str(RATE)), 3)
    ]
    right.semilogy(slide, "o-", color=VERMILION, label="η = 1, the slide's line")
    right.semilogy(small, "s--", color=BLUE, label=f"η = {RATE} < 2/x² = 0.02")
    right.set(xlabel="samples seen (4 a pass)", ylabel="|w − w*| (dimensionless)", title="one line of code")
    right.legend()


@dataclass(frozen=True)
class Second:
    """What step 5 measures: sample, weights, both derivatives by hand and by differences, a training run."""

    by_hand: tuple[float, float]
    by_difference: tuple[float, float]
    path: list[tuple[float, float]]
    losses: list[float]
    slide_loss: list[float]


TRUE = np.array([1.5, -0.5])
SAMPLES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
ONE_X, ONE_Y, ONE_W = np.array([[2.0, -1.0]]), np.array([0.5]), np.array([0.25, 0.5])


def measure_second() -> Second:
    """∂L/∂w₁ and ∂L/∂w₂ of one sample, and gradient descent on four samples of y = 1.5 x₁ − 0.5 x₂."""
    one = LinearPerceptron(ONE_W)

    def loss(w: Any) -> float:
        return float(((ONE_Y - ONE_X @ w) ** 2 / 2)[0])

    h = 2.0**-10  # L is quadratic, so the central difference has no error but rounding
    differences = [(loss(ONE_W + h * unit) - loss(ONE_W - h * unit)) / (2 * h) for unit in np.eye(2)]
    engine = LinearPerceptron(np.zeros(2))
    losses = [e.loss for e in fit(engine, SAMPLES, SAMPLES @ TRUE, epochs=20, batch_size=4, lr=0.8)]
    w, slide_loss = ONE_W.copy(), []
    for _ in range(4):  # θ ← θ − η ∇ of the slide's ½ (y − ŷ), whose gradient is −½ x wherever w is
        slide_loss.append(float(((ONE_Y - ONE_X @ w) / 2)[0]))
        w = w + 0.5 * ONE_X[0] / 2
    g = one.gradient(ONE_X, ONE_Y)
    return Second(
        (float(g[0]), float(g[1])),
        (differences[0], differences[1]),
        [(float(w[0]), float(w[1])) for w in engine.path],
        losses,
        slide_loss,
    )


def second(walk: Walk) -> Page:
    """Step 5."""
    m = measure_second()
    page = Page(draw=draw_second)
    page.say(
        "Two weights, so two partial derivatives: ∂L/∂wᵢ = −(y − ŷ) xᵢ says how L changes when wᵢ alone",
        "moves. The error −(y − ŷ) is the same in both; only the input differs.",
    )
    page.table(
        "x = (2, −1), y = 0.5, w = (0.25, 0.5)",
        ("derivative", "by hand", "by difference of L"),
        [(f"∂L/∂w{i + 1} = −(y − ŷ) x{i + 1}", m.by_hand[i], m.by_difference[i]) for i in (0, 1)],
    )
    page.table(
        "gradient descent, η = 0.8, on four samples of y = 1.5 x₁ − 0.5 x₂",
        ("passes", "w₁", "w₂", "loss before the step"),
        [(n, *m.path[n], m.losses[n]) for n in (0, 1, 2, 5, 10, 19)],
    )
    page.slip(
        "Gradient Descent (two weights), b. Compute Loss",
        "Lᵢ = ½ (yᵢ − ŷ)",
        "Lᵢ = ½ (yᵢ − ŷ)², whose derivative −(yᵢ − ŷ) xᵢ is the one on the same slide",
        "without the square ∂L/∂w = −½ x wherever w is, so descent never stops: four steps with η = 0.5 give"
        f" L = {', '.join(f'{v:g}' for v in m.slide_loss)}, past the perfect fit at L = 0 and on to −∞.",
    )
    return page


def draw_second(figure: Any) -> None:
    """The path of (w₁, w₂) over the contours of the loss."""
    from mlp_torch.colours import BLACK, VERMILION

    m = measure_second()
    left, right = figure.subplots(1, 2)
    grid = np.linspace(-0.5, 2.5, 80), np.linspace(-1.5, 1.5, 100)
    w1, w2 = np.meshgrid(*grid)
    residual = SAMPLES @ TRUE - np.stack([w1, w2], axis=-1) @ SAMPLES.T
    contours = left.contour(w1, w2, (residual**2 / 2).mean(axis=-1), levels=10, cmap="cividis")
    left.clabel(contours, fontsize=8)
    left.plot(*zip(*m.path, strict=True), "o-", color=VERMILION, markersize=4, label="from (0, 0), η = 0.8")
    left.plot(*TRUE, "*", color=BLACK, markersize=14, label="(1.5, −0.5)")
    left.set(xlabel="w₁ (dimensionless)", ylabel="w₂ (dimensionless)", title="the loss and the way down")
    left.legend(loc="upper right", fontsize=8)
    right.semilogy(m.losses, "o-", color=VERMILION, markersize=4)
    right.set(xlabel="passes over the data", ylabel="mean of ½ (y − ŷ)² (dimensionless)", title="the loss")
