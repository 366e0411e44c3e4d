"""LaTeX formulas as MathML, which browsers draw without fonts and screen readers speak."""

import re
from functools import cache

from latex2mathml.converter import convert

MARKUP = {"<", ">", "&"}
PRIME = '<mrow><mi>f</mi><mo lspace="0" rspace="0">′</mo></mrow>'  # ′ is raised already


@cache
def mathml(tex: str) -> str:
    """What stands inside a `math` element."""
    inner = convert(tex).partition(">")[2].removesuffix("</math>")
    plain = re.sub(r"&#x([0-9A-F]+);", _character, inner).replace(' stretchy="false"', "")
    return plain.replace("<msup><mi>f</mi><mi>′</mi></msup>", PRIME)


def _character(found: re.Match[str]) -> str:
    """The character itself, shorter than its number, unless it would be markup."""
    character = chr(int(found[1], 16))
    return found[0] if character in MARKUP else character
