"""What is said of a fault: its line, and what is wrong with its value, each word checked on the numbers."""

import ast
import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.candidates import PARAMETER, Candidate
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.repairs import Hit
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.syntax import ADDED
from mlp_torch.check.lines.trials import Mended

LOOSE = 1e-7


@dataclass
class Verdict:
    """One fault: the value that is wrong or the edit that mends it, and the edits that mend as well."""

    hit: Hit | None
    mended: Mended | None
    others: list[Mended] = field(default_factory=list)
    other_hits: list[Hit] = field(default_factory=list)
    draws: Sequence[Draw] = ()  # on which it was found: other faults may be repaired there
    sites: Sequence[Site] = ()


def told(verdict: Verdict) -> GuiltyLine:
    """What is said of a fault."""
    draws, sites = verdict.draws, verdict.sites
    if verdict.mended is not None:
        return _told_by_edit(draws, sites, verdict.mended, verdict.others)
    hit = verdict.hit
    assert hit is not None
    site = sites[hit.site]
    code = linecache.getline(site.file, site.line).rstrip("\n")
    arrays = hit.candidate.arrays(draws[0]) or {}
    said = [told(Verdict(h, None, draws=draws, sites=sites)) for h in verdict.other_hits]
    others = {g.line: g for g in said if g.line != site.line}
    return GuiltyLine(
        site.file, site.line, site.column, site.function or "<lambda>", code,
        stands_for(hit.candidate, sites), by_value(arrays, draws[0], sites), tuple(sorted(hit.mends)), True,
        None, tuple(others.values()), site.end, len(draws),
    )  # fmt: skip


def _told_by_edit(
    draws: Sequence[Draw], sites: Sequence[Site], mended: Mended, others: Sequence[Mended] = ()
) -> GuiltyLine:
    """What is said of a line that an edit mends, or after which one is missing."""
    code, edit = mended.before, mended.edit
    first = code.split("\n")[0].encode()
    column = len(first[: edit.span[1]].decode())
    end = len(first[: edit.span[3] if edit.span[0] == edit.span[2] else len(first)].decode())
    words = by_edit(mended, draws[0], sites) or by_value(mended.values, draws[0], sites)
    if edit.text.startswith(ADDED) or edit.text.endswith(ADDED):
        column, end = 0, len(code)
        where = "after" if edit.text.startswith(ADDED) else "before"
        words = f"{where} this line, {edit.text.removeprefix(ADDED).removesuffix(ADDED)} is missing"
    function = next((s.function for s in sites if (s.file, s.statement) == (mended.file, mended.line)), "")
    alternatives = tuple(_told_by_edit(draws, sites, other) for other in others)
    return GuiltyLine(
        mended.file, mended.line, column, function, code, meant(mended, draws[0], sites), words,
        tuple(sorted(mended.arrays)), True,
        mended.after, alternatives, end, len(draws), joint=mended.joint,
    )  # fmt: skip


def meant(mended: Mended, draw: Draw, sites: Sequence[Site]) -> str:
    """The gradient that the edited value is; nothing where it is none of the forward pass's."""
    if not mended.values:
        return ""
    at, value = min(mended.values.items(), key=lambda pair: draw.order[pair[0]])
    found = {
        number: g for (number, _), g in draw.truth.items()
        if g is not None and sites[number].assigned and g.any() and close(value, g)
    }  # fmt: skip
    own = sites[at[0]].target or ""
    named = [n for n in found if sites[n].target and sites[n].target in own]
    best = max(named or found, default=None, key=lambda n: (n in named, len(sites[n].target or ""), -n))
    return "" if best is None else stands_for(Candidate(best, "", best, name=""), sites)


def stands_for(candidate: Candidate, sites: Sequence[Site]) -> str:
    """∂L/∂z1, where z1 is what the forward site calls its value."""
    if candidate.source == PARAMETER and not candidate.name:
        return ""  # a value that was solved for
    if candidate.source == PARAMETER:
        what = f"∂L/∂{candidate.name}"
    else:
        site = sites[candidate.source]
        name = site.target if site.target and site.target != "return" else site.text
        short = name if len(name) <= 40 else name[:37] + "…"
        what = f"∂L/∂({short})" if not short.replace("_", "").isalnum() else f"∂L/∂{short}"
        what += f" (line {site.line})"
    if candidate.factor != 1:
        what = f"{candidate.factor:.6g}·{what}"
    return what


