"""Places in the author's text: statements, expressions, and edits of them."""

import ast
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlp_torch.check.lines.program import Key, Source, codes_of
from mlp_torch.check.lines.sites import Site

ADDED = "; "  # what stands before a statement that is added behind another: no line changes its number
NEARBY = 8  # lines between two statements that may be taken for each other
TURNS = 300_000  # of all loops of a function whose edit is tried
LEFT = f"_mlp_left_ = {TURNS}"
COUNTED = "_mlp_left_ -= 1\nif not _mlp_left_: raise RuntimeError('it does not end')"
Span = tuple[int, int, int, int]  # line, column, end line, end column: bytes of UTF-8, as in the syntax tree


@dataclass(frozen=True)
class Edit:
    """`text` in the place of `span`; the dearer, the less it looks like a slip."""

    span: Span
    text: str
    cost: float


def span(node: ast.AST) -> Span:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]  # parsed


def applied(lines: Sequence[str], edit: Edit) -> list[str]:
    """The lines of a file with the edit made; where it is shorter by lines, empty ones follow it, so that no
    other line changes its number.
    """
    first, last = edit.span[0], edit.span[2]
    new = _replaced(lines, edit)
    return [*lines[: first - 1], *new, *[""] * (last - first + 1 - len(new)), *lines[last:]]


def _replaced(lines: Sequence[str], edit: Edit) -> list[str]:
    first, start, last, end = edit.span
    head = lines[first - 1].encode()[:start].decode()
    tail = lines[last - 1].encode()[end:].decode()
    return (head + edit.text + tail).split("\n")


def narrowed(lines: Sequence[str], edit: Edit) -> Edit:
    """The edit without the lines at its beginning that stay as they are."""
    first, start, last, end = edit.span
    old = [line.encode() for line in lines[first - 1 : last]]
    new = edit.text.split("\n")
    same = 0
    while same < min(len(old), len(new)) - 1 and old[same][start * (not same) :] == new[same].encode():
        same += 1
    return edit if not same else Edit((first + same, 0, last, end), "\n".join(new[same:]), edit.cost)


def double_quoted(lines: Sequence[str]) -> bool:
    """Whether an author puts keys in double quotes."""
    return sum(line.count("['") for line in lines) <= sum(line.count('["') for line in lines)


def quoted(text: str, double: bool) -> str:
    """Keys in the quotes that the author puts them in."""
    return re.sub(r"\['(\w+)'\]", r'["\1"]', text) if double and "['" in text else text


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


def compiled(lines: Sequence[str], first: int, last: int, file: str) -> dict[Key, types.CodeType]:
    """The code objects of the function on these lines."""
    body = lines[first - 1 : last]
    indent = len(body[0]) - len(body[0].lstrip())
    if indent:  # a method: inside a class, so that names with two underscores are the class's
        body = ["if 1:", *body]
    text = "\n" * (first - 1 - bool(indent)) + "\n".join(body)  # on its own lines
    return codes_of(compile(_ending(ast.parse(text)), file, "exec"))


def _ending(tree: ast.Module) -> ast.Module:
    """The same, where no function's loops have more than TURNS turns: an edit may have made one endless."""
    nodes = list(ast.walk(tree))
    for loop in nodes:
        if isinstance(loop, ast.For | ast.While):
            loop.body[:0] = [_at(loop.body[0], part) for part in ast.parse(COUNTED).body]
    for function in nodes:
        if isinstance(function, ast.FunctionDef):
            start = function.body[0]
            said = isinstance(start, ast.Expr) and isinstance(start.value, ast.Constant)
            function.body[said:said] = [_at(start, part) for part in ast.parse(LEFT).body]
    return tree


def _at(place: ast.stmt, statement: ast.stmt) -> ast.stmt:
    """A statement that is said to stand where another one does."""
    for node in ast.walk(statement):
        ast.copy_location(node, place)
    return statement


@lru_cache(maxsize=2048)
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


@lru_cache(maxsize=2048)
def block_of(tree: ast.AST, statement: ast.stmt) -> list[ast.stmt]:
    """The statements among which a statement stands."""
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and statement in body:
                return body
    return [statement]


def moved(source: Source, statement: ast.stmt) -> list[Edit]:
    """The statement before the one above it, or after the one below it, where both have a line each."""
    body = block_of(source.tree, statement)
    at, found = body.index(statement), []
    for upper, lower in zip(body[max(at - 1, 0) : at + 1], body[max(at, 1) : at + 2], strict=False):
        if upper is lower or upper.lineno != upper.end_lineno or lower.lineno != lower.end_lineno:
            continue
        a, b = (source.lines[x.lineno - 1].strip() for x in (upper, lower))
        where = (upper.lineno, upper.col_offset, lower.lineno, lower.end_col_offset or 0)
        if lower.lineno == upper.lineno + 1:
            found.append(Edit(where, f"{b}\n{' ' * upper.col_offset}{a}", 1.5))
    return found


def crossed(source: Source, statement: ast.stmt) -> list[Edit]:
    """The statement's target in the place of a later one's of its block, and the other way round."""
    body, one, found = block_of(source.tree, statement), _entry(statement), []
    for later in body[body.index(statement) + 1 :]:
        other = _entry(later)
        if one is None or other is None or later.lineno - statement.lineno > NEARBY:
            continue
        (_, _, line, end), (first, start, last, stop) = span(one), span(other)
        if line != statement.lineno or first != last:
            continue
        head = source.lines[line - 1].encode()[end:].decode()
        tail = source.lines[first - 1].encode()[:start].decode()
        parts = [head, *source.lines[line : first - 1], tail]
        a, b = segment(source.lines, one), segment(source.lines, other)
        found.append(Edit((line, one.col_offset, last, stop), b + "\n".join(parts) + a, 1.2))
    return found


def _entry(statement: ast.stmt) -> ast.expr | None:
    """The entry or attribute that a statement gives a value, if it is one."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AugAssign):
        target = statement.target
    else:
        return None
    return target if isinstance(target, ast.Subscript | ast.Attribute) else None


def within(inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def shown(lines: Sequence[str], edit: Edit) -> tuple[str, str]:
    """The edited lines before and after; what was added behind a statement is a line of its own."""
    first, _, last, _ = edit.span
    before = "\n".join(lines[first - 1 : last])
    indent = before[: len(before) - len(before.lstrip())]
    if edit.text.endswith(ADDED):
        return before, f"{indent}{edit.text.removesuffix(ADDED)}\n{before}"
    if edit.text.startswith(ADDED):
        return before, f"{before}\n{indent}{edit.text.removeprefix(ADDED)}"
    return before, "\n".join(_replaced(lines, edit))
