"""Small edits of one statement, as people slip: another variable, a transpose, a factor, a sign, an axis …"""

import ast
from collections.abc import Sequence

from mlp_torch.check.lines.by_repair.scope import Scope
from mlp_torch.check.lines.syntax import Edit, Span, roots_of, segment, span


def edits(statement: ast.stmt, root: ast.expr | None, lines: Sequence[str], scope: Scope) -> list[Edit]:
    """Every small edit of a statement, the likeliest first, each text once. `root`: its value alone."""
    found: dict[tuple[Span, str], Edit] = {}

    def offer(node: ast.AST, text: str, cost: float) -> None:
        edit = Edit(span(node), text, cost)
        key = (edit.span, edit.text)
        if text != segment(lines, node) and (key not in found or found[key].cost > cost):
            found[key] = edit

    make = scope.maker(lines, offer)
    roots = [root] if root is not None else roots_of(statement)
    for one in roots:
        for node in ast.walk(one):
            make.node(node)
        make.whole(one)
    if len(roots) == 1:
        make.exchanged(roots[0])
    elif isinstance(value := getattr(statement, "value", None), ast.expr):
        make.exchanged(value, 1.2)
    if isinstance(statement, ast.AugAssign | ast.Assign):
        make.assignment(statement)
    return sorted(found.values(), key=lambda e: (e.cost, len(e.text)))