def by_edit(mended: Mended, draw: Draw, sites: Sequence[Site]) -> str:
    """The words of an edit that exchanges one variable for another; else nothing."""
    new = mended.edit.text
    first, start, last, end = mended.edit.span
    line = mended.before.splitlines()[0].encode()
    old = line[start:end].decode() if first == last else ""
    try:
        a, b = ast.parse(old, mode="eval").body, ast.parse(new, mode="eval").body
    except SyntaxError:
        return ""
    names = (ast.Name, ast.Attribute, ast.Subscript)
    if isinstance(b, ast.Attribute) and b.attr == "T" and ast.unparse(b.value) == ast.unparse(a):
        return f"reads {old} where {new} is meant"
    if isinstance(a, names) and isinstance(b, names):
        defined = next(
            (s for s in sites if s.target == new and s.file == mended.file and s.kind != "argument"), None
        )
        said = f" = {defined.text} (line {defined.line})" if defined and len(defined.text) < 50 else ""
        return f"reads {old} where {new}{said} is meant"
    if isinstance(a, ast.Constant) and isinstance(b, ast.Constant):
        return f"has {old} where {new} is meant"
    if isinstance(a, ast.Compare) and isinstance(b, ast.Compare):
        return f"compares {old} where {new} is meant"
    return ""


def by_value(arrays: Mapping[At, Array], draw: Draw, sites: Sequence[Site]) -> str:
    """What the author's value is to the right one: a factor, a part of its paths, a transpose …"""
    wrong = [(at, a) for at, a in arrays.items() if not close(draw.values[at[0]][at[1]], a)]
    if not wrong:
        return ""
    at, true = min(wrong, key=lambda pair: draw.order[pair[0]])
    v = draw.values[at[0]][at[1]]
    if v.shape != true.shape:
        return f"has shape {v.shape} where {true.shape} is meant"
    if not v.any() and true.any():
        return "is all zero"
    if not np.isfinite(v).all():
        return "holds NaN or infinite entries"
    square = float((true * true).sum())
    if square and v.size > 1:
        c = float((v * true).sum()) / square
        if c and close(v, c * true, LOOSE):
            return "has the opposite sign" if abs(c + 1) < LOOSE else f"is {_constant(c, draw)} it should be"
    if v.ndim == 2 and v.shape[0] == v.shape[1] and close(v, true.T, LOOSE):
        return "is transposed"
    differ = np.abs(v - true) > LOOSE * np.abs(true).max()
    if v.any() and not differ.all() and not v[differ].any():
        return f"is right where it is written; {int(differ.sum())} of {v.size} entries never are"
    return _paths(v, true, draw, sites) or _factor(v, true, draw, sites)


def _constant(c: float, draw: Draw) -> str:
    """The factor in words: N = 7 times what, ½ of what."""
    sizes = {
        int(d): f"{name}.shape[{i}]"
        for name, value in [*draw.true.items(), *((f"data[{j}]", x) for j, x in enumerate(draw.data))]
        if isinstance(value, np.ndarray)
        for i, d in enumerate(value.shape)
    }
    for size, text in sizes.items():
        if size > 1 and abs(abs(c) - size) < LOOSE * size:
            return f"{c:.6g} ({text}) times what"
        if size > 1 and abs(abs(c) * size - 1) < LOOSE:
            return f"1/{size} (1/{text}) of what" if c > 0 else f"−1/{size} of what"
    return f"{c:.6g} times what"


def _paths(v: Array, true: Array, draw: Draw, sites: Sequence[Site]) -> str:
    """A path that is missing, is there once too often or has the other sign: gradients of single uses."""
    missing = true - v
    for (number, count), g in draw.truth.items():
        if g is None or g.shape != v.shape or not g.any() or count > 8:
            continue
        site = sites[number]
        if site.kind not in ("use", "calc", "alias"):
            continue
        text = site.text if len(site.text) <= 40 else site.text[:37] + "…"
        if close(missing, g, LOOSE):
            return f"lacks the path through {text} (line {site.line})"
        if close(-missing, g, LOOSE):
            return f"holds the path through {text} (line {site.line}) once too often"
        if close(missing, 2 * g, LOOSE):
            return f"has the path through {text} (line {site.line}) with the other sign"
    return ""


def _factor(v: Array, true: Array, draw: Draw, sites: Sequence[Site]) -> str:
    """An array that is a factor too few or too many."""
    with np.errstate(all="ignore"):
        ratio = np.where(true == 0, np.nan, v / true)
        known = np.isfinite(ratio)
        if not known.any() or known.sum() < 2:
            return ""
        for number, values in draw.values.items():
            if draw.truth.get((number, 0)) is None or len(sites[number].text) > 30:
                continue
            for w in values[:4]:
                if w.shape != v.shape:
                    continue
                for factor, words in (
                    (w, "has the factor {} once too often"), (1 / w, "lacks the factor {}"),
                    (1 - w * w, "has the factor 1 − {}² once too often"),
                    (1 / (1 - w * w), "lacks the factor 1 − {}²"),
                    (1 / (w * (1 - w)), "lacks the factor {0}(1 − {0})"),
                ):  # fmt: skip
                    if np.allclose(ratio[known], np.broadcast_to(factor, v.shape)[known], rtol=LOOSE, atol=0):
                        name = sites[number].target or sites[number].text
                        return words.format(name)
        mask = ratio[known]
        if np.isin(np.round(mask, 9), (0.0, 1.0)).all():
            return "is masked where it should not be"
    return ""
