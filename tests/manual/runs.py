"""Short trainings of the compiled engine and their fingerprints: `python -m tests.manual.runs`."""

import json
import re
import sys
from typing import Any

import numpy as np

import manual
from manual import MLP, OPTIMIZERS
from manual.compiled import CompiledEngine
from manual.compiled.ready import compiled_run
from manual.numbers import Array
from manual.recorded.compiled import missing
from manual.structure.fingerprint import fingerprint
from manual.training.fit import fit
from manual.training.recipe import Recipe
from tests.problems import targets

# What the compiler may make calls of a library of, whose last bit is its own.
LIBRARY = {f"llvm.{name}" for name in ("exp", "log", "pow", "powi", "sin", "cos", "tanh", "fmuladd")}
# Every activation, loss and optimizer once, in turn, and with them what else acts on a step. 101 rows in
# batches of 37 leave 27, widths of 19 and 5 leave lanes of every vector over; 300 inputs are more than
# products take at once.
# In the order in which `RECORDED` was found: a later row has a configuration of its own, behind these.
ACTIVATIONS = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "prelu", "elu", "selu"]
ACTIVATIONS += ["gelu", "gelu_tanh", "silu", "softplus", "hardtanh", "softmax", "mish"]
LOSSES = ["half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin"]
LOSSES += ["bce_with_logits", "cross_entropy", "cross_entropy of probabilities", "huber"]
RECIPES: list[dict[str, Any]] = [
    {},
    {"clip_norm": 0.01},
    {"l1": 0.01, "l2": 0.1},
    {"clip_norm": 0.5, "l1": 0.001},
    {"clip_value": 0.001},
]
RULES: list[tuple[str, dict[str, Any]]] = [
    ("adam", {}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.7}),
    ("adamw", {"weight_decay": 0.1}),
    ("adagrad", {"lr_decay": 0.1}),
    ("sgd", {}),
]

FIRST = 16  # configurations: those of `RECORDED`, with every row of the lists above


def later(first: list[str], table: Any) -> list[str]:
    """The rows of a table that have a compiled kernel and are not in the list."""
    return [name for name, row in table.items() if name not in first and missing(row) is None]


LATER_ACTIVATIONS, LATER_LOSSES = later(ACTIVATIONS, manual.ACTIVATIONS), later(LOSSES, manual.LOSSES)
COUNT = FIRST + max(len(LATER_ACTIVATIONS), len(LATER_LOSSES))


def in_turn(number: int, first: list[str], then: list[str]) -> str:
    return then[number - FIRST] if 0 <= number - FIRST < len(then) else first[number % len(first)]


def configuration(number: int) -> dict[str, Any]:
    """One of as many as there are numbers; those below COUNT have every row of every table."""
    return {
        "activation": in_turn(number, ACTIVATIONS, LATER_ACTIVATIONS),
        "loss": in_turn(number, LOSSES, LATER_LOSSES),
        "rule": RULES[number % len(RULES)],
        "recipe": RECIPES[number % len(RECIPES)],
        "dropout": (0.0, 0.3)[number // 2 % 2],
        "weighted": number % 3 == 1,
        "schedule": list(manual.SCHEDULES)[number % len(manual.SCHEDULES)],
        "sizes": ((7, 37, 19, 5), (300, 24, 3))[number % 5 == 4],
    }


def result(number: int, dtype: str, threads: int) -> str:
    """The fingerprint of everything that a training shows: weights, moments, losses, predictions."""
    c, rng = configuration(number), np.random.default_rng(number)
    sizes, loss = c["sizes"], c["loss"].split()[0]
    x = rng.uniform(-2, 2, (101, sizes[0])).astype(dtype)
    y = targets(loss, (101, sizes[-1]), rng, np.dtype(dtype), probabilities=loss != c["loss"])
    model = MLP(sizes, activation=c["activation"], dropout=c["dropout"], dtype=np.dtype(dtype), seed=number)
    name, options = c["rule"]
    rule = OPTIMIZERS[name](model.parameters, 0.01, **options)
    engine = CompiledEngine(model, loss, rule, Recipe(**c["recipe"]), threads)
    given = {"weights": rng.uniform(0.1, 2, 101)} if c["weighted"] else {}
    steps = {"epochs": 3, "batch_size": 37, "lr": 0.01, "schedule": c["schedule"], "warmup_steps": 2}
    losses = [epoch.loss for epoch in fit(engine, x, y, **steps, **given)]
    shown: dict[str, Array] = dict(model.parameters)
    for parameter, moments in rule.state.items():
        shown |= {f"{parameter} {kind}": moment for kind, moment in moments.items()}
    if loss == c["loss"]:  # probabilities have no accuracy
        losses.append(engine.evaluate(x, y)[0])
    return fingerprint(shown | {"outputs": engine.predict(x), "losses": np.array(losses)})


def results(numbers: int, dtypes: list[str], threads: list[int]) -> dict[str, list[str]]:
    """Of each configuration the fingerprints that were found: one, if all is well."""
    return {
        f"{dtype} {number}": sorted({result(number, dtype, crew) for crew in threads})
        for dtype in dtypes
        for number in range(numbers)
    }


def foreign(function: Any) -> list[str]:
    """What compiled code calls beside itself, and its fast-math flags, if it was compiled in this process."""
    known, found = ("llvm.", "_ZN", "NRT_", "numba_", "Py", "memset", "memcpy"), set()
    for text in function.inspect_llvm().values():
        called = re.findall(r"call [^@\n]*@\"?([\w.]+)", text)
        found |= {name for name in called if not name.startswith(known)}
        found |= {name for name in re.findall(r"@(llvm\.[a-z]+)", text) if name in LIBRARY}
        found |= set(re.findall(r"= f\w+ ((?:fast|reassoc|nnan|ninf|nsz|arcp|contract|afn)\b)", text))
    return sorted(found)


if __name__ == "__main__":
    numbers, dtypes, threads = sys.argv[1:]
    shown = results(int(numbers), dtypes.split(","), [int(crew) for crew in threads.split(",")])
    print(json.dumps(shown | {"foreign": foreign(compiled_run())}))
