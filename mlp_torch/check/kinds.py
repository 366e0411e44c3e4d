"""The kinds of fault, one row each: the word that reports use, and what a person did.

`python -m mlp_torch.explanation.glossary` writes the table of this folder's README and the glossary's page.
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("README.md")


@dataclass(frozen=True)
class Kind:
    """`shows`: what was done wrong, in the table's words. `of_chain`: a slip on the way from the loss down,
    which no array makes by itself.
    """

    shows: str
    of_chain: bool = False


FAULTS: dict[str, Kind] = {
    "constant_factor": Kind("1/N missing or twice; a slip of 2, ½, 4; a mean over the features"),
    "sign": Kind("the overall sign, or that of one array, row, column or entry"),
    "missing_learning_rate": Kind("the learning rate divided out"),
    "extra_learning_rate": Kind("the learning rate folded in"),
    "missing_activation_derivative": Kind(
        "f′ missing, or 1 everywhere; dW made with da where dz belongs", of_chain=True
    ),
    "wrong_activation_derivative": Kind(
        "f for f′, another function's f′, a slip in its formula, ≥ for > at a kink", of_chain=True
    ),
    "activation_derivative_at_wrong_array": Kind(
        "f′ at a for z, of another layer, of the upstream, after dropout; the ReLU mask of the wrong tensor; "
        "dW made with z for a",
        of_chain=True,
    ),
    "not_multiplied_by_upstream": Kind("the upstream gradient not multiplied in", of_chain=True),
    "wrong_softmax_jacobian": Kind(
        "softmax: the diagonal of its Jacobian only; applied to p − y once more", of_chain=True
    ),
    "wrong_loss_derivative": Kind("a slip in the loss's derivative", of_chain=True),
    "loss_mismatch": Kind("another loss's gradient", of_chain=True),
    "wrong_loss_value": Kind("the loss's value is not that of the loss described"),
    "wrong_regulariser": Kind("the penalty's factor 2 or ½ or sign, missing, over N, on biases"),
    "wrong_dropout_backward": Kind("dropout's mask or scale missing in the backward pass"),
    "wrong_normalization_backward": Kind(
        "the mean or variance path of a normalization dropped (`check_autograd_function`)"
    ),
    "bias_not_summed": Kind("a bias whose samples are not summed"),
    "wrong_bias_reduction": Kind("a bias: mean for sum, the sum over all axes, multiplied by the input"),
    "transpose": Kind("a transposed gradient, or W where Wᵀ belongs"),
    "updated_weights_used": Kind("weights updated before the gradient went through them"),
    "parameter_returned": Kind("the parameter itself, before or after its step, returned as its gradient"),
    "parameter_multiplied_in": Kind("a gradient multiplied by its own parameter"),
    "swapped_gradients": Kind("right gradients handed over in another order"),
    "wrong_layer": Kind(
        "dW or db made with another layer's delta; dW with another layer's output as its input"
    ),
    "momentum": Kind("a step with momentum where plain descent was described"),
    "overwritten_gradient": Kind("`=` for `+=`: the last term alone is kept"),
    "missing_accumulation": Kind("terms that are never added"),
    "stale_gradient": Kind("gradients not set to 0 between calls"),
    "mutated_input": Kind("a caller's array changed in place"),
    "clipping": Kind("clipped, one factor an array"),
    "zero_gradient": Kind("all zero, or a row, column or entry that was never written"),
    "not_finite": Kind("NaN or infinite entries"),
    "broadcast": Kind("(N,) against (N, 1)"),
    "label_coding": Kind("labels one off, ±1 for 0/1, another axis"),
    "forward_mismatch": Kind("another forward pass than the one described", of_chain=True),
    # of `check_autograd_function`: the run that fails
    "upstream_layout": Kind(
        "an upstream gradient that is expanded, strided or offset is read as if contiguous"
    ),
    "upstream_values": Kind("an upstream gradient with zeros, a tiny or a large one is clipped or masked"),
    "input_layout": Kind("inputs that are strided, offset or expanded give other gradients"),
    "requires_grad_subset": Kind("a frozen input drops or changes another's gradient"),
    "backward_twice": Kind(
        "a second backward on one graph is wrong: what forward saved is changed, or a result kept"
    ),
    "two_forwards": Kind(
        "another forward before the first backward changes it: what is saved lies outside ctx"
    ),
    "changed_inputs": Kind(
        "inputs or outputs changed in place after the forward pass are used, and nothing is raised"
    ),
    "unused_output": Kind("one of several outputs alone is used, and its gradient is wrong"),
    "uninitialized_memory": Kind("entries of fresh memory are read before they are written"),
    "batch_size": Kind("a batch of 1 or of 0 gives a wrong gradient"),
    "backward_raises": Kind("the backward pass raises, or gives a wrong number or shape of gradients"),
    "not_repeatable": Kind("two runs differ by more than the order of sums can cost"),
    "wrong_second_derivative": Kind("the derivative of the gradient is wrong, where it is asked for"),
}


def table() -> str:
    """The table of faults, in Markdown."""
    rows = [f"| `{word}` | {kind.shows} |" for word, kind in FAULTS.items()]
    return "\n".join(["| word | what was done |", "|---|---|", *rows])


def write_into(readme: Path) -> None:
    """Put the table into a page, in the place of the one that is there."""
    before, start, rest = readme.read_text(encoding="utf-8").partition("<!-- faults -->")
    _, end, after = rest.partition("<!-- /faults -->")
    readme.write_text(f"{before}{start}\n\n{table()}\n\n{end}{after}", encoding="utf-8")
