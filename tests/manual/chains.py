"""The chain rule of four networks as text: every row's name, rule, inputs, function, parameter and formula.

python -m tests.manual.chains     # writes chains.txt anew; its diff is what a change to the chain means
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manual import MLP
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe

LISTING = Path(__file__).with_name("chains.txt")
Asked = tuple[dict[str, Any], bool, dict[str, Any]]
DROPS = {"dropout": 0.5}
# what it shows: the network, whether it trains, and what is asked of its chain
CHAINS: dict[str, Asked] = {
    "two layers": ({"sizes": (3, 4, 2), "activation": "sigmoid"}, True, {"loss": "half_squared_error"}),
    "every part in training": (
        {
            "activation": "prelu",
            "normalization": "batch_norm",
            "dropout": 0.5,
            "output_activation": "softmax",
        },
        True,
        {"loss": "mse", "weighted": True, "recipe": Recipe(l1=0.03, l2=0.2)},
    ),
    "every part in evaluation": (
        {"activation": "selu", "normalization": "batch_norm", **DROPS},
        False,
        {"loss": "cross_entropy"},
    ),
    "layer_norm under a weighted mean, one term a sample": (
        {"activation": "tanh", "normalization": "layer_norm", **DROPS, "output_activation": "prelu"},
        True,
        {"loss": "multi_margin", "weighted": True, "recipe": Recipe(l2=0.2)},
    ),
    "a sum": ({"sizes": (3, 2)}, True, {"loss": "hinge", "reduction": "sum", "recipe": Recipe(l1=0.03)}),
}


def plain(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keyword arguments; of a recipe what is not its default."""
    for key, value in options.items():
        if isinstance(value, Recipe):
            yield from ((k, v) for k, v in vars(value).items() if v != getattr(PLAIN, k))
        else:
            yield key, value


def written(stage: Stage) -> str:
    """One row, all of it that is data."""
    arrow = f" → {stage.parameter}" if stage.parameter else ""
    row = f" of {stage.row}" if stage.row else ""
    options = "".join(f", {key}={value}" for key, value in plain({**stage.options, **stage.constants}))
    owner = getattr(stage.function, "__self__", None)  # of a method: its class, or the row
    name = stage.function.__qualname__.rpartition("<locals>.")[2]
    if owner is not None:
        name = f"{owner.__name__ if isinstance(owner, type) else owner.name}.{stage.function.__name__}"
    head = f"{stage.layer} {stage.name} = {stage.kind}{row}({', '.join(stage.reads)}{options}){arrow}"
    return f"{head}\n    {stage.formula}\n    {name}\n"


def listing() -> str:
    """All of CHAINS."""
    parts = []
    for title, (network, training, asked) in CHAINS.items():
        model = MLP(**{"sizes": (3, 4, 2), **network})
        model.training = training
        parts.append(f"# {title}\n\n" + "".join(written(stage) for stage in model.stages(**asked)))
    return "\n".join(parts)


if __name__ == "__main__":
    LISTING.write_text(listing(), encoding="utf-8")
