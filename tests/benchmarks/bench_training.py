"""How long training takes, side by side with what else one would pick; prints Markdown tables.

    python -m pip install -e '.[bench]'
    python tests/benchmarks/bench_training.py              # all of it, twenty minutes
    python tests/benchmarks/bench_training.py --readme     # into README.md and training.png
    python tests/benchmarks/bench_training.py --scaling    # cost against rows and epochs

Every candidate trains the same network on the same data with the same batch, epochs and optimizer, in a
warm process of its own; the runs of a round follow each other, in alternating order; figures are medians
over the rounds, ratios are medians of the ratios within a round. Start-up and the first run (what is
compiled or built once, and a whole training) are told apart from the warm rounds. Losses are computed
after the clock, by the same code for all. Leave the machine alone meanwhile.
"""

import argparse
import sys
from pathlib import Path

from race.candidates import CANDIDATES
from race.files import dump, load, place, replace
from race.machine import caption
from race.picture import draw
from race.problems import PROBLEMS
from race.rounds import Results, race
from race.scaling import scaling
from race.table import report

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "tests" / "benchmarks" / "training.png"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags; a run that is not the whole one does not go into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PROBLEMS), metavar="PROBLEM", help="of A B C D")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), help="these, and no others")
    parser.add_argument("--rounds", type=int, default=7, help="warm rounds (default 7)")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of every problem: only to see that it runs"
    )
    parser.add_argument("--scaling", action="store_true", help="instead: cost against rows and epochs")
    parser.add_argument(
        "--readme", action="store_true", help="write it into README.md, with training.png beside this file"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run")
    parser.add_argument("--load", type=Path, metavar="FILE", help="measure nothing, take what --json wrote")
    flags = parser.parse_args(argv)
    if flags.rounds < 1:
        parser.error("--rounds: at least 1")
    if flags.readme and (flags.only or flags.candidates or flags.quick or flags.rounds < 7):
        parser.error("--readme takes the whole run: leave out --only, --candidates, --quick, keep --rounds 7")
    return flags


def measure(flags: argparse.Namespace) -> Results:
    """Problem after problem; what happens is said on stderr."""
    results = {}
    for name in flags.only or PROBLEMS:
        spec = PROBLEMS[name].quick() if flags.quick else PROBLEMS[name]
        names = [n for n in flags.candidates or CANDIDATES if name in CANDIDATES[n].only]
        results[name] = race(spec, names, flags.rounds, lambda text: print(text, file=sys.stderr, flush=True))
    return results


def into_readme(part: str, name: str) -> None:
    """Put a table between its markers."""
    readme = ROOT / "README.md"
    replace(readme, place(readme.read_text(encoding="utf-8"), part, name))


def main() -> None:
    flags = arguments()
    if flags.scaling:
        dated = caption()
        text = f"{dated}\n\n{scaling(flags.candidates or list(CANDIDATES), flags.quick)}"
        into_readme(text, "scaling") if flags.readme else print(text)
        return
    if flags.load:
        results, dated = load(flags.load.read_text(encoding="utf-8"))
    else:
        dated = caption()
        results = measure(flags)
        if flags.json:
            replace(flags.json, dump(results, dated))
    if flags.readme and list(results) != list(PROBLEMS):
        sys.exit(f"--readme takes a whole run; --load {flags.load} holds {', '.join(results)} only")
    text = report(results, dated)
    if flags.plot:
        draw(results, flags.plot)
    if flags.readme:
        draw(results, PICTURE)
        into_readme(f"{text}\n\n![Seconds of a warm run, log scale]({PICTURE.relative_to(ROOT)})", "training")
    else:
        print(text)


if __name__ == "__main__":
    main()
