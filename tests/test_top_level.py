"""The top level holds what was asked for and nothing else: figures and pages lie where they are made."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {"pyproject.toml", "README.md", "mlp_torch", "manual", "tests", "runs"}


def strays(files: Iterable[str]) -> set[str]:
    """What stands at the top level beside TOP; hidden files may."""
    return {name for file in files if not (name := file.partition("/")[0]).startswith(".")} - TOP


def test_the_top_level_is_two_packages_tests_runs_and_two_files() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: which files are the project's is git's to say")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = done.stdout.splitlines()
    assert strays(files) == set()
    assert {file.partition("/")[0] for file in files} >= TOP


def test_a_folder_or_a_file_beside_them_would_be_found() -> None:
    assert strays([".ci/run", "docs/a.png", "manual/b.py", "setup.py"]) == {"docs", "setup.py"}
