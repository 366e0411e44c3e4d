"""The table of contents: the steps of the walk in the lecture's order, with their slides and their functions.

Nothing is imported here; a step's module is imported when the walk reaches it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LectureStep:
    """One step: its short name, its title, the titles of its slides, its function (`module:name`)."""

    name: str
    title: str
    slides: tuple[str, ...]
    function: str


HERE = "mlp_torch.lecture"

STEPS = (
    LectureStep(
        "forward",
        "The perceptron's forward pass",
        ("Perceptron", "Programming the 'forward pass'", "Perceptron function (logistic regression)"),
        f"{HERE}.perceptrons:forward",
    ),
    LectureStep(
        "counting",
        "Neurons, weights, parameters",
        ("Neural Network", "How many neurons, weights, learnable parameters?"),
        f"{HERE}.perceptrons:counting",
    ),
    LectureStep(
        "smallest",
        "The world's smallest perceptron",
        (
            "world's smallest perceptron!",
            "Learning a Perceptron",
            "An Incremental Learning Strategy",
            "Code to train your perceptron",
            "Gradient descent",
        ),
        f"{HERE}.smallest:smallest",
    ),
    LectureStep(
        "losses",
        "Loss functions",
        ("Loss Function", "L1 Loss", "L2 Loss", "Zero-One Loss", "Hinge Loss"),
        f"{HERE}.losses:losses",
    ),
    LectureStep(
        "second",
        "The world's second smallest perceptron",
        ("world's (second) smallest perceptron!", "Derivative computation", "Gradient Update"),
        f"{HERE}.smallest:second",
    ),
    LectureStep(
        "chain",
        "Four parameters, and the chain rule",
        ("Multi-layer perceptron", "The Chain Rule", "a.k.a. backpropagation"),
        f"{HERE}.chain:chain",
    ),
    LectureStep(
        "descent",
        "Gradient descent, stochastic gradient descent, minibatches",
        ("Learning an MLP", "Gradient Descent", "Stochastic gradient descent"),
        f"{HERE}.descent:descent",
    ),
    LectureStep(
        "hyperparameters",
        "Activations that saturate or die, and the hyperparameters",
        ("From Neural Networks to Deep Neural Networks", "Hyperparameters"),
        f"{HERE}.hyperparameters:hyperparameters",
    ),
    LectureStep(
        "xor",
        "XOR: what one perceptron cannot do",
        ("History: 1969 Perceptrons (Minsky, Papert)",),
        f"{HERE}.xor:xor",
    ),
    LectureStep("depth", "Wide or deep?", ("Wide or Deep? (figure 6.6)",), f"{HERE}.depth:depth"),
)
