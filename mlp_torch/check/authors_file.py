"""The author's Python file: the functions in it by its text, and what stands in it when it is run."""

import ast
import importlib.util
import inspect
import operator
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlp_torch.check.functions.calling.calls import heard, raised, told
from mlp_torch.errors import UserError

# What stands in the name of a function that gives a loss and gradients, the likeliest first.
LIKELY = ("loss_and_grad", "loss_grad", "value_and_grad", "backprop", "backward", "grad", "loss", "cost")


@dataclass(frozen=True)
class Listed:
    """A function, method or class of the file, as one line of a list."""

    name: str
    line: int
    arguments: str
    rank: int


def listed(path: str) -> list[Listed]:
    """The file's functions without running it, the likeliest first. Raises UserError."""
    found = [_listed(n) for n in parsed(path).body if isinstance(n, ast.FunctionDef)]
    return sorted(found, key=lambda f: (f.rank, f.line))


def parsed(path: str) -> ast.Module:
    """The file's text as a tree. Raises UserError for what is no Python."""
    try:
        return ast.parse(Path(path).read_bytes())  # bytes, whose first lines may say how they are encoded
    except SyntaxError as error:
        raise UserError(_no_python(path, error)) from None
    except (RecursionError, MemoryError):
        raise UserError(f"{path}: is nested too deep to be read") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _no_python(path: str, error: SyntaxError) -> str:
    return f"{path}: is no Python: {f'line {error.lineno}: ' if error.lineno else ''}{error.msg}"


def _names(path: str) -> set[str]:
    """What the file assigns or defines outside its functions and classes."""
    waiting: list[ast.AST] = list(parsed(path).body)
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def _listed(node: ast.FunctionDef) -> Listed:
    low = node.name.lower()
    rank = next((i for i, word in enumerate(LIKELY) if word in low), len(LIKELY))
    pairs = [n for n in ast.walk(node) if isinstance(n, ast.Return) and isinstance(n.value, ast.Tuple)]
    takes = len(node.args.args) + len(node.args.posonlyargs)
    return Listed(node.name, node.lineno, ast.unparse(node.args), rank + (0 if pairs and takes > 1 else 100))


def listing(path: str) -> str:
    """The functions of the file, one a line, with what to type. Raises UserError where there is none."""
    found = listed(path)
    if not found:
        raise UserError(f"{path}: has no function; it needs one that gives (loss, gradients)")
    lines = [f"{path}: say which of its functions is to be checked"]
    typed = [f"mlp check {path}:{f.name}" for f in found]
    wide = max(map(len, typed))
    lines += [
        f"  {shown.ljust(wide)}  # line {f.line}: {f.name}({f.arguments})"
        for shown, f in zip(typed, found, strict=True)
    ]
    there = _names(path)
    needed = ("parameters",) if "data" in there else ("parameters", "x", "y")
    if missing := [n for n in needed if n not in there]:
        lines.append(f"beside it the file must hold {', '.join(missing)}: what the function is called with")
    return "\n".join(lines)


def function_of(module: Any, path: str, name: str) -> Any:
    """What `name` (also object.method) stands for. Raises UserError with the functions that there are."""
    try:
        found = operator.attrgetter(name)(module)
    except AttributeError:
        names = [f.name for f in listed(path)]
        near = get_close_matches(name, names, n=1, cutoff=0.4)
        meant = f"; perhaps you meant {path}:{near[0]}" if near else ""
        there = f"; it has {', '.join(names)}" if names else "; it has none"
        raise UserError(f"{path}: has no function {name!r}{meant}{there}") from None
    if not callable(found) and not hasattr(found, "__dict__"):
        raise UserError(f"{path}: {name} is a {type(found).__name__}, no function")
    return found


def held(module: Any, name: str, path: str) -> Any:
    if not hasattr(module, name):
        raise UserError(f"{path}: needs `{name}` beside the function: parameters, and data = (x, y)")
    value = getattr(module, name)
    return told(value) if inspect.isroutine(value) else value


def module_of(path: str) -> tuple[Any, tuple[str, ...]]:
    """(the file as a module, notes of what it printed). Raises UserError where it cannot be run."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # tracing looks the author's functions up there
    sys.path.insert(0, str(file.resolve().parent))
    try:
        with heard() as said:
            spec.loader.exec_module(module)
    except SyntaxError as error:
        other = error.filename and Path(error.filename).resolve() != file.resolve()
        if other:  # of what the file imports or evaluates
            raise UserError(f"{path}: cannot be imported: it {raised(error)}") from None
        raise UserError(_no_python(path, error)) from None
    except (Exception, SystemExit) as error:  # whatever the file does when it is run
        raise UserError(f"{path}: cannot be imported: it {raised(error)}") from None
    finally:
        sys.path.pop(0)
    return module, said.notes(file.name)
