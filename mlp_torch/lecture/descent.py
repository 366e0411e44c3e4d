"""Step 7: θ ← θ − η ∇θ with all samples, one, or a few at a time: passes, time, noise, loss, accuracy."""

from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from manual import fit
from manual.perceptron import LinearPerceptron, X, Y, best_weight
from manual.training.fit import Position
from mlp_torch.lecture.experiments import BASE, TrainedNetwork, gain, repeat, train
from mlp_torch.lecture.page import Page, spread
from mlp_torch.lecture.sampling import measure_noise, measure_unbiased
from mlp_torch.lecture.walk import Walk

# name, batch size, η (each with one that suits it), the most passes it is given
METHODS = (
    ("one sample", 1, 0.03, 20),
    ("batches of 32", 32, 0.3, 60),
    ("all samples", 10**6, 1.0, 600),
)
TARGET = 0.05  # training loss at which they are compared


def measure_methods(walk: Walk) -> dict[str, list[TrainedNetwork]]:
    """Each method over the walk's seeds, from the same weights, until the training loss is at `TARGET`."""
    plain = replace(BASE, optimizer="sgd", schedule="constant")
    return {
        name: repeat(walk, replace(plain, batch_size=b, lr=lr, epochs=walk.epochs(n)), until=TARGET)
        for name, b, lr, n in METHODS
    }


PASSES = (1, 10, 100, 1000)


def measure_convergence(walk: Walk, passes: tuple[int, ...] = PASSES) -> dict[str, list[float]]:
    """|w − w*| of the smallest perceptron after so many passes: all samples; one, η constant; one, η/t."""
    x, y, best = np.array(X)[:, None], np.array(Y), float(best_weight(X, Y))

    def distances(batch: int, lr: float, power: int) -> list[float]:
        engine, found = LinearPerceptron(np.zeros(1)), []
        for k in range(max(passes)):
            rate = lr / (k + 1) ** power
            for _ in fit(
                engine, x, y, epochs=k + 1, batch_size=batch, lr=rate, seed=walk.seed, start=Position(k)
            ):
                pass
            if k + 1 in passes:
                found.append(abs(float(engine.w[0]) - best))
        return found

    return {
        "all samples, η = 0.015": distances(4, 0.015, 0),
        "one at a time, η = 0.015": distances(1, 0.015, 0),
        "one at a time, η = 0.015/pass": distances(1, 0.015, 1),
    }


def descent(walk: Walk) -> Page:
    """Step 7."""
    page = Page()
    page.say(
        "θ ← θ − η ∇θ for every parameter at once. What we truly minimize is the sum over N samples; what we",
        "use is the gradient of one sample, or of a minibatch. Is that allowed? In exact fractions, on a",
        "3-5-2 network and 6 samples, the mean over all possible batches against ∇(sum) / N:",
    )
    exact = [measure_unbiased(walk.seed, b) for b in (1, 2, 3)]
    page.table(
        "every batch of B samples out of 6",
        ("B", "batches", "gradient entries", "of them not 0", "entries that differ"),
        [(e.batch, e.batches, e.entries, e.nonzero, e.mismatches) for e in exact],
    )
    page.say(
        "So a sample drawn at random has the right gradient on average: that of the sum over N, divided by N."
    )

    outcomes = measure_methods(walk)
    sizes = {name: b for name, b, _, _ in METHODS}
    rates = {name: lr for name, _, lr, _ in METHODS}
    noises = {name: measure_noise(walk, b, draws=200) for name, b in sizes.items()}
    page.table(
        f"{walk.data}: from the same weights to a training loss of {TARGET}; means over {walk.seeds} seeds",
        ("", "η", "reached", "passes", "updates", "s", "ms/update", "noise", "σ/√B", "loss at 5"),
        [
            (
                name,
                rates[name],
                f"{sum(o.train_loss <= TARGET for o in runs)} of {walk.seeds}",
                f"{fmean(o.epochs for o in runs):.0f}",
                f"{fmean(o.steps for o in runs):.0f}",
                f"{fmean(o.seconds for o in runs):.2f}",
                f"{1e3 * fmean(o.seconds / o.steps for o in runs):.2f}",
                *noises[name],
                fmean(o.curve[min(4, len(o.curve) - 1)] for o in runs),
            )
            for name, runs in outcomes.items()
        ],
    )
    page.say(
        "Noise is the root mean square of ‖∇batch − ∇all‖ / ‖∇all‖ at the first weights, measured on 200",
        "batches and, beside it, predicted from the samples' variance: σ/√B · √((N − B)/(N − 1)). “Loss at",
        "5” is the training loss after five passes: the cheap noisy steps are many, and win early.",
    )
    generalization(page, outcomes, walk)
    slips(page, walk)
    page.draw = lambda figure: draw_descent(figure, outcomes, walk)
    return page


