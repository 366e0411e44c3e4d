"""The page of six programs with a slip each, what `mlp check` prints of them.

python -m tests.mlp_torch.check.lines.page writes it between its markers in mlp_torch/check/README.md.
"""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlp_torch.__main__ import main
from tests.mlp_torch.check.lines.written import slipped

PROGRAMS = Path(__file__).with_name("programs")
README = Path(__file__).parents[4] / "mlp_torch" / "check" / "README.md"
BEGIN, END = "<!-- guilty lines -->", "<!-- /guilty lines -->"
FUNCTION = "loss_and_gradients"


@dataclass(frozen=True)
class Slip:
    """A program's name and file, what stands in it, and what was written in its place."""

    title: str
    file: str
    right: str
    wrong: str

    def source(self) -> tuple[str, int]:
        """The program with the slip in it, and the slip's line."""
        return slipped((PROGRAMS / self.file).read_text(encoding="utf-8"), self.right, self.wrong)


SOFTMAX = "(dweights * weights).sum(axis={}, keepdims=True)"
SLIPS = (
    Slip("Two layers: the derivative of tanh taken at z", "mlp.py", "1 - a1**2", "1 - z1**2"),
    Slip("Batch normalization: a power of the spread", "batch_norm.py", "inv_std**3", "inv_std**2"),
    Slip("Convolution: two indices exchanged", "convolution.py", "f, i, j] * x", "f, j, i] * x"),
    Slip("min-char-rnn: the state of another time", "char_rnn.py", "hs[t - 1].T", "hs[t].T"),
    Slip("LSTM: the wrong cell state", "lstm.py", "dc * c_prev", "dc * tanh_c"),
    Slip("Attention: a sum over the wrong axis", "attention.py", SOFTMAX.format(-1), SOFTMAX.format(1)),
)


def shown(slip: Slip) -> str:
    """What `mlp check FILE.py:loss_and_gradients` prints, up to the table of arrays."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / slip.file
        file.write_text(slip.source()[0], encoding="utf-8")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["check", f"{file}:{FUNCTION}"])
    return out.getvalue().partition("\narray ")[0].rstrip()


def page() -> str:
    parts = []
    for slip in SLIPS:
        command = f"$ mlp check {slip.file}:{FUNCTION}"
        parts.append(f"{slip.title}:\n\n```\n{command}\n{shown(slip)}\n```")
    return "\n\n".join(parts)


def placed(text: str, new: str) -> str:
    """The text with the page between its markers. Raises ValueError without them."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs {BEGIN} and, after it, {END}")
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(placed(README.read_text(encoding="utf-8"), page()), encoding="utf-8")
