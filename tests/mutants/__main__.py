"""Plant each bug in a copy of the project, and demand that a test of the module fails.

    python3 -m tests.mutants                  all of them
    python3 -m tests.mutants ring table -j 2  those of two parts, two at a time

To be run in the root of the project, by a Python that has pytest and hypothesis. Each part is run
first as it is, and has to pass. The exit status is 1 if a bug was not found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from . import PARTS
from .planting import Mutant, Part, planted

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("dsbalance", "tests", "pyproject.toml")
FAILED = re.compile(r"^FAILED [^:]+::(.+?)(?: - .*)?$", re.MULTILINE)
# As pytest says them; 2 is a file that cannot even be imported, which proves nothing of its tests.
PASSED, TESTS_FAILED = 0, 1
# No tests of a module take as long; a bug that hangs them is not found but in the way.
LIMIT = 300.0


class Trial(NamedTuple):
    """A run of a part's tests; ``mutant`` is None for the part as it is."""

    name: str
    part: Part
    mutant: Mutant | None


class Outcome(NamedTuple):
    """What came of a trial; ``note`` is the test that failed first, or what went wrong."""

    is_good: bool
    verdict: str
    note: str
    seconds: float


def main() -> int:
    """Run what the command line asks for, print a table and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.mutants", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    trials = list(trials_of(options.parts or list(PARTS)))
    missed = 0
    with ThreadPoolExecutor(max(1, options.jobs)) as threads:
        for trial, outcome in zip(trials, threads.map(run, trials), strict=True):
            missed += not outcome.is_good
            sys.stdout.write(row(trial, outcome))
            sys.stdout.flush()
    found = len(trials) - missed
    sys.stdout.write(f"\n{found} of {len(trials)} as they should be\n")
    return 1 if missed else 0


def trials_of(names: list[str]) -> Iterator[Trial]:
    for name in names:
        part = PARTS[name]
        yield Trial(name, part, None)
        yield from (Trial(name, part, mutant) for mutant in part.mutants)


def run(trial: Trial) -> Outcome:
    """Run the tests of a part in a copy of the project, with the bug if there is one."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            copy_to(ROOT / name, copy / name)
        try:
            if trial.mutant:
                path, text = planted(trial.mutant, trial.part, copy)
                path.write_text(text, encoding="utf-8")
            done = pytest(copy, trial.part.tests)
        except (ValueError, subprocess.TimeoutExpired) as error:
            return Outcome(is_good=False, verdict="ERROR", note=str(error), seconds=0.0)
    return judged(trial, done, time.monotonic() - began)


def judged(trial: Trial, done: subprocess.CompletedProcess[str], seconds: float) -> Outcome:
    failed = FAILED.search(done.stdout)
    note = failed[1] if failed else done.stdout.strip().rpartition("\n")[2]
    if trial.mutant is None:
        is_good = done.returncode == PASSED
        return Outcome(is_good, "passes" if is_good else "FAILS", note, seconds)
    if done.returncode == TESTS_FAILED and failed:
        return Outcome(is_good=True, verdict="found", note=note, seconds=seconds)
    verdict = "SURVIVES" if done.returncode == PASSED else "ERROR"
    return Outcome(is_good=False, verdict=verdict, note=note, seconds=seconds)


def row(trial: Trial, outcome: Outcome) -> str:
    bug = trial.mutant.bug if trial.mutant else f"{trial.part.file} as it is"
    return (
        f"{trial.name:<9} {outcome.verdict:<8} {outcome.seconds:5.1f} s  {bug}\n"
        f"{'':<28}{outcome.note}\n"
    )


def copy_to(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def pytest(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run tests in ``folder``, up to the first one that fails, on the package that is there."""
    plugins = ("-p", "no:cacheprovider", "-p", "tests.mutants.unshrunk")
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "unshrunk",
    }
    return subprocess.run(
        (sys.executable, "-m", "pytest", "-x", "-q", *plugins, *tests),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
