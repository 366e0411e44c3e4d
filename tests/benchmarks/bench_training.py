"""How long training takes, side by side with what else one would pick; prints Markdown tables.

    python -m pip install -e '.[bench]'
    python tests/benchmarks/bench_training.py              # all of it, twenty minutes
    python tests/benchmarks/bench_training.py --readme     # into README.md beside it, under its processor
    python tests/benchmarks/bench_training.py --scaling    # how the cost grows, ten minutes; --readme too

Every candidate trains the same network on the same data with the same batch, epochs and optimizer, in a
warm process of its own; the runs of a round follow each other, in alternating order; figures are medians
over the rounds, ratios are medians of the ratios within a round. Start-up and the first run (what is
compiled or built once, and a whole training) are told apart from the warm rounds. Losses are computed
after the clock, by the same code for all. Leave the machine alone meanwhile.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from race.candidates import CANDIDATES
from race.curves import curves
from race.files import dump, load, place, replace
from race.machine import caption, kind
from race.picture import draw
from race.problems import PROBLEMS
from race.rounds import Results, race
from race.scaling import scaling, tables
from race.table import report, rest, short

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests" / "benchmarks" / "README.md"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags; a run that is not the whole one does not go into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PROBLEMS), metavar="PROBLEM", help="of A B C D")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), help="these, and no others")
    parser.add_argument("--rounds", type=int, default=7, help="warm rounds (default 7)")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of every problem: only to see that it runs"
    )
    parser.add_argument("--scaling", action="store_true", help="instead: how the cost grows")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="write it, with its picture, into README.md beside this file",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run")
    parser.add_argument("--load", type=Path, metavar="FILE", help="measure nothing, take what --json wrote")
    flags = parser.parse_args(argv)
    if flags.rounds < 1:
        parser.error("--rounds: at least 1")
    if flags.readme and (flags.only or flags.candidates or flags.quick or flags.rounds < 7):
        parser.error("--readme takes the whole run: leave out --only, --candidates, --quick, keep --rounds 7")
    if flags.scaling and (flags.only or flags.candidates or flags.load):
        parser.error("--scaling measures every quantity: leave out --only, --candidates, --load")
    return flags


def say(text: str) -> None:
    """What happens, on stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(flags: argparse.Namespace) -> Results:
    """Problem after problem."""
    results = {}
    for name in flags.only or PROBLEMS:
        spec = PROBLEMS[name].quick() if flags.quick else PROBLEMS[name]
        names = [n for n in flags.candidates or CANDIDATES if name in CANDIDATES[n].only]
        results[name] = race(spec, names, flags.rounds, say)
    return results


def into(page: Path, part: str, name: str) -> None:
    """Put a table between its markers; those of other processors stay."""
    replace(page, place(page.read_text(encoding="utf-8"), part, name))


def picture(what: str, processor: str) -> Path:
    """Where the picture of a kind of processor lies: beside the page that shows it."""
    return PAGE.with_name(f"{what}-{processor.lower()}.png")


def grown(flags: argparse.Namespace) -> None:
    """Measure how the cost grows; print it, or put it into the page."""
    dated, found = caption(), scaling(flags.quick, say)
    text = f"{dated}\n\n{tables(found)}"
    if flags.plot:
        curves(found, flags.plot)
    if flags.json:
        replace(flags.json, json.dumps({"caption": dated, **asdict(found)}, indent=1))
    if not flags.readme:
        print(text)
        return
    file = picture("scaling", kind())
    curves(found, file)
    into(PAGE, f"{text}\n\n![Microseconds a sample, log scales]({file.name})", f"scaling {kind()}")


def raced(flags: argparse.Namespace) -> None:
    """Measure or load the race; print it, or put it into the page."""
    if flags.load:
        results, dated, processor = load(flags.load.read_text(encoding="utf-8"))
    else:
        dated, processor = caption(), kind()
        results = measure(flags)
        if flags.json:
            replace(flags.json, dump(results, dated, processor))
    if flags.readme and list(results) != list(PROBLEMS):
        sys.exit(f"--readme takes a whole run; --load {flags.load} holds {', '.join(results)} only")
    if flags.plot:
        draw(results, flags.plot)
    if not flags.readme:
        print(report(results, dated))
        return
    file = picture("training", processor)
    draw(results, file)
    shown = f"![Seconds of a warm run, log scale]({file.name})"
    into(PAGE, f"{short(results, dated)}\n\n{shown}\n\n{rest(results)}", f"training {processor}")


def main() -> None:
    flags = arguments()
    (grown if flags.scaling else raced)(flags)


if __name__ == "__main__":
    main()
