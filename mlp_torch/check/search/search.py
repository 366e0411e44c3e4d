"""The search: hypotheses put into the backward pass, from the output down, fewest mistakes first."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults import arrays, chain, weights
from mlp_torch.check.faults.claims import Claim, Claims, cost, norm, of_the_chain
from mlp_torch.check.faults.evidence import Evidence, thin
from mlp_torch.check.faults.factors import chain_constants, lacks_upstream
from mlp_torch.check.search.comparison import lone_wrong
from mlp_torch.check.search.descriptions import another_forward
from mlp_torch.check.search.equivalence import coinciding
from mlp_torch.check.search.ranking import doubtful, order, others, plausible, ranked

LIMIT = 64  # sets that fit equally; more are not told apart by a person either
PATIENCE = 3.0  # seconds of work that the first of them waits for the others, on a busy machine too


@dataclass(frozen=True)
class SearchResult:
    """The sets of claims that reproduce every array, the preferred first; `deepest`: how far any came."""

    sets: list[Claims]
    deepest: int
    expired: bool
    described: bool = False  # by another forward pass


def search(c: Evidence, most: int = 3) -> SearchResult:
    """All smallest sets of at most `most` different mistakes that reproduce the author's arrays."""
    few = thin(c)
    if few is None:
        return _search(c, most, between=lambda: another_forward(c))
    outcome = _search(few, most, between=lambda: another_forward(c))
    if not outcome.sets or outcome.described:
        return outcome
    # found on some inputs of the first layer; a set counts when it reproduces every entry
    c.deadline += 3
    return _search(c, most, frozenset(x.key for claims in outcome.sets for x in claims))


def with_one(c: Evidence) -> list[Claims]:
    """The sets of one mistake that reproduce the author's arrays, every entry of them."""
    few = thin(c)
    if few is None:
        return _search(c, 1).sets
    keys = frozenset(x.key for claims in _search(few, 1).sets for x in claims)
    return _search(c, 1, keys).sets if keys else []


def _search(
    c: Evidence, most: int, allowed: frozenset[tuple[str, str]] | None = None,
    between: Callable[[], list[Claims]] = list,
) -> SearchResult:  # fmt: skip
    """`between`: other explanations, asked for where one mistake explains nothing."""
    searcher, end, lone = _Searcher(c, allowed), c.deadline, lone_wrong(c)
    for budget in range(1, most + 1):
        found = searcher.within(budget) if budget == 1 or lone is None else searcher.of_array(lone, budget)
        if found:
            sets = ranked(found)
            if budget < most and all(doubtful(c, claims) for claims in sets):
                c.deadline = min(time.thread_time() + PATIENCE, end)
                sets += ranked(others(found, searcher.within(budget + 1)))[:2]
            return SearchResult(plausible(coinciding(c, sets)), 0, False)
        if budget == 1 and (described := between()):
            return SearchResult(described, 0, False, described=True)
        if c.expired():
            break
    return SearchResult([], searcher.deepest, c.expired())


