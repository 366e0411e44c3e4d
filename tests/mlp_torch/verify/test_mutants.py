"""Every planted fault is wrong at its own stage, and nowhere that its own line is right."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from manual.numbers import Array
from manual.structure.trace import Trace, run
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.verify.engines import engines
from tests.mutants import MUTANTS, Mutant
from tests.problems import DTYPES, Problem

# Square layers, where a transpose is silent; N, K and the widths differ from one another.
NETS: dict[str, tuple[dict[str, Any], str]] = {
    "relu": ({"activation": "relu"}, "mse"),
    "sigmoid, dropout": ({"activation": "sigmoid", "dropout": 0.25}, "cross_entropy"),
    "tanh, batch_norm": ({"activation": "tanh", "normalization": "batch_norm"}, "bce_with_logits"),
    "gelu, layer_norm, dropout": (
        {"activation": "gelu", "normalization": "layer_norm", "dropout": 0.5},
        "smooth_l1",
    ),
    "prelu, softmax": ({"activation": "prelu", "output_activation": "softmax"}, "half_squared_error"),
    "silu": ({"activation": "silu"}, "hinge"),
}


def problem(net: str, dtype: Any = np.float64) -> tuple[Trace, Trace]:
    rows, loss = NETS[net]
    p = Problem(7, (4, 4, 4, 3), 11)
    x, y = p.batch(loss, dtype)
    model = p.model(dtype, **rows)
    if net == "relu":  # a unit at the kink itself, in each layer: z = 0 exactly
        for i in (0, 1):
            model.parameters[f"layers.{i}.weight"][0], model.parameters[f"layers.{i}.bias"][0] = 0, 0
    return engines(model, x, y, loss)


def behind(t: Trace, fault: str) -> set[str]:
    """The stages that read the faulty one, directly or not, and itself."""
    found = {fault}
    for stage in t:
        if found.intersection(stage.reads):
            found.add(stage.name)
    return found


def misjudged(report: ComparisonReport, t: Trace, fault: str) -> str:
    """What is not as it must be where one stage is at fault, or nothing."""
    wrong = {name for name, row in report.stages.items() if row.verdict == "wrong"}
    if wrong != {fault}:
        return f"wrong: {sorted(wrong)}, not {fault}"
    follows = {s.parameter for s in t if s.parameter and s.name in behind(t, fault)}
    blamed = {name for name, row in report.parameters.items() if row.verdict == "wrong"}
    if blamed != follows:
        return f"parameters wrong: {sorted(blamed)}, not {sorted(follows)}"
    stages = {row.stage for name, row in report.parameters.items() if name in follows}
    return "" if stages <= {fault} else f"blamed {stages}, not {fault}"


TRACES = {net: problem(net) for net in NETS}
PLANTED = [
    pytest.param(mutant, net, id=f"{mutant.name} in {net}")
    for mutant in MUTANTS
    for net in NETS
    if mutant.sites(TRACES[net][0])
]


@pytest.mark.parametrize(("mutant", "net"), PLANTED)
def test_a_fault_is_wrong_at_its_own_stage_and_its_parameters_alone(mutant: Mutant, net: str) -> None:
    ours, theirs = TRACES[net]
    sites = mutant.sites(ours)
    if len(sites) > 6:  # a factor fits every stage: a quarter of them each time, others for the next mutant
        sites = sites[MUTANTS.index(mutant) % 4 :: 4]
    planted = 0
    for site in sites:
        faulty = mutant.plant(ours, site.name)
        if np.array_equal(faulty[site.name], ours[site.name]):
            continue  # one row among its sites where the fault changes nothing, such as 0 · 2
        planted += 1
        assert misjudged(compare_traces(faulty, theirs), ours, site.name) == "", site.name
    assert planted >= max(1, len(sites) - 1)


@pytest.mark.parametrize("net", NETS)
def test_the_same_faults_are_wrong_at_their_stage_in_float32(net: str) -> None:
    ours, _ = problem(net, np.float32)
    for mutant in MUTANTS:
        for site in mutant.sites(ours)[:1]:
            faulty = mutant.plant(ours, site.name)
            if not np.array_equal(faulty[site.name], ours[site.name]):
                assert certify(faulty, site.name)[site.name].verdict == "wrong", mutant.name


@pytest.mark.parametrize("net", NETS)
def test_two_faults_at_once_are_both_found(net: str) -> None:
    ours, theirs = TRACES[net]
    first = next(m for m in MUTANTS if m.name == "constant 2").plant(ours, "dloss")
    both = next(m for m in MUTANTS if m.name == "bias mean for sum").plant(first, "db3")
    wrong = {n for n, row in compare_traces(both, theirs).stages.items() if row.verdict == "wrong"}
    assert wrong == {"dloss", "db3"}


@pytest.mark.parametrize("net", NETS)
def test_a_fault_of_the_other_engine_is_found_there(net: str) -> None:
    ours, theirs = TRACES[net]
    faulty = next(m for m in MUTANTS if m.name == "sign").plant(theirs, "dW2")
    row = compare_traces(ours, faulty).stages["dW2"]
    assert row.verdict == "wrong"
    assert [engine for engine, j in row.evidence.items() if j.verdict == "wrong"] == ["autograd"]


@pytest.mark.parametrize("net", NETS)
def test_without_a_fault_nothing_is_wrong(net: str) -> None:
    assert compare_traces(*problem(net)).wrong == []


# ---- how small a fault is seen ---------------------------------------------------------------------


def scaled(t: Trace, name: str, relative: float) -> Trace:
    def wrong(right: Any) -> Any:
        return lambda *a, **o: right(*a, **o) * (1 + relative)

    stages = [replace(s, function=wrong(s.function)) if s.name == name else s for s in t]
    return run(stages, t.leaves)


@pytest.mark.parametrize("net", NETS)
def test_a_relative_fault_of_1e_12_in_float64_is_wrong_at_its_stage(net: str) -> None:
    """Every stage but a bias before batch_norm, which is 0 in truth.

    Of each stage some entry is more than a hundredth of its terms, so 1e-12 of it is 1e-14 of them, and
    the rounding of the some tens of operations behind it is less.
    """
    ours, theirs = TRACES[net]
    zero = {f"db{s.layer}" for s in ours if s.kind == "batch_norm"}
    for stage in ours:
        if stage.name not in zero:
            report = compare_traces(scaled(ours, stage.name, 1e-12), theirs)
            assert report.stages[stage.name].verdict == "wrong", stage.name


def test_a_fault_in_one_entry_is_wrong_at_that_entry() -> None:
    ours, theirs = problem("gelu, layer_norm, dropout")

    def one_entry(value: Array) -> Array:
        off = np.array(value)
        off[2, 1] *= 1 + 1e-12
        return off

    for name in ("dW1", "dW2", "dn1", "dz2", "da1", "n1"):
        stage = ours.stage(name)
        stages = [
            replace(s, function=lambda *a, f=stage.function, **o: one_entry(f(*a, **o)))
            if s.name == name
            else s
            for s in ours
        ]
        j = compare_traces(run(stages, ours.leaves), theirs).stages[name].evidence["manual"]
        assert (j.verdict, j.index) == ("wrong", (2, 1)), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_evidence_names_the_entry_both_values_and_the_bound(dtype: str) -> None:
    ours, theirs = problem("relu", DTYPES[dtype])
    faulty = next(m for m in MUTANTS if m.name == "constant 2").plant(ours, "dW1")
    report = compare_traces(faulty, theirs)
    j = report.stages["dW1"].evidence["manual"]
    assert j.value == float(faulty["dW1"][j.index])
    np.testing.assert_allclose(j.truth, float(theirs["dW1"][j.index]), rtol=1e-5)
    assert j.error > j.bound > 0
    text = report.stages["dW1"].blame()
    assert f"manual's dW1{list(j.index)}" in text
    assert "rounding explains" in text


def test_every_fault_of_the_corpus_is_planted_somewhere() -> None:
    assert {m.name for m in MUTANTS} == {p.values[0].name for p in PLANTED}
