"""Places in the author's text: statements, expressions, and edits of them."""

import ast
import types
from collections.abc import Sequence
from dataclasses import dataclass

from mlp_torch.check.lines.program import Source, codes_of
from mlp_torch.check.lines.sites import Site

Span = tuple[int, int, int, int]  # line, column, end line, end column: bytes of UTF-8, as in the syntax tree


@dataclass(frozen=True)
class Edit:
    """`text` in the place of `span`; the dearer, the less it looks like a slip."""

    span: Span
    text: str
    cost: float


def span(node: ast.AST) -> Span:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


def applied(lines: Sequence[str], edit: Edit) -> list[str]:
    """The lines of a file with the edit made; what spanned several lines becomes one."""
    first, start, last, end = edit.span
    head = lines[first - 1].encode()[:start].decode()
    tail = lines[last - 1].encode()[end:].decode()
    return [*lines[: first - 1], *(head + edit.text + tail).split("\n"), *lines[last:]]


def segment(lines: Sequence[str], node: ast.AST) -> str:
    first, start, last, end = span(node)
    if first == last:
        return lines[first - 1].encode()[start:end].decode()
    middle = [lines[first - 1].encode()[start:].decode(), *lines[first : last - 1]]
    return "\n".join([*middle, lines[last - 1].encode()[:end].decode()])


def roots_of(statement: ast.stmt) -> list[ast.expr]:
    """The expressions that a statement computes."""
    if isinstance(statement, ast.For):
        return [statement.iter]
    if isinstance(statement, ast.If | ast.While):
        return [statement.test]
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Tuple | ast.List):
        return [x for e in value.elts for x in (e.values if isinstance(e, ast.Dict) else [e])]
    if isinstance(value, ast.Dict):
        return list(value.values)
    return [value] if isinstance(value, ast.expr) else []


def compiled(lines: Sequence[str], first: int, last: int, file: str) -> dict[tuple[str, int], types.CodeType]:
    """The code objects of the function on these lines, by the last part of the name and the first line."""
    body = lines[first - 1 : last]
    indent = len(body[0]) - len(body[0].lstrip())
    if indent:  # a method: inside a class, so that names with two underscores are the class's
        text = "\n".join(["if 1:", *body])
        tree = ast.parse(text)
        ast.increment_lineno(tree, first - 2)
    else:
        tree = ast.parse("\n".join(body))
        ast.increment_lineno(tree, first - 1)
    found = codes_of(compile(tree, file, "exec"))
    return {(name.rpartition(".")[2], line): code for (name, line), code in found.items()}


def enclosing(tree: ast.AST, line: int) -> tuple[ast.stmt | None, ast.AST | None]:
    """The smallest statement on a line (of a loop, its head), and the outermost function around it."""
    statement: ast.stmt | None = None
    function: ast.AST | None = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or node.end_lineno is None:
            continue
        if not node.lineno <= line <= node.end_lineno:
            continue
        if isinstance(node, ast.FunctionDef):
            if function is None:
                function = node
        elif isinstance(node, ast.For | ast.While | ast.If):
            if line < node.body[0].lineno:
                statement = node
        elif not isinstance(node, ast.ClassDef | ast.With | ast.Try):
            statement = node
    return statement, function


def root_of(statement: ast.stmt, site: Site) -> ast.expr | None:
    """The expression of a site in the untouched tree."""
    for node in ast.walk(statement):
        at = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        if isinstance(node, ast.expr) and at == (site.line, site.column) and ast.unparse(node) == site.text:
            return node
    return None


def moved(source: Source, statement: ast.stmt) -> list[Edit]:
    """The statement before the one above it, or after the one below it, where both have a line each."""
    for block in ast.walk(source.tree):
        for name in ("body", "orelse"):
            body = getattr(block, name, None)
            if not isinstance(body, list) or statement not in body:
                continue
            at = body.index(statement)
            found = []
            for upper, lower in zip(body[max(at - 1, 0) : at + 1], body[max(at, 1) : at + 2], strict=False):
                if upper is lower or upper.lineno != upper.end_lineno or lower.lineno != lower.end_lineno:
                    continue
                a, b = (source.lines[x.lineno - 1].strip() for x in (upper, lower))
                where = (upper.lineno, upper.col_offset, lower.lineno, lower.end_col_offset or 0)
                if lower.lineno == upper.lineno + 1:
                    found.append(Edit(where, f"{b}\n{' ' * upper.col_offset}{a}", 1.5))
            return found
    return []


def within(inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def shown(lines: Sequence[str], edit: Edit) -> tuple[str, str]:
    """The edited lines before and after."""
    first, _, last, _ = edit.span
    before = lines[first - 1 : last]
    after = applied(lines, edit)
    count = last - first + 1 + len(after) - len(lines)
    return "\n".join(before), "\n".join(after[first - 1 : first - 1 + count])
