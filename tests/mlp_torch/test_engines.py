"""The engines: together in lock-step, on their devices, with the same numbers for the same seed."""

import copy
import re

import numpy as np
import pytest
import torch

from manual.training.engine import ManualEngine
from mlp_torch.config import Train
from tests.mlp_torch.running import config, metrics, train, weights


@pytest.mark.parametrize(
    "flags",
    [
        "--optimizer sgd --momentum 0.9 --nesterov --weight-decay 1e-3",
        "--optimizer rmsprop --momentum 0.5 --l1 1e-4 --schedule step",
        "--optimizer adagrad --dropout 0.3 --schedule one_cycle --warmup 1",
        "--optimizer adamw --normalization batch_norm --schedule constant",
        "--normalization layer_norm --activation prelu --loss hinge",
        "--output-activation sigmoid --loss mse --initialization xavier --batch-size 100000",
    ],
)
def test_both_engines_stay_together_over_50_steps_in_float64(runs, flags):
    """Where a gradient cancels to 0, its relative gap is one of rounding errors, and Adam steps on them.

    So it is with a bias before batch_norm, and with hinge's last bias when both classes tie.
    """
    hidden = "--data moons --hidden 12 8 --batch-size 70 --epochs 5 --dtype float64 --engine both "
    assert train(runs, hidden + flags) == 0
    rows = metrics(runs / "run")
    bound = 1e-6 if "batch_norm" in flags else 1e-9
    assert all(row["parameter_gap"] <= bound for row in rows)
    if "batch_norm" not in flags and "hinge" not in flags:
        assert all(row["gradient_gap"] <= 1e-6 for row in rows)


def test_a_fault_in_the_manual_gradient_shows_as_a_gap(runs, monkeypatch):
    step = ManualEngine.step

    def faulty(self, x, y, lr, masks=None):
        loss = step(self, x, y, lr, masks)
        self.model.parameters["layers.1.weight"][0, 0] += 1e-6
        return loss

    monkeypatch.setattr(ManualEngine, "step", faulty)
    assert train(runs, "--data xor --epochs 50 --dtype float64 --engine both --hidden 8") == 0
    assert metrics(runs / "run")[-1]["parameter_gap"] > 1e-7


def test_a_manual_network_can_be_copied():

    import manual

    model = manual.MLP((3, 4, 2), normalization="batch_norm", seed=1)
    twin = copy.deepcopy(model)
    twin.parameters["layers.0.weight"][0, 0] = 7
    assert model.parameters["layers.0.weight"][0, 0] != 7
    assert type(twin.parameters) is type(model.parameters)