def generalization(page: Page, outcomes: dict[str, list[TrainedNetwork]], walk: Walk) -> None:
    """The slide's “better generalization”: test accuracy where the training loss is the same."""
    full = [o.test_accuracy for o in outcomes[METHODS[2][0]]]
    equal = all(o.train_loss <= TARGET for runs in outcomes.values() for o in runs)
    where = "at equal training loss" if equal else "where each had to stop, not at equal training loss"
    rows = []
    for name, runs in outcomes.items():
        gains = [o.test_accuracy - f for o, f in zip(runs, full, strict=True)]
        rows.append(
            (
                name,
                fmean(o.train_loss for o in runs),
                spread([o.test_accuracy for o in runs]),
                "" if name == METHODS[2][0] else spread(gains, 4),
                "" if name == METHODS[2][0] else f"{sum(g > 0 for g in gains)} of {len(gains)}",
            )
        )
    page.table(
        f"the slide: “Better generalization.” As it comes out {where}:",
        ("", "training loss", "test accuracy", "minus all samples'", "seeds better"),
        rows,
    )
    mean, half = gain([o.test_accuracy for o in outcomes[METHODS[0][0]]], full)
    page.say(
        f"One sample at a time minus the full batch is {mean:+.4f} ± {half:.4f} (95 % interval):",
        "a difference on this problem." if abs(mean) > half else "these seeds show no difference here.",
        "The claim is a rule of thumb, found on networks large enough to fit every sample; it is no theorem.",
    )


def slips(page: Page, walk: Walk) -> None:
    """The two slips of these slides."""
    table = measure_convergence(walk)
    page.table(
        "distance |w − w*| of the smallest perceptron after so many passes",
        ("", *(f"{n} passes" if n > 1 else "1 pass" for n in PASSES)),
        [(name, *(f"{v:.1e}" for v in values)) for name, values in table.items()],
    )
    full, constant, decayed = table.values()
    page.slip(
        "Do I lose anything by using stochastic GD?",
        "Same convergence guarantees and complexity!",
        "with a constant η it stops at a distance set by η; with η ∝ 1/t it converges, but only as a power of"
        " 1/t, where gradient descent gains a constant factor a pass (on strongly convex losses)",
        f"|w − w*| after 100 and 1000 passes: all samples {full[2]:.0e}, {full[3]:.0e}; one at a"
        f" time {constant[2]:.0e}, {constant[3]:.0e}; with η/pass {decayed[2]:.0e}, {decayed[3]:.0e}.",
    )
    setting = replace(
        BASE, data=walk.data, seed=walk.seed, optimizer="sgd", schedule="constant", batch_size=10**6, epochs=5
    )
    down = train(replace(setting, lr=0.5), until=-1.0).curve
    up = train(replace(setting, lr=-0.5), until=-1.0).curve
    page.slip(
        "Gradient Descent (and Stochastic Gradient Descent), b. Gradient update",
        "θ ← θ + η ∂L/∂θ",
        "θ ← θ − η ∂L/∂θ, as the earlier slides have it: the gradient points uphill",
        f"loss on {walk.data} after 1 … 5 full-batch steps with η = 0.5: minus "
        + ", ".join(f"{v:.3f}" for v in down)
        + "; plus "
        + ", ".join(f"{v:.3f}" for v in up)
        + ".",
    )


def draw_descent(figure: Any, outcomes: dict[str, list[TrainedNetwork]], walk: Walk) -> None:
    """The training loss against passes, and the smallest perceptron's distance from w*."""
    from mlp_torch.colours import COLOURS, MARKERS

    left, right = figure.subplots(1, 2)
    styles = ("-", "--", ":")
    for i, (name, runs) in enumerate(outcomes.items()):
        for j, o in enumerate(runs):
            left.loglog(
                np.arange(1, len(o.curve) + 1),
                o.curve,
                styles[i],
                color=COLOURS[i],
                linewidth=1.2,
                label=None if j else name,
            )
    left.axhline(TARGET, color="#555555", linewidth=1)
    left.set(xlabel="passes over the data", ylabel="training loss (nats)")
    left.set_title(f"{walk.data}, {walk.seeds} seeds each")
    left.set_ylim(bottom=0.006)
    left.legend(fontsize=9, loc="lower left")
    passes = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    for i, (name, values) in enumerate(measure_convergence(walk, passes).items()):
        floor = np.maximum(values, 1e-17)
        right.loglog(
            passes, floor, styles[i], marker=MARKERS[i], markersize=4, color=COLOURS[(2, 0, 3)[i]], label=name
        )
    right.set(xlabel="passes over the four samples", ylabel="|w − w*| (dimensionless), 0 drawn at 1e−17")
    right.set_title("y = wx: the same guarantees?")
    right.set_ylim(bottom=1e-22)
    right.legend(fontsize=8, loc="lower left")
