"""What was understood of a table, shown before training."""

from collections.abc import Sequence
from typing import Any

from mlp_torch.tables.kinds import Column

MOST_SHOWN = 30


def summary(columns: Sequence[Column]) -> Any:
    """A rich table: column, kind, missing, levels, what becomes of it; long ones are cut in the middle."""
    from rich.table import Table
    from rich.text import Text  # names are shown as they stand, [brackets] too

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (("column", "left"), ("kind", "left"), ("missing", "right"), ("levels", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich's literal type
    table.add_column("what becomes of it")
    hidden = len(columns) - MOST_SHOWN
    shown = (
        list(columns) if hidden <= 1 else [*columns[: MOST_SHOWN // 2], None, *columns[-(MOST_SHOWN // 2) :]]
    )
    for row in shown:
        if row is None:
            table.add_row("…", f"{hidden} more", "", "", "")
        else:
            missing = f"{row.missing:,}" if row.missing else "–"
            table.add_row(Text(row.name), row.kind, missing, f"{row.levels:,}", Text(row.becomes))
    return table
