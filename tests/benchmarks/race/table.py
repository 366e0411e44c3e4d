"""The measured rounds as Markdown: seconds and multiples of the floor, ratios, costs, final losses."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from race.candidates import CANDIDATES
from race.problems import PROBLEMS
from race.rounds import SETTLED, Measured, Results
from race.scores import fastest, floor, learned_less, middle, ratio


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def header(first: str, columns: Sequence[str]) -> list[str]:
    return [row([first, *columns]), "|" + "---|" * (len(columns) + 1)]


def plain(name: str) -> str:
    """A candidate's label without its bold."""
    return CANDIDATES[name].label.replace("**", "")


def shown(results: Results) -> list[str]:
    """The candidates that get a row of their own, in the order of their table; floors share one."""
    return [n for n, c in CANDIDATES.items() if c.kind != "floor" and any(n in r for r in results.values())]


def number(value: float) -> str:
    """Three digits, never in powers of ten."""
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:.0f}"


def cell(results: Results, problem: str, name: str, text: Callable[[Measured], str]) -> str:
    m = results[problem].get(name)
    if m is None:
        return "–"
    if m.missing:
        return "missing"
    return text(m)


def seconds(results: Results) -> list[str]:
    """Median seconds of a warm run, with the multiple of the floor in brackets."""
    titles = [f"{p}: {PROBLEMS[p].title}" for p in results]
    lines = header("warm run, seconds (× floor)", titles)
    floors = {p: floor(measured) for p, measured in results.items()}
    less = {p: learned_less(measured) for p, measured in results.items()}

    def text(problem: str, name: str) -> Callable[[Measured], str]:
        def of(m: Measured) -> str:
            base = floors[problem]
            times = f" ({number(ratio(m, results[problem][base]))}×)" if base else ""
            factor = less[problem].get(name)
            flag = f" **learns less: {factor:.2f} × the others' loss**" if factor else ""
            return number(middle(m, lambda run: run.seconds)) + times + flag

        return of

    def of_floor(problem: str) -> str:
        name = floors[problem]
        if name is None:
            return "missing" if any(CANDIDATES[n].kind == "floor" for n in results[problem]) else "–"
        least = number(middle(results[problem][name], lambda run: run.seconds))
        return f"{least} ({plain(name).removeprefix('floor: ')})"

    lines.append(row(["floor: the matrix products alone", *(of_floor(p) for p in results)]))
    for name in shown(results):
        cells = [cell(results, p, name, text(p, name)) for p in results]
        lines.append(row([CANDIDATES[name].label, *cells]))
    return lines


def ratios(results: Results) -> list[str]:
    """How many times as fast the fastest engine is as JAX and as the fastest other trainer."""

    def times(problem: str, ours: str | None, other: str | None, named: bool = False) -> str:
        if ours is None or other is None:
            return "–"
        measured = results[problem]
        text = f"{number(ratio(measured[other], measured[ours]))}×"
        return f"{text} ({plain(other)})" if named else text

    ours = {p: fastest(m, lambda c: c.kind == "ours") for p, m in results.items()}
    bare = {p: fastest(m, lambda c: c.kind == "ours" and not c.extra) for p, m in results.items()}
    scan = {p: fastest(m, lambda c: c.kind == "scan") for p, m in results.items()}
    trainer = {p: fastest(m, lambda c: c.kind == "trainer") for p, m in results.items()}
    full = {p: fastest(m, lambda c: c.kind == "full") for p, m in results.items()}
    base = {p: floor(m) for p, m in results.items()}
    engine = {p: plain(n) if (n := ours[p]) else "–" for p in results}
    over_floor = {
        p: number(ratio(results[p][a], results[p][b])) if (a := ours[p]) and (b := base[p]) else "–"
        for p in results
    }
    return [
        *header("how many times as fast", list(results)),
        row(["the fastest engine", *engine.values()]),
        row(["as JAX's scan", *(times(p, ours[p], scan[p]) for p in results)]),
        row(["as the fastest other trainer", *(times(p, ours[p], trainer[p], True) for p in results)]),
        row(["without extras, as that trainer", *(times(p, bare[p], trainer[p]) for p in results)]),
        row(["as lbfgs to the same loss", *(times(p, ours[p], full[p]) for p in results)]),
        row(["its multiple of the floor", *over_floor.values()]),
    ]


