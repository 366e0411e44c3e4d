"""A notebook's kernel, for tests: cells are run one by one, and what each shows is looked at."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

Run = Callable[[str], list[Any]]


@contextmanager
def started(folder: Path | None = None, **environment: str) -> Iterator[Run]:
    """A kernel of this Python's, in that folder: `run(source)` gives what a cell shows."""
    notebook = nbformat.v4.new_notebook()
    resources = {"metadata": {"path": str(folder)}} if folder else {}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources=resources, allow_errors=True
    )

    def run(source: str) -> list[Any]:
        notebook.cells.append(nbformat.v4.new_code_cell(source))
        return list(client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1).outputs)

    with client.setup_kernel(env={**os.environ, **environment}):
        yield run
