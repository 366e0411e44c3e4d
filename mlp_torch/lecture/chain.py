"""Step 6: the four-parameter network, its gradients as products of named factors, beside autograd's."""

from dataclasses import dataclass
from typing import Any

from manual.perceptron import FourParameters, ScalarFactor, gradient, slide_gradient_w3
from mlp_torch.lecture.page import Page
from mlp_torch.lecture.walk import Walk

NETWORK = FourParameters(w1=0.5, b1=0.1, w2=-1.5, w3=2.0)
SAMPLE = (2.0, 1.0)
RATE = 0.1


@dataclass(frozen=True)
class ComparedFactor:
    """A factor of the hand-written chain, and autograd's number for the same derivative."""

    factor: ScalarFactor
    autograd: float


@dataclass(frozen=True)
class Chain:
    """The rows of each gradient by parameter, and autograd's gradient of the whole equation."""

    rows: dict[str, list[ComparedFactor]]
    autograd: dict[str, float]
    reused: int
    total: int


def measure_chain(network: FourParameters = NETWORK, sample: tuple[float, float] = SAMPLE) -> Chain:
    """Every factor by hand and by autograd; torch sees the forward pass alone."""
    import torch

    x, y = sample
    v: dict[str, Any] = {
        name: torch.tensor(getattr(network, name), dtype=torch.float64, requires_grad=True)
        for name in ("w1", "b1", "w2", "w3")
    }
    v["a1"] = v["w1"] * x + v["b1"]
    v["f1"] = torch.sigmoid(v["a1"])
    v["a2"] = v["w2"] * v["f1"]
    v["f2"] = torch.sigmoid(v["a2"])
    v["a3"] = v["w3"] * v["f2"]
    v["f3"] = torch.sigmoid(v["a3"])
    v["L"] = (y - v["f3"]) ** 2 / 2

    def autograd(of: str, by: str) -> float:
        return float(torch.autograd.grad(v[of], v[by], retain_graph=True)[0])

    factors = network.factors(x, y)
    rows = {
        name: [ComparedFactor(f, autograd(f.of, f.by)) for f in product] for name, product in factors.items()
    }
    every = [f for product in factors.values() for f in product]
    return Chain(rows, {n: autograd("L", n) for n in factors}, sum(f.reused for f in every), len(every))


def chain(walk: Walk) -> Page:
    """Step 6."""
    m, (x, y) = measure_chain(), SAMPLE
    page = Page(draw=draw_chain)
    page.say(
        "The whole network is one equation, y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁))), with f the sigmoid and",
        f"L = ½ (y − ŷ)². Known: x = {x:g} and y = {y:g}. Unknown: w₁ = {NETWORK.w1:g}, b₁ = {NETWORK.b1:g},",
        f"w₂ = {NETWORK.w2:g}, w₃ = {NETWORK.w3:g}, to be learned.",
    )
    page.table("forward", ("quantity", "value"), [*NETWORK.forward(x, y).items()])
    for name, rows in m.rows.items():
        product = gradient([r.factor for r in rows])
        cells: list[tuple[object, ...]] = [
            (
                r.factor.name,
                r.factor.formula,
                f"{r.factor.value:+.9f}",
                f"{r.autograd:+.9f}",
                "re-use (propagate)!" if r.factor.reused else "new",
            )
            for r in rows
        ]
        cells.append((f"∂L/∂{name}", "their product", f"{product:+.9f}", f"{m.autograd[name]:+.9f}", ""))
        title = f"∂L/∂{name} = " + " · ".join(r.factor.name for r in rows)
        page.table(title, ("factor", "is", "manual", "autograd", ""), cells)
    page.say(
        f"Of the {m.total} factors {m.reused} are already computed when they are needed. That is all of",
        "backpropagation: the products are built from the loss downwards, and each layer hands its own on.",
    )
    w3 = m.autograd["w3"]
    slide = slide_gradient_w3([r.factor for r in m.rows["w3"]], RATE)
    page.slip(
        "According to the chain rule… ∂L/∂w₃",
        "∂L/∂w₃ = −η (y − ŷ) f₃ (1 − f₃) f₂",
        "∂L/∂w₃ = −(y − ŷ) f₃ (1 − f₃) f₂; η enters once, in w₃ = w₃ − η ∇w₃",
        f"with η = {RATE:g} the slide's line is {slide:+.6f}, autograd says {w3:+.6f}; the update would then"
        f" move w₃ by η² = {RATE**2:g} of the gradient in place of {RATE:g} of it.",
    )
    return page


def draw_chain(figure: Any) -> None:
    """How ∂L/∂· shrinks on its way from the loss down to the first weight, factor by factor."""
    from mlp_torch.colours import BLUE, ORANGE

    axes = figure.subplots()
    rows = measure_chain().rows["w1"]
    product, values = 1.0, []
    for row in rows:
        product *= row.factor.value
        values.append(abs(product))
    colours = [ORANGE if row.factor.reused else BLUE for row in rows]
    bars = axes.bar(range(len(rows)), values, color=colours)
    for bar, hatch in zip(bars, ("//" if r.factor.reused else "" for r in rows), strict=True):
        bar.set_hatch(hatch)
    axes.bar_label(bars, [f"{v:.4f}" for v in values], fontsize=9, padding=2)
    axes.set_xticks(range(len(rows)), [f"· {r.factor.name}\n= {r.factor.value:+.3f}" for r in rows])
    axes.set(
        yscale="log",
        xlabel="factor multiplied on, from the loss down to w1",
        ylabel="|product so far| (dimensionless)",
        title="∂L/∂w1: orange and hatched is re-used from ∂L/∂w2, blue is new",
        ylim=(min(values) / 2, max(values) * 3),
    )
    axes.grid(visible=False, axis="x")
