"""The cells of a notebook that a program runs in; outside of one, and without IPython, there are none."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console


def shell() -> Any:
    """IPython's shell of the notebook's kernel, or None."""
    if "IPython" not in sys.modules or not Console().is_jupyter:
        return None
    from IPython import get_ipython

    return get_ipython()


def running() -> int | None:
    """The number of the cell that runs."""
    found = shell()
    return None if found is None else int(found.execution_count)


def name(file: str) -> str:
    """What people call a source file: its name, or the cell's, `In[3]`, as in a notebook's tracebacks."""
    found = shell()
    cell = None if found is None else found.compile.format_code_name(file)
    return cell[1] if cell else Path(file).name
