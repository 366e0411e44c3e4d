"""The same value by a cheaper operation: constants taken together, signs outside, no quotient by a constant.

No rule loses NaN, and none changes more than the roundings of constants and of products with them.
"""

from collections.abc import Callable

from manual.recorded.record import EXACT, Record, Recorded

COMMUTING = ("add", "mul", "min", "max")


def simplified(record: Record, op: str, x: Recorded, *more: Recorded) -> Recorded | None:
    """What stands for op(x, …), or None where the operation itself is best."""
    y = more[0] if more else x
    if all(a.constant for a in (x, *more)):
        known = op in EXACT and all(a.op == "const" for a in (x, *more))
        return record.constant(EXACT[op](x.value, *(a.value for a in more))) if known else None
    if op in COMMUTING and (x.constant or (op == "mul" and x.index > y.index and not y.constant)):
        return record.make(op, y, x)
    rule = RULES.get(op)
    return rule(record, x, *more) if rule else None


def _div(record: Record, x: Recorded, y: Recorded) -> Recorded | None:
    return record.make("mul", x, record.make("div", 1, y)) if y.constant else None


def _mul(record: Record, x: Recorded, y: Recorded) -> Recorded | None:
    if y.is_(1):
        return x
    if any(a.op == "neg" and not a.constant for a in (x, y)):  # a constant keeps its own sign
        product = record.make("mul", *(a.args[0] if a.op == "neg" else a for a in (x, y)))
        return product if x.op == y.op else record.make("neg", product)
    if _scaled(x):  # (p c) y = (p y) c
        p, c = x.args
        if y.constant:
            return record.make("mul", p, record.make("mul", y, c))
        return record.make("mul", record.make("mul", p, y), c)
    if _scaled(y):
        return record.make("mul", record.make("mul", x, y.args[0]), y.args[1])
    return None


def _scaled(x: Recorded) -> bool:
    """Whether it is a value times a constant."""
    return x.op == "mul" and x.args[1].constant and not x.constant


def _neg(record: Record, x: Recorded) -> Recorded | None:
    if x.op == "neg":
        return x.args[0]
    if _scaled(x):
        return record.make("mul", x.args[0], record.make("neg", x.args[1]))
    return None


def _add(record: Record, x: Recorded, y: Recorded) -> Recorded | None:
    if y.op == "neg":
        return record.make("sub", x, y.args[0])
    return record.make("sub", y, x.args[0]) if x.op == "neg" else None


def _sub(record: Record, x: Recorded, y: Recorded) -> Recorded | None:
    return record.make("add", x, y.args[0]) if y.op == "neg" else None


def _select(record: Record, c: Recorded, x: Recorded, y: Recorded) -> Recorded | None:
    return record.make("select", c.args[0], y, x) if c.op == "not" else None


RULES: dict[str, Callable[..., Recorded | None]] = {
    "div": _div,
    "mul": _mul,
    "neg": _neg,
    "add": _add,
    "sub": _sub,
    "select": _select,
}
