"""Compare HAProxy and dsbalance on generated configurations, each with events of its own.

    python3 -m tests.differential                               40 of them, 250 decisions each
    python3 -m tests.differential --seeds 1-60 --decisions 200  others
    python3 -m tests.differential --only queue --only stick     those that have both
    python3 -m tests.differential --replay FILE                 a story that was printed

To be run in the root of the project, with HAProxy installed. A difference is told as a story: a
configuration, and what has to happen. The exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .files import setup_of
from .play import SIDES, Maker, lack
from .shrinking import shrunk
from .story import Setup, Story
from .telling import Ending, performed, replay


def main(words: list[str] | None = None, makers: tuple[Maker, Maker] = SIDES) -> int:
    """Run what the command line asks for, print a table and return the exit status."""
    options = _parser().parse_args(words)
    if (reason := lack()) is not None:
        _say(reason)
        return 1
    if options.replay is not None:
        ending = replay(Story.parse(options.replay.read_text(encoding="utf-8")), makers)
        _say(*_told(ending))
        return 1 if ending.found else 0
    setups = [(seed, setup_of(seed)) for seed in options.seeds]
    setups = [(seed, setup) for seed, setup in setups if {*options.only} <= {*setup.kind}]
    endings = [_run(seed, setup, options.decisions, makers) for seed, setup in setups]
    _say(*_table(endings))
    return 1 if any(ending.found for ending in endings) else 0


def _run(seed: int, setup: Setup, decisions: int, makers: tuple[Maker, Maker]) -> Ending:
    began = time.monotonic()
    ending = performed(seed, setup, decisions, makers)
    seconds = time.monotonic() - began
    verdict = "DIFFERENT" if ending.found else "alike"
    _say(f"{seed:5}  {verdict:<9}  {ending.decisions:5}  {seconds:5.1f} s  {' '.join(setup.kind)}")
    if ending.found:
        _say(*_told(shrunk(ending, lambda story: replay(story, makers))))
    return ending


def _told(ending: Ending) -> list[str]:
    """Return lines that are a story still, so that they can be saved as they are."""
    return [f"\n{ending.story}", *(f"# {line}" for line in ending.found or ["no difference"]), ""]


def _table(endings: Iterable[Ending]) -> Iterable[str]:
    """Yield lines: for each word of a kind how many files had it, decisions and differences."""
    files: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for ending in endings:
        policy, *features = ending.story.setup.kind
        for word in (f"balance {policy}", *(f"with {name}" for name in features), "together"):
            files[word] += 1
            decisions[word] += ending.decisions
            different[word] += bool(ending.found)
    yield f"\n{'':<28}{'files':>8}{'decisions':>12}{'differences':>14}"
    for word in sorted(files, key=lambda word: (word == "together", word)):
        yield f"{word:<28}{files[word]:>8}{decisions[word]:>12}{different[word]:>14}"


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.differential", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--seeds", type=_seeds, default=range(1, 41), metavar="N-M")
    parser.add_argument("--decisions", type=int, default=250, metavar="N", help="of each file")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="files with it")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    # What the proxy has to say about servers that are lost is not news here.
    logging.getLogger("dsbalance").setLevel(logging.CRITICAL + 1)
    # So that no HAProxy is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
