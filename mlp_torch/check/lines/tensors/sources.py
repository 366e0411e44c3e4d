"""The author's files on tensors: a site is also what is written in place, by a_(…) or into an argument."""

import ast
from typing import Any

from mlp_torch.check.lines.program import Sources
from mlp_torch.check.lines.rewriting import Rewriter
from mlp_torch.check.lines.sites import Site

SAID = ("print", "ctx.save_for_backward", "ctx.mark_dirty", "ctx.mark_non_differentiable")
VIEWS = frozenset({
    "view", "view_as", "reshape", "narrow", "select", "transpose", "permute", "t", "squeeze", "unsqueeze",
    "flatten", "expand", "diagonal", "detach", "unflatten", "movedim", "swapaxes",
})  # fmt: skip


class TensorRewriter(Rewriter):
    """Torch's ways to write: methods that end in _, out=, and calls that fill their arguments."""

    def visit_Name(self, node: ast.Name) -> ast.expr:  # noqa: N802  # ast names it
        return node if node.id in ("torch", "F", "functional", "nn", "ctx") else super().visit_Name(node)

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:  # noqa: N802  # ast names it
        if "saved_tensors" in ast.unparse(node.value):  # no gradient stands there
            return [node]
        return super().visit_Assign(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:  # noqa: N802  # ast names it
        if written_by(node) is None:
            return super().visit_Call(node)
        text = ast.unparse(node)  # the tensor itself must be written into, not what stands for it
        node.args = [self._handed(a) for a in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return self.wrap(node, "calc", text=text)

    def visit_Expr(self, node: ast.Expr) -> Any:  # noqa: N802  # ast names it
        call = node.value
        if not isinstance(call, ast.Call):
            return super().visit_Expr(node)
        self.statement = node.lineno
        target = written_by(call)
        if target is not None:
            filled = [target]
        elif ast.unparse(call.func) in SAID or _method(call) in ("append", "extend"):
            return super().visit_Expr(node)
        else:
            given = [*call.args, *(k.value for k in call.keywords)]
            filled = [a for a in given if isinstance(a, ast.Name)]
        new = ast.copy_location(ast.Expr(self._kept(call, filled)), node)
        return [new, *(self._seen(a, node) for a in filled)]

    def _kept(self, call: ast.Call, filled: list[ast.expr]) -> ast.expr:
        """The call with its arguments seen, but for those that it may fill."""
        held = {id(a) for a in filled}
        text = ast.unparse(call)
        call.args = [a if id(a) in held else self._handed(a) for a in call.args]
        for keyword in call.keywords:
            if id(keyword.value) not in held:
                keyword.value = self.visit(keyword.value)
        return self.wrap(call, "calc", text=text)


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def written_by(call: ast.Call) -> ast.expr | None:
    """The variable that a method whose name ends in _ writes into, through views of it as well."""
    name = _method(call)
    if not name.endswith("_") or name.endswith("__") or not isinstance(call.func, ast.Attribute):
        return None
    node: ast.expr = call.func.value
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VIEWS:
            node = node.func.value
        elif isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "data")
        ):
            node = node.value
        else:
            break
    if isinstance(node, ast.Name) and node.id in ("torch", "F"):
        return None
    return node if isinstance(node, ast.Name | ast.Attribute) else None


class TensorSources(Sources):
    """The author's files, rewritten for tensors."""

    def rewritten(self, text: str, file: str) -> tuple[ast.Module, list[Site]]:
        tree = ast.parse(text)
        rewriter = TensorRewriter(file, len(self.sites))
        tree.body = [
            rewriter.visit(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else node
            for node in tree.body
        ]
        ast.fix_missing_locations(tree)
        return tree, rewriter.sites
