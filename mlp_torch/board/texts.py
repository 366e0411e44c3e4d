"""The tab Text: what is shown where, the run's flags, its data, and the check of its gradients."""

from collections.abc import Iterable, Sequence

from mlp_torch.board.moment import Moment
from mlp_torch.board.values import Value, text
from mlp_torch.runs import plain, versions
from mlp_torch.terminal import counted

MOST_COLUMNS = 200
CHECKED = ("gradient", "equal", "of bound", "verdict")  # more columns are broken into letters
ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>#|~&!"})
ABOUT = """\
A step is an **epoch**: one pass over the training samples. Step 0 is before the first, so that what is \
measured there is measured on the initial weights; pictures made at the end stand at the epoch of the \
weights that were kept.

Training and validation share a chart in the tab **Custom Scalars**; every curve, histogram and picture says \
under its (i) what it is.

Pictures (the worst mistakes, the confusion matrix, the decision boundary, …) come with \
`mlp train --log full`; `standard` draws those of the end where training took long."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> str:
    """A table in Markdown; cells are shown as they stand, whatever they hold."""
    numbers = set(right)
    lines = [[_cell(name) for name in head], ["--:" if name in numbers else ":--" for name in head]]
    lines += [[_cell(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: object) -> str:
    return " ".join(str(cell).split()).translate(ESCAPED)


def about(moment: Moment) -> list[Value]:
    """How to read the board."""
    return [text("about", ABOUT)]


def configuration(moment: Moment) -> list[Value]:
    """The flags as they were resolved, and of which versions the bits depend."""
    rows = [(flag, value) for flag, value in plain(vars(moment.config)).items() if value != []]
    rows += [(f"version of {name}", version) for name, version in versions()["versions"].items()]
    shown = [(name, " ".join(map(str, v)) if isinstance(v, list) else v) for name, v in rows]
    return [text("configuration", table(("flag", "value"), shown))]


def data(moment: Moment) -> list[Value]:
    """How many samples there are of what, and what became of a table's columns."""
    d, sample = moment.data, moment.data.dataset.sample
    parts = {"train": d.train, "validate": d.validation, "test": d.test}
    said = ", ".join(f"{len(split):,} to {name}" for name, split in parts.items())
    held = "" if d.held_out else "; too few to hold any back, so that all three are the same"
    target = d.target.name or "the target"
    classes = d.target.classes
    goal = f"{counted(len(classes), 'classes')}: {', '.join(map(str, classes))}" if classes else "a number"
    lines = [
        f"{_cell(d.dataset.name)}, {sample}: {said}{held}; {counted(d.inputs, 'inputs')}.",
        f"{_cell(target)} is {_cell(goal)}.",
    ]
    if d.columns:
        rows = [
            (c.name, c.kind, f"{c.missing:,}", f"{c.levels:,}", c.becomes) for c in d.columns[:MOST_COLUMNS]
        ]
        head = ("column", "kind", "missing", "levels", "what becomes of it")
        lines.append(table(head, rows, right=("missing", "levels")))
    if len(d.columns) > MOST_COLUMNS:
        lines.append(f"… and {len(d.columns) - MOST_COLUMNS:,} more columns.")
    return [text("data", "\n\n".join(lines))]


def gradient_check(moment: Moment) -> list[Value]:
    """The report on the first batch: the verdict, then a row a gradient."""
    report = moment.report
    assert report is not None
    head = report.head("gradient")
    at = [head.index(name) for name in CHECKED]
    rows = [[row.cells()[i] for i in at] for row in report.parameters.values()]
    said = f"**{report.verdict}**: {_cell(report.summary().removeprefix(f'{report.verdict}: '))}"
    return [text("gradient_check", f"{said}\n\n{table(CHECKED, rows, right=CHECKED[1:-1])}")]
