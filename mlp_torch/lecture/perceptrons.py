"""Steps 1 and 2: the sigmoid, the perceptron that is logistic regression, and how much there is to learn."""

from typing import Any

import numpy as np

from manual import MLP, Architecture
from manual.activations import d_sigmoid, sigmoid
from manual.numbers import Array
from manual.perceptron import careful_d_sigmoid, perceptron, slide_sigmoid
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

SIZES = (3, 4, 2)


def forward(walk: Walk) -> Page:
    """Step 1."""
    page = Page(draw=draw_forward)
    page.say(
        "A perceptron weighs its inputs, adds them up and squashes the sum: f(w · x) with",
        "f(a) = 1 / (1 + exp(−a)). manual/perceptron.py has it in one line.",
    )
    x, w = np.array([1.0, 2.0, -1.0]), np.array([0.5, -0.25, 1.0])
    a, f = float(x @ w), float(perceptron(x, w))
    page.table(
        f"x = {x.tolist()}, w = {w.tolist()}",
        ("quantity", "value"),
        [
            ("a = w · x", a),
            ("f(a), the perceptron", f),
            ("log(f / (1 − f)), the log-odds", float(np.log(f / (1 - f)))),
        ],
    )
    page.say(
        "The log-odds of f are a = w · x again, a linear function of x: that is logistic regression,",
        "the same line of code under another name.",
    )
    rows = sigmoid_table()
    page.table(
        "the slide's line against e^−|a| / (1 + e^−|a|)², in float64",
        ("a", "slide f(a)", "f(a)", "NumPy warns", "f (1 − f)", "f′(a)", "f (1 − f) is off by"),
        [
            (f"{r['a']:g}", *(r[k] for k in ("slide", "f", "warns", "product", "derivative", "off")))
            for r in rows
        ],
    )
    at = {r["a"]: r for r in rows}
    page.slip(
        "Programming the 'forward pass'",
        "return 1.0 / (1.0 + exp(-a));",
        "with e = exp(−|a|): 1 / (1 + e) for a ≥ 0, e / (1 + e) below",
        "exp(1000) overflows, NumPy warns, and 1 / (1 + ∞) = 0 is right all the same. The derivative is"
        f" not: at a = 40 f has rounded to 1, so f (1 − f) = {at[40]['product']:g} where f′ ="
        f" {at[40]['derivative']:.3g}, and at a = 30 it is off by {at[30]['off']}. In the slide's own float"
        f" that happens from a = {first_flat(np.float32)} on (double: {first_flat(np.float64)}).",
    )
    return page


def sigmoid_table() -> list[dict[str, Any]]:
    """f and f′ by the slide's formulas and by careful ones, where they part."""
    rows = []
    for a in (-1000.0, -30.0, 0.0, 10.0, 30.0, 40.0):
        z = np.array([a])
        with np.errstate(over="ignore"):
            slide = slide_sigmoid(z)
        with np.errstate(over="raise"):
            try:
                slide_sigmoid(z)
                warns = "no"
            except FloatingPointError:
                warns = "overflow"
        product, derivative = d_sigmoid(z, slide), careful_d_sigmoid(z)
        off = float(abs(product - derivative)[0] / derivative[0]) if derivative[0] else 0.0
        rows.append(
            {
                "a": a,
                "slide": float(slide[0]),
                "f": float(sigmoid(z)[0]),
                "warns": warns,
                "product": float(product[0]),
                "derivative": float(derivative[0]),
                "off": f"{off:.1%}" if off > 1e-12 else "0",
            }
        )
    return rows


def first_flat(dtype: Any) -> int:
    """The first whole number at which f has rounded to 1, so that f (1 − f) is 0."""
    a: Array = np.arange(0, 100).astype(dtype)
    return int(np.argmax(sigmoid(a) == 1))


def draw_forward(figure: Any) -> None:
    """f and f′, and the product f (1 − f) where it breaks off."""
    from mlp_torch.colours import BLUE, ORANGE, VERMILION

    left, right = figure.subplots(1, 2)
    a = np.linspace(-8, 8, 400)
    left.plot(a, sigmoid(a), color=BLUE, label="f(a) = 1 / (1 + exp(−a))")
    left.plot(a, careful_d_sigmoid(a), "--", color=VERMILION, label="f′(a), at most ¼")
    left.set(xlabel="a = w · x (dimensionless)", ylabel="value (dimensionless)", title="the sigmoid")
    left.set_ylim(0, 1.3)
    left.legend(loc="upper left")
    a = np.linspace(20, 45, 500)
    product = d_sigmoid(a, slide_sigmoid(a))
    right.semilogy(a, careful_d_sigmoid(a), "--", color=VERMILION, label="f′(a)")
    right.semilogy(a, np.where(product > 0, product, np.nan), color=ORANGE, label="f (1 − f) in float64")
    last = float(a[product > 0][-1])
    right.axvline(last, color="#555555", linewidth=1, linestyle=":")
    right.annotate("from here on\nf (1 − f) = 0", (last, 1e-11), (last + 0.5, 1e-11), fontsize=9)
    right.set(
        xlabel="a (dimensionless)", ylabel="derivative (dimensionless)", title="where f has rounded to 1"
    )
    right.legend(loc="lower left")


def counting(walk: Walk) -> Page:
    """Step 2."""
    page = Page(draw=draw_counting)
    page.say("The slide's network has 3 inputs, 4 hidden neurons and 2 outputs; the inputs are no neurons.")
    neurons, weights, parameters = Architecture(SIZES).counts()
    page.table(
        "Architecture((3, 4, 2)).counts()",
        ("how many", "sum", "count"),
        [
            ("neurons (perceptrons)", "4 + 2", neurons),
            ("weights (edges)", "(3 × 4) + (4 × 2)", weights),
            ("learnable parameters", "20 + 4 + 2 biases", parameters),
        ],
    )
    shapes = {name: value.shape for name, value in MLP(SIZES).parameters.items()}
    page.table(
        "and as arrays, (out, in) as in torch",
        ("parameter", "shape", "numbers"),
        [(name, str(shape), int(np.prod(shape))) for name, shape in shapes.items()],
    )
    return page


def draw_counting(figure: Any) -> None:
    """The 3-4-2 network: every circle a neuron or an input, every line a weight."""
    from mlp_torch.colours import BLUE, ORANGE, SKY

    axes = figure.subplots()
    axes.axis("off")
    columns = [[(x, (size - 1) / 2 - i) for i in range(size)] for x, size in enumerate(SIZES)]
    for layer, colour in ((0, SKY), (1, ORANGE)):
        for x0, y0 in columns[layer]:
            for x1, y1 in columns[layer + 1]:
                axes.plot([x0, x1], [y0, y1], color=colour, linewidth=1.5, zorder=1)
    for column, colour in zip(columns, ("white", BLUE, BLUE), strict=True):
        axes.scatter(*zip(*column, strict=True), s=500, color=colour, edgecolor="black", zorder=2)
    captions = (
        "3 inputs (no neurons)",
        "4 neurons\n3 × 4 = 12 weights, 4 biases",
        "2 neurons\n4 × 2 = 8 weights, 2 biases",
    )
    for x, caption in enumerate(captions):
        axes.text(x, -2.1, caption, ha="center", va="top")
    axes.set(xlim=(-0.5, 2.5), ylim=(-2.9, 2))
    axes.set_title("6 neurons, 20 weights, 26 parameters")
