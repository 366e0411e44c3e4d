"""`--engine auto` counts what compiled code costs before it saves anything."""

import os
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_torch import costs
from mlp_torch.__main__ import main
from mlp_torch.config import Train
from mlp_torch.engines import choose_engine

CONFIG = Train()
ARCHITECTURE = CONFIG.architecture(64, 10)
SHORT, LONG = 1_000, 10**7


def chosen(steps, **options):
    return choose_engine(CONFIG, ARCHITECTURE, "cross_entropy", "cpu", steps, **options)


@pytest.fixture
def on_disk(monkeypatch):
    def answer(there):
        monkeypatch.setattr(costs, "at_hand", lambda dtypes: there)

    return answer


def test_a_short_run_does_not_load_compiled_code_and_says_so(on_disk):
    on_disk(True)
    name, why = chosen(SHORT)
    assert name == "manual"
    assert why.endswith("compiled is left aside: its code takes longer to load than it would save here")


def test_a_long_run_loads_it(on_disk):
    on_disk(True)
    assert chosen(LONG)[0] == "compiled"


def test_a_run_that_is_worth_loading_but_not_compiling_says_how_to_compile_for_next_time(on_disk):
    steps = next(
        n for n in range(1000, 10**6, 1000) if costs.saved(CONFIG, ARCHITECTURE, n) > 2 * costs.LOADING
    )
    on_disk(False)
    name, why = chosen(steps)
    assert name == "manual"
    assert "--warm" in why
    assert chosen(LONG)[0] == "compiled"
    on_disk(True)
    assert chosen(steps)[0] == "compiled"


def test_a_process_that_trains_many_times_does_not_count_loading(on_disk):
    on_disk(True)
    assert chosen(SHORT, lasting=True)[0] == "compiled"
    on_disk(False)
    assert chosen(SHORT, lasting=True)[0] == "manual"


def test_auto_passes_over_an_engine_that_cannot_and_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mlp_torch.engines.worth_loading", lambda *run: None)  # as in a long run
    flags = f"train --data moons --hidden 4 --epochs 2 --accumulate 2 --runs-dir {tmp_path} --name run"
    assert main(flags.split()) == 0
    assert "compiled would be faster, but it updates after every batch" in capsys.readouterr().out
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["engine"] == "manual"


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_what_is_worth_it_for_a_run_is_worth_it_for_a_longer_one(a, b):
    short, long = sorted((a, b))
    if costs.worth_loading(CONFIG, ARCHITECTURE, short) is None:
        assert costs.worth_loading(CONFIG, ARCHITECTURE, long) is None


def test_asking_if_code_is_on_disk_compiles_nothing(tmp_path):
    code = (
        "from mlp_torch.costs import at_hand;"
        "assert not at_hand(['float32', 'float64']); assert not at_hand(['float64'])"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=100)
    assert not list(tmp_path.rglob("*.nbc"))


def test_digits_are_trained_without_loading_compiled_code(tmp_path, capsys):
    code = (
        "import sys; from mlp_torch.__main__ import main;"
        f"assert main('train --runs-dir {tmp_path}'.split()) == 0; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, capture_output=True)


def test_warm_starts_the_compiler_for_both_dtypes_after_the_run(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(costs, "Popen", lambda command, **options: begun.append((command, options)))
    flags = ["train", "--data", "xor", "--epochs", "1", "--runs-dir", str(tmp_path)]
    assert main(flags) == 0
    assert begun == []
    assert main([*flags, "--warm"]) == 0
    ((command, options),) = begun
    assert command[-2:] == ["float32", "float64"]
    assert options["start_new_session"]


def test_warm_without_numba_is_said_before_anything_is_trained(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("mlp_torch.config.importlib.util.find_spec", lambda name: None)
    assert main(["train", "--data", "xor", "--warm", "--runs-dir", str(tmp_path)]) == 2
    assert ".[fast]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_what_warm_compiles_is_at_hand_in_the_next_process(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", costs.WARM, "float32"], env=environment, check=True, timeout=300)
    code = "from mlp_torch.costs import at_hand; assert at_hand(['float32']) and not at_hand(['float64'])"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=100)
