"""The author's tree rewritten, so that the value of every expression is seen."""

import ast
import copy
from collections.abc import Sequence
from typing import Any

from mlp_torch.check.lines.sites import CHANGING_METHODS, ENTER, HANDED, RECORD, Site, array_of

FRAME = "_mlp_frame_"
CHANGING = frozenset({"at", "put", "place", "copyto", "fill_diagonal", "put_along_axis"})  # np.…(array, …)
PLAIN = frozenset({"np", "numpy", "math", "self", "cls", "range", "len", "print", "scipy", "special"})
LAYOUT = frozenset({"axis", "axes", "dim", "dims", "keepdim", "keepdims", "dtype", "out", "shape", "order"})


class Rewriter(ast.NodeTransformer):
    """Wraps the values of one file's functions; sites count from `first`. The names are ast's (N815)."""

    def __init__(self, file: str, first: int) -> None:
        self.file, self.first = file, first
        self.sites: list[Site] = []
        self.function = ""
        self.statement = 0
        self.inner = 0  # inside a lambda or a comprehension there is no frame variable

    def wrap(self, node: ast.expr, kind: str, target: str = "", text: str | None = None) -> ast.expr:
        number = self.first + len(self.sites)
        end = getattr(node, "end_col_offset", None) or node.col_offset
        if getattr(node, "end_lineno", node.lineno) != node.lineno:
            end = node.col_offset + 1
        said, statement = text or ast.unparse(node), self.statement or node.lineno
        place = (node.lineno, node.col_offset, end)
        self.sites.append(Site(number, self.file, *place, said, kind, self.function, target, statement))
        frame: ast.expr = ast.Constant(0) if self.inner else ast.Name(FRAME, ast.Load())
        call = ast.Call(ast.Name(RECORD, ast.Load()), [ast.Constant(number), node, frame], [])
        for part in (call, call.func, call.args[0], frame):
            ast.copy_location(part, node)
        return call

    def whole(self, node: ast.expr, target: str, kind: str | None = None) -> ast.expr:
        """The value of a statement, its site marked with what it is assigned to."""
        bare = isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        new: ast.expr = self.visit(node)
        if isinstance(new, ast.Call) and isinstance(new.func, ast.Name) and new.func.id == RECORD:
            number = new.args[0]
            assert isinstance(number, ast.Constant)
            assert isinstance(number.value, int)
            site = self.sites[number.value - self.first]
            site.target = target
            site.kind = kind or ("alias" if bare else site.kind)
        return new

    # expressions

    def _calculated(self, node: ast.expr) -> ast.expr:
        text = ast.unparse(node)
        self.generic_visit(node)
        return self.wrap(node, "calc", text=text)

    visit_BinOp = _calculated
    visit_IfExp = _calculated

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.Not) or isinstance(node.operand, ast.Constant):
            return node
        return self._calculated(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not isinstance(node.ctx, ast.Load) or node.id in PLAIN:
            return node
        return self.wrap(node, "use")

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return node
        text = ast.unparse(node)
        held = text.startswith("self.") and text.count(".") == 1
        node.value = self.visit(node.value)
        return self.wrap(node, "use" if held else "calc", text=text)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return node
        text = ast.unparse(node)
        node.value = self.visit(node.value)
        return self.wrap(node, "use", text=text)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        text = ast.unparse(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr not in CHANGING_METHODS:
            node.func.value = self.visit(node.func.value)
        node.args = [self._handed(a) for a in node.args]
        for keyword in node.keywords:
            if keyword.arg not in LAYOUT:
                keyword.value = self.visit(keyword.value)
        return self.wrap(node, "calc", text=text)

    def _handed(self, node: ast.expr) -> ast.expr:
        """An argument that is calculated on the spot is what the callee's name gets."""
        return self.whole(node, HANDED) if isinstance(node, ast.BinOp | ast.UnaryOp) else self.visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        node.values = [
            self.whole(v, ast.unparse(k).strip("'\"") if k else "")
            for k, v in zip(node.keys, node.values, strict=True)
        ]
        return node

    def _untouched(self, node: Any) -> Any:
        return node

    visit_Compare = _untouched
    visit_BoolOp = _untouched
    visit_JoinedStr = _untouched
    visit_NamedExpr = _untouched

    def _inside(self, node: Any) -> Any:
        self.inner += 1
        self.generic_visit(node)
        self.inner -= 1
        return node

    visit_ListComp = _inside
    visit_GeneratorExp = _inside
    visit_SetComp = _inside
    visit_DictComp = _inside

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        self.inner += 1
        node.body = self.visit(node.body)
        self.inner -= 1
        return node

    # statements

    def _again(self, name: str, kind: str, node: ast.AST) -> ast.stmt:
        """`name = value(site, name)` after the statement `node`."""
        store = ast.Name(name, ast.Store())
        value = self.wrap(ast.copy_location(ast.Name(name, ast.Load()), node), kind, name, text=name)
        return ast.copy_location(ast.Assign([ast.copy_location(store, node)], value), node)

    def _seen(self, array: ast.expr, node: ast.AST) -> ast.stmt:
        """The array that a statement changed, seen afterwards."""
        load = copy.deepcopy(array)
        for part in ast.walk(load):
            if hasattr(part, "ctx"):
                part.ctx = ast.Load()
        ast.copy_location(load, node)
        value = self.wrap(load, "post", ast.unparse(array))
        return ast.copy_location(ast.Expr(value), node)

    def _after(self, target: ast.expr, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(target, ast.Tuple | ast.List):
            return [self._again(t.id, "bind", t) for t in target.elts if isinstance(t, ast.Name)]
        if isinstance(target, ast.Subscript):
            return [self._seen(array_of(target), node)]
        return []

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        self.statement = node.lineno
        names = ", ".join(ast.unparse(t) for t in node.targets)
        if isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Tuple):
            wanted = [ast.unparse(t) for t in node.targets[0].elts]
            pairs = zip(node.value.elts, [*wanted, *[""] * len(node.value.elts)], strict=False)
            node.value.elts = [self.whole(e, t) for e, t in pairs]
            return [node]
        node.value = self.whole(node.value, names)
        return [node, *(s for t in node.targets for s in self._after(t, node))]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        self.statement = node.lineno
        if node.value is not None:
            node.value = self.whole(node.value, ast.unparse(node.target))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.stmt]:
        self.statement = node.lineno
        node.value = self.whole(node.value, ast.unparse(node.target), "sum")
        if isinstance(node.target, ast.Name):
            return [node, self._again(node.target.id, "post", node)]
        return [node, self._seen(array_of(node.target), node)]

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        self.statement = node.lineno
        if isinstance(node.value, ast.Tuple):
            node.value.elts = [self.whole(e, "return") for e in node.value.elts]
        elif node.value is not None:
            node.value = self.whole(node.value, "return")
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        self.statement = node.lineno
        call = node.value
        if isinstance(call, ast.Constant):
            return node
        func = call.func if isinstance(call, ast.Call) and call.args else None
        if isinstance(func, ast.Attribute) and func.attr in CHANGING and isinstance(call, ast.Call):
            first = call.args[0]
            call.args = [first, *[self.visit(a) for a in call.args[1:]]]
            return [node, self._seen(first, node)]
        node.value = self.visit(call)
        if isinstance(node.value, ast.Call) and isinstance(call, ast.Call):
            func = call.func
            if isinstance(func, ast.Attribute) and func.attr in CHANGING_METHODS - {"append", "extend"}:
                return [node, self._seen(func.value, node)]
        return node

    def _body(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in body:
            new = self.visit(statement)
            found += new if isinstance(new, list) else [new]
        return found

    def _block(self, node: Any) -> Any:
        for name in ("body", "orelse", "finalbody"):
            if getattr(node, name, None):
                setattr(node, name, self._body(getattr(node, name)))
        return node

    visit_If = _block
    visit_While = _block
    visit_With = _block

    def visit_For(self, node: ast.For) -> ast.stmt:
        self.statement = node.lineno
        names = [n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)]
        self._block(node)
        # what the loop hands out is seen as an argument is
        node.body = [*(self._again(n, "argument", node.target) for n in names), *node.body]
        return node

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        for block in (node, *node.handlers):
            self._block(block)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        outer, self.function = self.function, node.name
        inner, self.inner = self.inner, 0
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        self.statement = node.lineno
        enter = ast.parse(f"{FRAME} = {ENTER}()").body[0]
        for part in ast.walk(enter):
            ast.copy_location(part, node)
        seen = [self._again(n, "argument", node) for n in names]
        first = node.body[:1]
        if not (isinstance(first[0], ast.Expr) and isinstance(first[0].value, ast.Constant)):
            first = []
        node.body = [*first, enter, *seen, *self._body(node.body[len(first) :])]
        self.function, self.inner = outer, inner
        return node

    def visit_ClassDef(self, node: ast.ClassDef | ast.Module) -> Any:
        node.body = [self.visit(b) if isinstance(b, ast.FunctionDef | ast.ClassDef) else b for b in node.body]
        return node

    visit_Module = visit_ClassDef


def rewritten(source: str, file: str, first: int) -> tuple[ast.Module, list[Site]]:
    """The module's tree with every value in a function seen, and the sites, numbered from `first`."""
    rewriter = Rewriter(file, first)
    return ast.fix_missing_locations(rewriter.visit(ast.parse(source))), rewriter.sites
