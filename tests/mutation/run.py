"""Mutation testing: every operator, number, name and argument of a formula is changed, one at a time.

    python -m pip install -e '.[mutation]'
    python -m tests.mutation.run                        # every subject of the table, some minutes each
    python -m tests.mutation.run losses                 # one

mutmut changes a copy of the checkout; of the tests that `modules.py` names for a subject one must fail on
each change. What survives must be explained in `survivors.txt`, which lists the mutants that are equivalent:
no input tells them from the formula. Ends with 1 if one survives that is not explained.

Killed on 2026-11-26, every survivor explained: activations 98.3 % (399 of 406), losses 98.6 % (360 of 365),
optimizers with schedules 99.1 % (449 of 453), layers 100 %, chain 99.8 %; bounds 100 % (378 of 378).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutation.modules import SUBJECTS, Subject

ROOT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("survivors.txt")
ALIVE = ("survived", "no tests", "suspicious")
SETUP = """[mutmut]
source_paths=
    manual
    mlp_torch
only_mutate=
    {modules}
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    -p
    no:cacheprovider
    --hypothesis-profile
    any
timeout_constant=30

[tool:pytest]
filterwarnings = error
markers =
    long: proofs that take minutes
"""

Change = tuple[str, str]  # the line as it is, and as the mutant has it


def explained(text: str) -> dict[Change, str]:
    """The reasons of survivors.txt, by the change that each explains."""
    found = {}
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        minus = "\n".join(line[2:].strip() for line in lines if line.startswith("- "))
        plus = "\n".join(line[2:].strip() for line in lines if line.startswith("+ "))
        if minus or plus:
            found[minus, plus] = " ".join(line for line in lines if line[:2] not in ("- ", "+ "))
    return found


def change(diff: str) -> Change:
    """The lines that a unified diff takes and gives."""
    lines = [line for line in diff.splitlines() if line[:3] not in ("---", "+++")]
    return (
        "\n".join(line[1:].strip() for line in lines if line.startswith("-")),
        "\n".join(line[1:].strip() for line in lines if line.startswith("+")),
    )


def mutated(subject: Subject, folder: Path) -> tuple[int, int, dict[str, str]]:
    """(mutants killed, mutants in all, the diffs of the others by name), of one subject, in that folder."""
    for name in ("manual", "mlp_torch", "tests", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    modules, tests = ("\n    ".join(names) for names in (subject.modules, subject.tests))
    (folder / "setup.cfg").write_text(SETUP.format(modules=modules, tests=tests), encoding="utf-8")
    env = {**os.environ, "CI": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)

    def mutmut(*words: str) -> str:
        done = subprocess.run(["mutmut", *words], cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"mutmut {' '.join(words)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    mutmut("run", "--max-children", "1")
    said = [line.split(": ") for line in mutmut("results", "--all", "true").splitlines() if ": " in line]
    results = {name.strip(): how.strip() for name, how in said}
    alive = {name: mutmut("show", name) for name, how in results.items() if how in ALIVE}
    return len(results) - len(alive), len(results), alive


def main(names: list[str]) -> int:
    known, unexplained = explained(EXPLAINED.read_text(encoding="utf-8")), 0
    for name in names or SUBJECTS:
        with tempfile.TemporaryDirectory() as folder:
            killed, count, alive = mutated(SUBJECTS[name], Path(folder))
        print(f"{name}: {killed} of {count} killed ({100 * killed / count:.1f} %)")
        for mutant, diff in alive.items():
            minus, plus = change(diff)
            reason = known.get((minus, plus))
            unexplained += reason is None
            print(f"\n{mutant}\n- {minus}\n+ {plus}\n{reason or 'NOT EXPLAINED'}", flush=True)
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