class _Searcher:
    """Depth first, within a budget; a branch ends at the first layer whose arrays it cannot explain."""

    def __init__(self, c: Evidence, allowed: frozenset[tuple[str, str]] | None = None) -> None:
        self.c, self.allowed = c, allowed
        self.deepest = len(c.problem.layers) + 1
        uses: dict[str, list[int]] = {}
        for part in c.h:
            if part.role == "W":
                uses.setdefault(part.name, []).append(part.layer)
        self.lowest = {name: min(at) for name, at in uses.items() if len(at) > 1}

    def _may(self, claims: Claims) -> bool:
        return self.allowed is None or all(x.key in self.allowed for x in claims)

    def within(self, budget: int) -> list[Claims]:
        found: dict[frozenset[tuple[str, int]], Claims] = {}
        waiting = False
        for claims in self._layer(len(self.c.problem.layers), None, (), budget, {}):
            what = frozenset((x.kind, x.layer) for x in claims)
            if what not in found or order(claims) < order(found[what]):
                found[what] = claims
            # a cut to some length explains any one number: better sets have all the time there is
            if not waiting and not any(x.kind == "clipping" for x in claims):
                waiting = True
                self.c.deadline = min(self.c.deadline, time.thread_time() + PATIENCE)
            if len(found) >= LIMIT or self.c.expired():
                break
        return list(found.values())

    def of_array(self, part: Part, budget: int) -> list[Claims]:
        """The sets of mistakes that one array makes alone, what goes into it being right."""
        c, dz = self.c, self.c.true_deltas()
        above = None if part.layer == len(c.problem.layers) else dz[part.layer + 1]
        da = c.problem.upstream(part.layer, above)
        ways = arrays.explain(c, part, dz[part.layer], da, budget)
        return [way for way in ways if cost(way) <= budget and self._may(way)]

    def _share(self, number: int) -> Array | float:
        """What softmax multiplies da with: a probability of almost 0 has a huge da and a plain dz."""
        softmax = self.c.problem.layers[number - 1].activation == "softmax"
        return self.c.problem.f[number] if softmax else 1.0

    def _steps(self, number: int, u: Array | None, left: int) -> Iterator[chain.ChainStep]:
        if u is None:
            yield from chain.top(self.c, left)
        else:
            yield from chain.hidden(self.c, number, u, left)

    def _layer(
        self, number: int, u: Array | None, so_far: Claims, budget: int, shared: dict[str, Array]
    ) -> Iterator[Claims]:
        """Complete sets below `so_far`; u is the gradient at the layer's output (None: at the loss)."""
        if self.c.expired():
            return
        left = budget - cost(so_far)
        # a mistake made above may be made again at no cost, so steps are always offered once there is one
        for claims, da, dz in self._steps(number, u, max(left, min(cost(so_far), 2))):
            now = (*so_far, *claims)
            if cost(now) > budget or not self._may(claims):
                continue
            balanced = bool(claims) and claims[0].kind == "broadcast" and not da.any()
            if claims and _nothing(dz, da * self._share(number)) and not balanced:
                continue  # a slip that leaves nothing is told as the zero that it is
            yield from self._leaf_and_down(number, da, dz, now, budget, shared)
            if self.c.expired():
                return
        if left >= 1 or any(x.kind == "wrong_activation_derivative" for x in so_far):
            for now, da, dz in chain.fitted(self.c, number, u, so_far, budget, self.lowest):
                yield from self._leaf_and_down(number, da, dz, now, budget, shared)

    def _leaf_and_down(
        self, number: int, da: Array, dz: Array, now: Claims, budget: int, shared: dict[str, Array]
    ) -> Iterator[Claims]:
        if not np.isfinite(dz).all():
            return
        for claims, going in self._through(number, da, dz, now, budget, shared):
            if number < self.deepest:
                self.deepest = number
            if number == 1:
                yield claims
                continue
            left = max(budget - cost(claims), 1 if claims else 0)
            passes: list[tuple[Claims, Array]] = [((), going)]
            layer = self.c.problem.layers[number - 1]
            if layer.activation != "identity" and left >= 1 and dz.shape == da.shape:
                words = f"is passed down without the derivative of {layer.activation}"
                lost = Claim(
                    "missing_activation_derivative",
                    "pass",
                    words,
                    number,
                    line=self.c.names.down(number),
                    odd=0.7,
                )
                passes.append(((lost,), da))
            for extra, carried in passes:
                if not np.isfinite(carried).all() or cost((*claims, *extra)) > budget:
                    continue
                ours = [x for x in claims if x.layer == number and x.name]
                factors = self.c.factors_of(ours) + [x.value for x in ours if x.kind == "clipping"]
                for way, below in weights.ways_down(self.c, number, carried, left, factors):
                    after = (*claims, *extra, *way)
                    if cost(after) <= budget and self._may(after):
                        yield from self._layer(number - 1, below, after, budget, dict(shared))

    def _through(
        self, number: int, da: Array, dz: Array, now: Claims, budget: int, shared: dict[str, Array]
    ) -> Iterator[tuple[Claims, Array]]:
        """Layer number's arrays explained: (claims so far, dz to go on with)."""
        yielded = False
        for claims in self._leaves(number, da, dz, now, budget, shared):
            yielded = True
            yield claims, dz
            if not any(x.layer == number for x in claims[len(now) :]):
                return  # right as it stands
        left = budget - cost(now)
        if left >= 1 or now:
            # a constant would be one mistake too many, but for the 1/N of an upstream that is missing
            spent = left < 1 and of_the_chain(now) and not lacks_upstream(number, now)
            for claims, factor in () if spent else chain_constants(self.c, number, dz, now, self.lowest):
                if cost(claims) > budget or not self._may(claims):
                    continue
                for more in self._leaves(number, da * factor, dz * factor, claims, budget, shared):
                    yield more, dz * factor
            layer = self.c.problem.layers[number - 1]
            if not yielded and layer.activation != "identity":
                words = f"lacks the derivative of {layer.activation}; below it the derivative is there"
                lost = Claim(
                    "missing_activation_derivative",
                    "leaf",
                    words,
                    number,
                    line=f"dW = aᵀ dz{self.c.names.mark(number)}",
                    odd=0.8,
                )
                if cost((*now, lost)) <= budget:
                    for more in self._leaves(number, da, da, (*now, lost), budget, shared):
                        yield more, dz

    def _leaves(
        self, number: int, da: Array, dz: Array, now: Claims, budget: int, shared: dict[str, Array]
    ) -> Iterator[Claims]:
        """All ways to explain the arrays of layer number within the budget."""
        c = self.c
        waiting: list[list[Claims]] = []
        left = budget - cost(now)
        again = 0 if left < 1 and of_the_chain(now) else cost(now)
        for part in c.problem.layers[number - 1].parts:
            if part not in c.h:
                continue  # no gradient was given
            if part.role == "W" and part.name in self.lowest:
                ways = _tied(c, part, da, dz, left, shared, self.lowest)
            else:
                h = c.h[part]
                hints = _hints(now, waiting) if h is not None and h.size <= 2 else ()
                ways = arrays.explain(c, part, dz, da, left + again, hints=hints)
            ways = [way for way in ways if self._may(way)]
            if not ways:
                return
            waiting.append(ways)

        def combine(i: int, claims: Claims) -> Iterator[Claims]:
            if cost(claims) > budget:
                return
            if i == len(waiting):
                yield claims
                return
            for way in waiting[i]:
                yield from combine(i + 1, (*claims, *way))

        yield from combine(0, now)


