"""Which output of which call is wrong, where the call is a compiled kernel: nothing of it can be read."""

import ast
import functools
import linecache
from dataclasses import replace
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from mlp_torch.check.functions.copies import author_s, written
from mlp_torch.check.lines.by_repair.mending import Mender
from mlp_torch.check.lines.explanation import by_value
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.repairs import Hit
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.syntax import enclosing, span

OWN = ("aten", "prims", "prim")  # the namespaces of torch.ops that are torch's own
# what else is known not to be a kernel, by the module that it or its type is of
KNOWN = ("torch", "numpy", "math", "builtins", "functools", "operator", "collections", "itertools", "scipy")


def opaque(callee: Any) -> bool:
    """Whether it is somebody's kernel: neither torch's, nor a function whose lines are the author's."""
    if isinstance(callee, functools.partial):
        return opaque(callee.func)
    if isinstance(callee, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return str(callee).split(".")[0] not in OWN
    if isinstance(callee, torch.jit.ScriptFunction) or type(callee).__name__ == "CustomOpDef":
        return True
    if isinstance(callee, MethodType):
        return not isinstance(callee.__self__, Tensor) and opaque(callee.__func__)
    if isinstance(callee, FunctionType):
        file = callee.__code__.co_filename
        return author_s(file) and not written(file)
    if isinstance(callee, BuiltinFunctionType):
        if isinstance(callee.__self__, Tensor):
            return False
        places = (callee.__module__, getattr(callee.__self__, "__module__", None), _name(callee.__self__))
        return not any(_known(p) for p in places if p)
    return callable(callee) and not isinstance(callee, type) and not _known(type(callee).__module__)


def _name(owner: Any) -> str:
    return str(getattr(owner, "__name__", ""))


def _known(module: str) -> bool:
    return module.split(".")[0] in KNOWN


def kernel_of(hit: Hit, mender: Mender) -> ast.Call | None:
    """The call of a kernel that gave the blamed value."""
    if hit.site < 0:
        return None
    site = mender.program.sources.sites[hit.site]
    call, scope = _call(site, mender), mender.scopes.at(site.file, site.statement)
    if call is None or scope is None:
        return None
    try:
        return call if opaque(scope.read(ast.unparse(call.func))) else None
    except Exception:  # whatever reading it in these variables raises: it is no kernel that is known
        return None


def told(line: GuiltyLine, hit: Hit, mender: Mender) -> GuiltyLine:
    """The line as it is, or which output of which kernel the blamed value is."""
    call = kernel_of(hit, mender)
    if call is None:
        return line
    draw, sites = mender.draws[0], mender.program.sources.sites
    site = sites[hit.site]
    name, which = _output(site, hit)
    where = f"{which} of {ast.unparse(call.func)} at {Path(site.file).name}:{site.statement}"
    wrong = (
        f"{name}, {where}, is wrong: {by_value(hit.candidate.arrays(draw) or {}, draw, sites)}".removesuffix(
            ": "
        )
    )
    if line.mended is not None:
        text = f"{wrong}; or what it is given is: {line.explanation}".removesuffix(": ")
        return replace(line, explanation=text, kernel=where)
    code = linecache.getline(site.file, site.statement).rstrip("\n")
    _, start, last, end = span(call)
    return replace(
        line, line=site.statement, column=start, end=end if last == site.statement else len(code), code=code,
        explanation=wrong, kernel=where,
    )  # fmt: skip


def _call(site: Site, mender: Mender) -> ast.Call | None:
    """The call that gave a site's value."""
    source = mender.source(site)
    statement = enclosing(source.tree, site.line)[0] if source is not None else None
    if statement is None:
        return None
    value = getattr(statement, "value", None)
    if site.kind in ("bind", "post"):
        return value if isinstance(value, ast.Call) else None
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and ast.unparse(node) == site.text and node.lineno == site.line:
            return node
    return None


def _output(site: Site, hit: Hit) -> tuple[str, str]:
    """(what the author calls it, which output of the call it is)."""
    if site.kind == "post":
        return site.text, "filled in by a call"
    names = [n.strip() for n in site.target.strip("()").split(",")]
    if site.kind == "output":
        index = site.index
        named = names[index] if len(names) > index and names[0] not in ("return", "") else _of(hit)
        return named, f"output {index}"
    return names[0] if names[0] not in ("return", "") else _of(hit), "the output"


def _of(hit: Hit) -> str:
    return " and ".join(f"grad_{n}" for n in sorted(hit.mends))
