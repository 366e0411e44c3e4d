"""Where each slide lives: its title, the step that runs it, the file, the function and its line.

Lines move, so they are looked up by the function's name; a test holds manual/README.md to `table()`,
and `python -m mlp_torch.lecture.slides`, run in the checkout, writes it anew.
"""

import ast
import os
from functools import cache
from pathlib import Path

from mlp_torch.lecture.steps import STEPS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "manual" / "README.md"

PERCEPTRON, LOSSES, NETWORK = "manual/perceptron.py", "manual/losses.py", "manual/network.py"
TRAINING, HYPER = "manual/training/fit.py", "mlp_torch/lecture/hyperparameters.py"

# The slide's title, its step, and the functions behind it: (file, name), the first one first to read.
SLIDES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("History; 1950s Age of the Perceptron", "xor", (("mlp_torch/lecture/xor.py", "xor"),)),
    ("1980s Age of the Neural Network; 2010s Age of the Deep Network", "xor", ((NETWORK, "MLP"),)),
    ("Inspiration from Biology; Perceptron", "forward", ((PERCEPTRON, "perceptron"),)),
    (
        "Programming the 'forward pass'; Activation function (sigmoid, logistic function)",
        "forward",
        (("manual/activations.py", "sigmoid"), (PERCEPTRON, "slide_sigmoid")),
    ),
    ("Perceptron function (logistic regression)", "forward", ((PERCEPTRON, "perceptron"),)),
    (
        "Neural Network: how many neurons, weights, learnable parameters?",
        "counting",
        (("manual/structure/architecture.py", "Architecture.counts"),),
    ),
    (
        "How to train perceptrons?; world's smallest perceptron!; Learning a Perceptron",
        "smallest",
        ((PERCEPTRON, "best_weight"),),
    ),
    (
        "An Incremental Learning Strategy; Learning Strategy (gradient descent)",
        "smallest",
        ((PERCEPTRON, "LinearPerceptron"),),
    ),
    ("Loss Function", "losses", ((LOSSES, "Loss"), ("manual/catalogue/__init__.py", "LOSSES"))),
    ("L1 Loss", "losses", ((LOSSES, "l1"), (LOSSES, "d_l1"))),
    ("Squared Error (L2); L2 Loss", "losses", ((LOSSES, "mse"), (LOSSES, "half_squared_error"))),
    ("Zero-One Loss", "losses", ((LOSSES, "zero_one"), (LOSSES, "d_zero_one"))),
    ("Hinge Loss", "losses", ((LOSSES, "hinge"), (LOSSES, "d_hinge"))),
    (
        "Code to train your perceptron; Training the world's smallest perceptron",
        "smallest",
        ((PERCEPTRON, "train_smallest"),),
    ),
    (
        "Gradient descent; Gradient Descent (world's smallest perceptron)",
        "smallest",
        ((PERCEPTRON, "LinearPerceptron.step"),),
    ),
    (
        "world's (second) smallest perceptron!; Derivative computation",
        "second",
        ((PERCEPTRON, "LinearPerceptron.gradient"),),
    ),
    (
        "Gradient Update; Gradient Descent: 1. Predict, 2. Update",
        "second",
        ((PERCEPTRON, "LinearPerceptron.step"), ("mlp_torch/lecture/smallest.py", "second")),
    ),
    ("Backpropagation; Multi-layer perceptron", "chain", ((PERCEPTRON, "FourParameters.forward"),)),
    (
        "The Chain Rule; a.k.a. backpropagation",
        "chain",
        ((PERCEPTRON, "FourParameters.factors"), ("manual/chain.py", "backward_stages")),
    ),
    (
        "Learning an MLP; Gradient Descent: θ ← θ − η∇θ",
        "descent",
        (
            ("manual/classic.py", "backward"),
            ("manual/classic.py", "step"),
            (TRAINING, "fit"),
            ("manual/optimizers.py", "SGD.update"),
        ),
    ),
    (
        "What we are truly minimizing; The gradient is; What we use for gradient update is",
        "descent",
        (("mlp_torch/lecture/sampling.py", "measure_unbiased"),),
    ),
    (
        "Stochastic gradient descent; How do we select which sample?",
        "descent",
        (("manual/training/batches.py", "order"), (TRAINING, "fit")),
    ),
    (
        "Do we need to use only one sample?; Why not do gradient descent with all samples?",
        "descent",
        (("mlp_torch/lecture/descent.py", "measure_methods"),),
    ),
    (
        "Do I lose anything by using stochastic GD?",
        "descent",
        (
            ("mlp_torch/lecture/descent.py", "measure_convergence"),
            ("mlp_torch/lecture/descent.py", "generalization"),
        ),
    ),
    (
        "From Neural Networks to Deep Neural Networks",
        "hyperparameters",
        ((HYPER, "measure_saturation"), (HYPER, "measure_dying")),
    ),
    (
        "Hyperparameters: 1. Model specific, 2. Optimisation Objective",
        "hyperparameters",
        ((HYPER, "comparisons"),),
    ),
    (
        "Hyperparameters: 3. Optimization procedure",
        "hyperparameters",
        ((HYPER, "measure_adaptive"), ("manual/catalogue/__init__.py", "OPTIMIZERS")),
    ),
    ("Wide or Deep?", "depth", (("mlp_torch/lecture/depth.py", "measure_depth"),)),
)


@cache
def _body(file: str) -> tuple[ast.stmt, ...]:
    return tuple(ast.parse((ROOT / file).read_text(encoding="utf-8")).body)


def names_of(statement: ast.stmt) -> list[str]:
    """What a statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [t.id for t in statement.targets if isinstance(t, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def line(file: str, name: str) -> int:
    """The line of `file` where `name` (`function`, `Class.method`, `TABLE`) is defined.

    Raises LookupError where the file defines no such name.
    """
    body: tuple[ast.stmt, ...] = _body(file)
    found = None
    for part in name.split("."):
        found = next((statement for statement in body if part in names_of(statement)), None)
        if found is None:
            raise LookupError(f"{file} defines no {name}")
        body = tuple(found.body) if isinstance(found, ast.ClassDef) else ()
    assert found is not None
    return found.lineno


def table() -> str:
    """The table of manual/README.md: slide, step, where in the code."""
    numbers = {step.name: i for i, step in enumerate(STEPS, start=1)}
    rows = ["| slide | step | where |", "|---|---|---|"]
    for title, step, places in SLIDES:
        where = ", ".join(
            f"[`{file}:{line(file, name)}`]({_from_page(file)}#L{line(file, name)}) `{name}`"
            for file, name in places
        )
        rows.append(f"| {title} | {numbers[step]} `{step}` | {where} |")
    return "\n".join(rows)


def _from_page(file: str) -> str:
    """A file of the checkout, as a link of the page names it."""
    return Path(os.path.relpath(ROOT / file, PAGE.parent)).as_posix()


def write_into(readme: Path) -> None:
    """Put the table into a page, in the place of the one that is there."""
    before, _, rest = readme.read_text(encoding="utf-8").partition("| slide | step | where |\n")
    after = rest[rest.index("\n\n") :]
    readme.write_text(before + table() + after, encoding="utf-8")


if __name__ == "__main__":
    write_into(PAGE)
