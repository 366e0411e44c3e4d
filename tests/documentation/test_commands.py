"""Every command that a page shows is one that the program takes, flags and values."""

import pytest

from tests.documentation.asked import refused, workplace
from tests.documentation.pages import ROOT, Typed, blocks, commands, pages

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in pages()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return workplace(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_of_a_page_would_be_taken(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    said = {str(typed): refused(typed) for typed in commands(TEXTS[name])}
    assert {command: why for command, why in said.items() if why} == {}


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith("README.md")])
def test_every_python_block_of_a_page_is_python(name):
    for body in blocks(TEXTS[name], "python"):
        compile(body, name, "exec")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mlp train --epoch 3", "--epoch"),
        ("mlp train --engine quick", "--engine"),
        ("mlp trian", "trian is no command"),
        ("mlp train --data gone.csv", "no such file"),
        ("python -m mlp_torch compare --teir exact", "--teir"),
        ("python -m mlp_torch.gone", "no module mlp_torch.gone"),
        ("OMP_NUM_THREADS=1 python tests/benchmarks/bench_training.py --raedme", "takes no --raedme"),
        ("python -m pytest -m long tests/gone", "there is no tests/gone"),
        ("python -m pip install -e '.[gone]' && mlp train", "no extra gone"),
        ("torchrun --nproc-per-node=2 -m mlp_torch train --epoch 3", "--epoch"),
    ],
)
def test_a_command_that_would_not_run_is_seen_in_a_block_and_in_a_sentence(line, said, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for text in (f"# a\n\n```\n{line}  # a word\n```\n", f"One types `{line}`.\n"):
        assert said in " ".join(refused(typed) for typed in commands(text))


def test_commands_are_found_behind_assignments_joined_and_with_a_dollar():
    text = "```\n$ mlp train   # a word\nA=1 python -m pytest && mlp board …\nloss 0.1\n```\n"
    expected = [
        Typed(("mlp", "train")),
        Typed(("python", "-m", "pytest")),
        Typed(("mlp", "board"), whole=False),
    ]
    assert commands(text) == expected
    assert commands("`mlp check`, `mlp explain --run`") == [
        Typed(("mlp", "check"), whole=False),
        Typed(("mlp", "explain", "--run"), whole=False),
    ]
