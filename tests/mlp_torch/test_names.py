"""The package's public names, which cost nothing until they are used."""

import subprocess
import sys

import pytest

import mlp_torch


@pytest.mark.parametrize("name", sorted(set(mlp_torch.EXPORTS) - {"__version__"}))
def test_every_public_name_is_there_and_listed(name):
    assert getattr(mlp_torch, name).__name__ == name
    assert name in dir(mlp_torch)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'comparison_of'"):
        mlp_torch.comparison_of  # noqa: B018  # reading it is the test


def test_importing_the_package_imports_neither_torch_nor_numpy():
    code = "import sys, mlp_torch; print({'torch', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
