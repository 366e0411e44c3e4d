"""What the package says of itself, and what the workflows try, agree."""

import re
import tomllib

import pytest

import manual
import mlp_torch
from tests.documentation.asked import refused
from tests.documentation.pages import ROOT, commands

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def floor(name):
    """The least version of a dependency that is allowed."""
    (found,) = (
        re.search(r">=([\d.]+)", line)[1] for line in PROJECT["dependencies"] if line.startswith(name)
    )
    return found


def test_both_packages_say_one_version_and_what_changed_in_it():
    assert mlp_torch.__version__ == manual.__version__
    for package in ("manual", "mlp_torch"):
        first = re.search(
            r"^## (.*)$", (ROOT / package / "CHANGES.md").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert first[1] == manual.__version__


@pytest.mark.parametrize("package", ["manual", "mlp_torch"])
def test_a_package_is_typed_for_its_users(package):
    assert (ROOT / package / "py.typed").read_text() == ""


def test_the_oldest_versions_that_are_tried_are_the_least_that_are_allowed():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert f'"numpy=={floor("numpy")}.* torch=={floor("torch")}.*"' in text
    pythons = re.findall(r'python: "([\d.]+)"', text)
    assert pythons[0] == PROJECT["requires-python"].removeprefix(">=")
    for python in pythons:
        assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_commands_of_a_workflow_would_be_taken(path):
    lines = [line.strip().removeprefix("- run: ") for line in path.read_text(encoding="utf-8").splitlines()]
    typed = commands("\n```\n" + "\n".join(lines) + "\n```\n")
    said = [refused(command) for command in typed if command.words[:2] != ("mlp", "check")]
    assert [why for why in said if why] == []


def test_no_licence_author_or_address_is_named():
    assert not {"license", "authors", "maintainers", "urls"} & set(PROJECT)
    assert not [row for row in PROJECT["classifiers"] if row.startswith("License")]