def costs(results: Results) -> list[str]:
    """Start-up, and for each problem the first run, a warm one's CPU seconds, the first's memory."""
    columns = [f"{p}: first run, s · warm, CPU s · peak, MB" for p in results]
    lines = header("what a run costs", ["start-up, s", *columns])

    def text(m: Measured) -> str:
        assert m.first
        cpu = middle(m, lambda run: run.cpu)
        return f"{number(m.first.seconds)} · {number(cpu)} · {m.first.peak:.0f}"

    for name in shown(results):
        starts = [r[name].startup for r in results.values() if name in r and not r[name].missing]
        start = number(sorted(starts)[len(starts) // 2]) if starts else "missing"
        lines.append(row([CANDIDATES[name].label, start, *(cell(results, p, name, text) for p in results)]))
    return lines


def losses(results: Results) -> list[str]:
    """What was learned: loss and accuracy on the training data after the last epoch."""

    def text(m: Measured) -> str:
        loss, accuracy = (middle(m, attrgetter(part)) for part in ("loss", "accuracy"))
        return f"{number(loss)} ({accuracy:.1%})"

    lines = header("loss at the end (accuracy)", list(results))
    return lines + [
        row([CANDIDATES[n].label, *(cell(results, p, n, text) for p in results)]) for n in shown(results)
    ]


def notes(results: Results) -> list[str]:
    """What the reader must know of a row: who is missing and why, who draws what itself, who ran less."""
    lines = []
    missing: dict[str, list[str]] = {}
    for problem, measured in results.items():
        for name, m in measured.items():
            if m.missing:
                missing.setdefault(f"{plain(name)}: {m.missing}", []).append(problem)
    lines += [f"- Missing: {why} ({', '.join(problems)})." for why, problems in missing.items()]
    own = [f"{plain(n)} draws its own {CANDIDATES[n].own}" for n in shown(results) if CANDIDATES[n].own]
    if own:
        lines.append(f"- Weights and order are the same for all, but {'; '.join(own)}.")
    passes = [
        f"{p}: {middle(m, lambda run: run.passes or 0):.0f} passes"
        for p, measured in results.items()
        for name, m in measured.items()
        if CANDIDATES[name].kind == "full" and m.rounds
    ]
    if passes:
        lines.append(
            "- lbfgs is a method of the full batch: a run goes on until its loss is the one at which the "
            f"others' first run ended ({', '.join(passes)})."
        )
    lines += [
        f"- {plain(n)} is left out of {' and '.join(sorted(out))}: {CANDIDATES[n].why}."
        for n in shown(results)
        if (out := set(results) - set(CANDIDATES[n].only))
    ]
    most = max((len(m.rounds) for r in results.values() for m in r.values()), default=0)
    fewer = any(
        0 < len(m.rounds) < most and CANDIDATES[name].kind != "floor"
        for measured in results.values()
        for name, m in measured.items()
    )
    if fewer:
        lines.append(f"- Medians of {most} rounds; where they decide no ratio, of the first {SETTLED}.")
    elif most:
        lines.append(f"- Medians of {most} round{'s' if most > 1 else ''}.")
    return lines


def joined(*parts: list[str]) -> str:
    return "\n\n".join("\n".join(part) for part in parts if part)


def short(results: Results, caption: str) -> str:
    """What the page shows first: the date and the processor, ratios, seconds, notes."""
    one = [p for p in results if PROBLEMS[p].threads == 1]
    threads = f"On one thread: {', '.join(one) or 'none'}; the others on two."
    return joined([f"{caption} {threads}"], ratios(results), seconds(results), notes(results))


def rest(results: Results) -> str:
    """The tables of the benchmark's own page: costs and losses."""
    return joined(costs(results), losses(results))


def report(results: Results, caption: str) -> str:
    """The whole of it."""
    return f"{short(results, caption)}\n\n{rest(results)}"
