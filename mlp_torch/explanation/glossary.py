"""The words that outputs use, one row each: what `mlp explain WORD` prints and glossary.md beside it holds.

The kinds of fault have their table in `mlp_torch/check/kinds.py`; both are looked up together.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from mlp_torch.check.kinds import FAULTS, PAGE, write_into
from mlp_torch.errors import UserError

LIST = "glossary"

VERDICTS = {
    "exact": "Verdict of `mlp compare`: both engines hold the very same bits, entry by entry.",
    "certified": (
        "Verdict of `mlp compare`: the two gradients differ by nothing but rounding, and that is proven: "
        "every stage lies within its rounding bound of the true value."
    ),
    "undecided": (
        "Verdict of `mlp compare`: nothing is wrong, and nothing is proven: a unit lies within rounding of a "
        "kink, or a number is not finite or too large for its bound."
    ),
    "wrong": (
        "Verdict: a number is farther from the true one than rounding can explain. That is a proof of a "
        "fault, and the stage, the entry and both values are named."
    ),
    "right": "Verdict of `mlp check`: every array that is listed is the true gradient to within rounding.",
    "scaled": (
        "Verdict of `mlp check`: the gradient has the right direction and the wrong length, by one constant "
        "factor, such as a forgotten 1/N."
    ),
    "other_loss": "Verdict of `mlp check`: the gradient is right for another loss than the one described.",
    "not_comparable": (
        "Verdict of `mlp check`: nothing can be said, for the cause that is named, such as random numbers "
        "that differ from call to call, or a point on a kink."
    ),
    "zero": "Verdict on one array of `mlp check`: your gradient is 0 throughout, and the true one is not.",
    "hidden": "Verdict on one array of `mlp check`: a slip would not be seen: rounding is all there is.",
    "not judged": "A part that no verdict covers; the report says why.",
}

CHAIN = {
    "gradient": (
        "All partial derivatives of the loss by the parameters: how much the loss changes when one weight "
        "moves a little. Training goes against it."
    ),
    "forward": (
        "The forward pass: from the inputs through the layers to the loss. Its line stands above the backward"
        " line that it calls for."
    ),
    "backward": (
        "The backward pass, or backpropagation: the chain rule from the loss down to the weights, each factor"
        " computed once and re-used below."
    ),
    "chain rule": (
        "The derivative of a composed function is the product of the derivatives of its parts; `mlp explain` "
        "prints these factors and multiplies them."
    ),
    "factor": "One local derivative on the chain from the loss to a weight, such as ∂a1/∂z1 = f′(z1).",
    "upstream": "The gradient that arrives from the layer above, to be multiplied by the layer's own factor.",
    "stage": (
        "One line of the forward or backward pass and the array that it makes: z1, a1, …, loss, dloss, dz2, "
        "dW2. A verdict on a stage judges that line alone."
    ),
    "trace": "The record of one forward and backward pass: the array of every stage.",
    "autograd": (
        "torch.autograd, which records the operations of a forward pass and applies the chain rule by itself:"
        " the reference that gradients by hand are held against."
    ),
    "manual": (
        "By hand: computed by formulas that a person derived, here in NumPy; also the name of that engine."
    ),
    "engine": (
        "What computes a training step. `compiled`, `torch` and `manual` use formulas derived by hand, "
        "`autograd` torch's own gradients, `both` runs the two in lock-step; `ddp` is autograd in several "
        "processes, each with its share of every batch."
    ),
    "z": "The pre-activation of a layer, z1 = x W1ᵀ + b1; dz1 is ∂L/∂z1.",
    "a": "The activation of a layer, a1 = f(z1), which the next layer takes as its input; da1 is ∂L/∂a1.",
    "loss": "One number that says how far the predictions are from the targets; training makes it small.",
    "logits": "The numbers of the last layer before softmax or sigmoid makes probabilities of them.",
    "kink": (
        "A point where a function has a corner, so that its derivative from the left and from the right "
        "differ: relu at 0, a hinge on its margin. Either one-sided derivative counts as right there."
    ),
    "saturated": (
        "A sigmoid or tanh unit far out on its flat part: f′(z) is nearly 0, and so is every gradient that "
        "passes through it."
    ),
    "dead unit": (
        "A relu unit with z ≤ 0: it gives 0 and passes no gradient on. If that holds for every sample, it "
        "never learns again."
    ),
    "kills": (
        "A factor near 0 on the chain: whatever is multiplied by it is near 0 too, and so the weight hardly "
        "learns. `mlp explain` names the smallest factor."
    ),
    "jacobian": (
        "The matrix of all partial derivatives of a vector by a vector; softmax and layer_norm have one for "
        "each sample."
    ),
    "dropout": (
        "Units that are set to 0 at random in training; the mask says which, and scales the others up."
    ),
    "batch_norm": (
        "Batch normalization: each unit minus its mean over the batch, over its deviation; so the samples of "
        "a batch depend on one another."
    ),
    "layer_norm": (
        "Layer normalization: each sample minus its mean over the layer's units, over its deviation."
    ),
}

INSTRUMENT = {
    "bit-equal": "The same 32 or 64 bits, so no difference at all (−0 counts as 0).",
    "rounding": (
        "What is lost because a float has 24 (float32) or 53 (float64) binary digits: every operation is off "
        "by up to half an ULP."
    ),
    "rounding bound": (
        "The most that rounding can change a number, counted from the operations that made it. A larger "
        "difference proves a fault; a smaller one is nothing but rounding."
    ),
    "of bound": (
        "Column of `mlp compare`: the largest difference in units of its rounding bound; up to 1 is rounding."
    ),
    "error over bound": (
        "A difference divided by its rounding bound; up to 1 it is rounding. `error_over_bound/…` in "
        "TensorBoard is the largest of the steps that `--verify-every` judged."
    ),
    "max |Δ|": (
        "Column of `mlp compare`: the largest difference between the two gradients, at the index beside it."
    ),
    "‖Δ‖/‖g‖": (
        "Column of `mlp compare`: the length of the difference over the length of the gradient, the whole "
        "array as one vector."
    ),
    "ULP": (
        "Unit in the last place: the distance from a float to the next one, 2e-16 of its size in float64 and "
        "1e-7 in float32."
    ),
    "dyadic twin": (
        "The same network with numbers that are whole multiples of powers of two, chosen so that no operation"
        " rounds: there two right programs must be bit-equal, and a difference of one ULP is a fault."
    ),
    "tier": (
        "A kind of proof in `mlp compare`: `exact` on the dyadic twin, `certified` within rounding bounds."
    ),
    "float32": (
        "Numbers of 32 bits, about 7 decimal digits: what training usually computes in, because it is twice "
        "as fast as float64."
    ),
    "float64": (
        "Numbers of 64 bits, about 16 decimal digits. The gradient check computes in it although training "
        "takes float32: float32's rounding (1e-7) would hide a small slip, float64's (1e-16) does not, and "
        "the formulas are the same."
    ),
    "gradcheck": (
        "torch.autograd.gradcheck: compares a gradient with differences of the loss; it sees slips of about 1"
        " %."
    ),
    "gradient check": (
        "Before training, the gradients by hand of the first batch are compared with autograd's; if they "
        "disagree nothing is trained."
    ),
    "gradient gap": (
        "With `--engine both`, `gradient_gap/…`: the length of the difference between the gradients by hand "
        "and by autograd, over the length of autograd's."
    ),
    "parameter gap": (
        "With `--engine both`, `parameter_gap/…`: the same for the weights, which drift apart by rounding "
        "step by step."
    ),
}

CHECK = {
    "worst at": "Column of `mlp check`: the index of the entry that is farthest beyond its own rounding.",
    "yours": "Column of `mlp check`: your gradient's value at the worst entry.",
    "true": "Column of `mlp check`: the true gradient's value at the worst entry.",
    "ratio": (
        "Column of `mlp check`: by what factor your array is the true one, as nearly as one factor can say "
        "(h·t / t·t)."
    ),
    "± spread": (
        "Column of `mlp check`: how far the ratio of any entry is from the array's ratio; near 0 means that "
        "one constant factor explains the whole array."
    ),
    "cosine": (
        "The cosine of the angle between your gradient and the true one: 1 is the same direction, 0 a right "
        "angle, −1 the opposite. (As a value of `--schedule`: the learning rate falls like half a cosine "
        "wave.)"
    ),
    "guilty line": (
        "The line of your source that makes the gradient wrong, proven by repair: with the true value in its "
        "place everything it spoilt comes out right."
    ),
    "mends it": "The line to write in place of the guilty one.",
    "resolution": "The smallest slip that a method of checking still sees, relative to the array.",
}

TRAINING = {
    "epoch": "One pass over all training samples.",
    "batch": "The samples that make one update of the weights together.",
    "step": "One update of the weights, by the gradient of one batch.",
    "validation": "Samples that are not trained on and choose the best epoch.",
    "test": "Samples that neither training nor the choice of the epoch has seen; the last score is theirs.",
    "accuracy": "The share of samples whose class is predicted right.",
    "R²": (
        "1 minus the squared errors over those of always predicting the mean: 1 is perfect, 0 no better than "
        "the mean."
    ),
    "overfitted": (
        "The training loss falls on while the validation loss rises: the network learns its samples by heart."
    ),
    "fingerprint": (
        "8 hexadecimal digits made of all weights: two runs with the same fingerprint hold the same bits."
    ),
    "seed": "The number that settles every random choice; the same seed gives the same run.",
    "gradient norm": (
        "The length of a parameter's gradient as one vector; near 0 it does not learn, growing without end it"
        " diverges."
    ),
    "learning rate": "How far a step goes along the gradient; `--lr`.",
    "diverges": "The loss grows from step to step, mostly because the learning rate is too large.",
    "slip": (
        "A slide's mistake, which `mlp lecture` puts right with the numbers that prove it; in `mlp check`, a "
        "mistake in a backward pass."
    ),
    "trial": "One training run of `mlp sweep`, with values of its own for the flags that are searched.",
    "pruner": "What ends a trial of `mlp sweep` early that does worse than the others.",
    "sampler": "What proposes the values of the next trial of `mlp sweep`.",
}

SECTIONS = {
    "Verdicts": VERDICTS,
    "The chain rule": CHAIN,
    "How two gradients are compared": INSTRUMENT,
    "How your own gradient is checked": CHECK,
    "Training": TRAINING,
}
GLOSSARY: dict[str, str] = {word: text for section in SECTIONS.values() for word, text in section.items()}
WORDS: dict[str, str] = GLOSSARY | {word: f"Fault: {kind.shows}." for word, kind in FAULTS.items()}


def _plain(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def find(word: str) -> dict[str, str]:
    """The entry of a word, however it is written; for `glossary` all. Raises UserError with the nearest."""
    if _plain(word) == LIST:
        return WORDS
    known = {_plain(name): name for name in WORDS}
    asked = _plain(word)
    for form in (asked, asked.removesuffix("s"), asked.removesuffix("es"), f"± {asked}"):
        if form in known:
            return {known[form]: WORDS[known[form]]}
    if "." in word or "[" in word:
        raise UserError(f"{word!r} is no word of the glossary; an entry of a gradient: --parameter {word!r}")
    inside = [name for form, name in known.items() if asked in form] if len(asked) > 2 else []
    near = inside or [known[form] for form in get_close_matches(asked, known, n=3, cutoff=0.6)]
    hint = f"did you mean {', '.join(map(repr, near[:4]))}? " if near else ""
    raise UserError(f"no word {word!r} is in the glossary: {hint}`mlp explain {LIST}` lists all")


def _table(entries: dict[str, str]) -> Sequence[str]:
    rows = [f"| `{word}` | {said} |".replace("|Δ|", r"\|Δ\|") for word, said in entries.items()]
    return ["| word | what it says |", "|---|---|", *rows]


def markdown(entries: dict[str, str]) -> str:
    """Entries as tables; the whole glossary in its sections, which is glossary.md."""
    if entries is not WORDS:
        return "\n".join(_table(entries))
    lines = [
        "# Glossary",
        "",
        "The words that mlp-torch's outputs use; `mlp explain WORD` prints one of them.",
    ]
    faults = {word: WORDS[word] for word in FAULTS if word not in GLOSSARY}
    for title, section in (SECTIONS | {"Kinds of fault, as `mlp check` names them": faults}).items():
        lines += ["", f"## {title}", "", *_table(section)]
    return "\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).with_suffix(".md")
    page.write_text(markdown(WORDS) + "\n", encoding="utf-8")
    write_into(PAGE)