def _tied(
    c: Evidence, part: Part, da: Array, dz: Array, left: int, shared: dict[str, Array],
    lowest: Mapping[str, int],
) -> list[Claims]:  # fmt: skip
    """A weight used in several layers is judged at the lowest; `shared` carries the sum of its paths."""
    D = c.problem.leaf(part, dz)
    own = D if part.layout == "in,out" else D.T
    shared[f"{part.name} {part.layer}"] = own
    total = np.sum([v for key, v in shared.items() if key.rpartition(" ")[0] == part.name], axis=0)
    if part.layer > lowest[part.name]:
        return [()]
    h = c.h[part]
    whole = total if part.layout == "in,out" else total.T
    found = arrays.explain(c, part, dz, da, left, whole)
    if left and h is not None and not any(len(w) == 0 for w in found):
        R = c.regulariser(part)
        above = whole - D
        for kind, words, value in (
            ("overwritten_gradient", "holds the lower layer's term alone: = for +=", D),
            (
                "missing_accumulation",
                "holds the upper layer's term alone: the lower one is not added",
                above,
            ),
            ("missing_accumulation", "holds the lower layer's term alone: the upper one is not added", D),
            ("overwritten_gradient", "holds the upper layer's term alone: = for +=", above),
        ):
            if c.same(h, value + R, part):
                found.append(
                    (Claim(kind, "path", words, part.layer, part.name, "dW = Σ over its uses of aᵀ dz"),)
                )
    return found


def _nothing(dz: Array, da: Array) -> bool:
    """No sample's dz is more than the rounding of its da."""
    return norm(dz) <= 1e-12 * norm(da) and bool(
        (np.linalg.norm(dz, axis=1) <= 1e-12 * np.linalg.norm(da, axis=1)).all()
    )


def _hints(now: Claims, waiting: list[list[Claims]]) -> list[Claim]:
    """Numbers that larger arrays show, of this layer and those above: small ones follow."""
    claims = [x for way in (now, *(way for ways in waiting for way in ways)) for x in way if x.name]
    return [x for x in claims if x.nameless or x.variant.startswith(("entries", "added", "biases"))]
