"""How the lecture's figures look: 800 pixels wide, the colours of Okabe and Ito, axes with units.

matplotlib is imported only when a figure is asked for, with the backend that needs no screen.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlp_torch.colours import COLOURS, MARKERS
from mlp_torch.errors import UserError

SUFFIXES = (".png", ".svg", ".pdf")


def make_folder(path: Path) -> None:
    """The folder of a figure; UserError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--plot {path}: no folder can be made there ({error.strerror})") from None


def save(draw: Callable[[Any], None], path: Path) -> None:
    """Draw on a figure of 8 × 4 inches and save it; UserError where the file cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "svg.hashsalt": "mlp-torch",  # the same figure is the same file
        "legend.framealpha": 0.9,
    }
    with plt.rc_context(style):
        figure = plt.figure(figsize=(8, 4), dpi=100, layout="constrained")
        try:
            draw(figure)
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, metadata=metadata)
        except OSError as error:
            raise UserError(f"--plot {path}: the figure cannot be written ({error.strerror})") from None
        finally:
            plt.close(figure)


def error_bars(axes: Any, x: Sequence[float], samples: Sequence[Sequence[float]], i: int, label: str) -> None:
    """Each x's mean, with a bar from its least to its most, in the i-th colour and marker."""
    import numpy as np

    means = np.array([np.mean(s) for s in samples])
    below = means - [min(s) for s in samples]
    above = [max(s) for s in samples] - means
    axes.errorbar(
        x, means, [below, above], label=label, color=COLOURS[i], marker=MARKERS[i], capsize=3, linewidth=1.5
    )
