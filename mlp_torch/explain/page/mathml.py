"""LaTeX formulas as MathML, which browsers draw without fonts and screen readers speak."""

import re
from functools import cache

from latex2mathml.converter import convert

MARKUP = {"<", ">", "&"}


@cache
def mathml(tex: str) -> str:
    """What stands inside a `math` element."""
    inner = convert(tex).partition(">")[2].removesuffix("</math>")
    return re.sub(r"&#x([0-9A-F]+);", _character, inner).replace(' stretchy="false"', "")


def _character(found: re.Match[str]) -> str:
    """The character itself, shorter than its number, unless it would be markup."""
    character = chr(int(found[1], 16))
    return found[0] if character in MARKUP else character