@pytest.mark.parametrize("engine", ["autograd", "manual", "both"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(runs, engine):
    flags = f"--data moons --epochs 3 --hidden 8 --dropout 0.2 --engine {engine}"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train(runs, f"{flags} --seed {seed}", name) == 0
    a, b, c = (weights(runs / name) for name in "abc")
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert any(not np.array_equal(a[n], c[n]) for n in a)


def test_a_device_that_is_not_there_is_an_error_with_a_remedy(runs, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(runs, "--device cuda") == 2
    assert "--device cuda: torch finds none on this machine; choose from auto, cpu" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize("engine", ["autograd", "both"])
def test_every_device_at_hand_learns_the_digits(runs, engine, device):
    assert train(runs, f"--device {device} --engine {engine}") == 0
    assert config(runs / "run")["result"]["test_accuracy"] >= 0.96
    assert config(runs / "run")["device"] == device


def test_auto_takes_the_fastest_device_that_has_the_arithmetic(monkeypatch):
    from mlp_torch.machine import resolve_device

    monkeypatch.setattr("mlp_torch.machine.no_gpu", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", "float32") == "mps"
    assert resolve_device("auto", "float64") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto", "float64") == "cuda"


@pytest.mark.parametrize("with_numba", [True, False])
def test_the_engines_sentence_says_who_computes_by_what_and_the_remedy_and_no_numbers(
    monkeypatch, with_numba
):
    import importlib.util

    from mlp_torch.engines import choose_engine

    numba = importlib.util.find_spec("numba")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: numba if with_numba else None)
    flags = Train()
    name, why = choose_engine(flags, flags.architecture(64, 10), "cross_entropy", "cpu", 10**7)
    assert "gradients by formulas derived by hand" in why
    assert "the fastest here for a network of this size" in why
    assert not re.search(r"\d|FLOP", why)
    if not with_numba:
        assert name == "manual"
        assert why.endswith(
            "compiled would be faster, but it needs numba: python -m pip install -e '.[fast]'"
        )


SMALL, LARGE = ((64, 128, 64, 10), 32), ((784, 2048, 2048, 10), 512)


@pytest.mark.parametrize(
    ("work", "numpys", "torchs_threads", "blas_threads"),
    [(SMALL, False, 1, 1), (SMALL, True, 1, 1), (LARGE, False, 2, 1), (LARGE, True, 1, 2)],
)
def test_one_pool_of_threads_works_and_all_threads_come_back(work, numpys, torchs_threads, blas_threads):
    from threadpoolctl import threadpool_info, threadpool_limits

    from mlp_torch.machine import threads

    def blas():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        try:
            with threads(*work, numpys):
                assert torch.get_num_threads() == torchs_threads
                assert blas() == {blas_threads}
            assert torch.get_num_threads() == 2
            assert blas() == {2}
        finally:
            torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on its way to inductor
def test_compiled_passes_of_autograd_train_as_the_others_do(runs):
    flags = "--data moons --hidden 8 --epochs 3 --engine autograd --dtype float64"
    assert train(runs, flags, "plain") == 0
    assert train(runs, f"{flags} --compile", "compiled") == 0
    plain, compiled = weights(runs / "plain"), weights(runs / "compiled")
    assert all(np.allclose(compiled[n], plain[n], rtol=0, atol=1e-12) for n in plain)


def test_a_missing_compiler_is_said_in_one_line(runs, monkeypatch, capsys):
    def fails(x):
        raise torch._dynamo.exc.BackendCompilerFailed(None, RuntimeError("no compiler"), None)

    monkeypatch.setattr(torch, "compile", lambda model: fails)
    assert train(runs, "--data xor --engine autograd --compile") == 2
    error = capsys.readouterr().err
    assert error.startswith("mlp train: --compile: torch.compile cannot (")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("work", "cores", "limit", "threads"),
    [
        (SMALL, 8, None, 1),  # 3 MFLOP: not worth a second thread
        (LARGE, 1, None, 1),
        (LARGE, 6, None, 6),
        (LARGE, 64, None, 8),
        (LARGE, 6, "2", 2),
        (LARGE, 2, "16", 2),
        (LARGE, 6, "3,1", 3),
        (LARGE, 6, "many", 6),
        (((784, 256, 128, 10), 128), 6, None, 4),  # 32 samples each
        (((784, 2048, 10), 20), 6, None, 1),
    ],
)
def test_a_batch_is_shared_by_as_many_threads_as_its_work_its_samples_and_the_machine_are_for(
    work, cores, limit, threads, monkeypatch
):
    from mlp_torch.machine import step_threads

    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert step_threads(*work) == threads


@pytest.fixture
def crews(monkeypatch):
    """The number of threads of every compiled engine that is made."""
    from manual.compiled import CompiledEngine

    found = []
    init = CompiledEngine.__init__

    def noted(self, *arguments):
        init(self, *arguments)
        found.append(self.threads)

    monkeypatch.setattr(CompiledEngine, "__init__", noted)
    return found


def test_what_is_judged_before_training_is_the_shared_step_that_trains(crews, monkeypatch):
    from mlp_torch import MLP, compare

    monkeypatch.setattr("mlp_torch.engines.step_threads", lambda sizes, n: 3)
    model = MLP((5, 7, 3)).double()
    report = compare(model, np.ones((7, 5)), np.arange(7) % 3, loss="cross_entropy", engine="compiled")
    assert report.passed
    assert set(crews) == {3}


def test_threads_are_those_that_the_samples_are_for_though_the_flag_asks_for_more(runs, crews, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    flags = "--data xor --hidden 300 --batch-size 100000 --epochs 2 --engine compiled"
    assert train(runs, flags) == 0
    assert set(crews) == {1}
