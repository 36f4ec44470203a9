"""Play the cases, all of them or some; see the package."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time

from ..haproxy import lack
from .cases import cases
from .differences import CAPTURE, captured, expected
from .rows import Rows, differences, told
from .run import outcomes
from .sides import HaproxySide, OurSide, PortableSide

_ABOUT = "What HAProxy 2.6.12 counts in each case of statistics-cases.json, kept by --capture."


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit status."""
    options = _parser().parse_args(words)
    chosen = [case for case in cases() if all(word in case.name for word in options.only)]
    if (options.live or options.capture) and (reason := lack()) is not None:
        _say(reason)
        return 1
    if options.capture:
        _keep(outcomes(HaproxySide, cases()))
        return 0
    began = time.monotonic()
    wanted = captured() if options.live else expected()
    ours = PortableSide if options.portable else OurSide
    found = outcomes(HaproxySide if options.live else ours, chosen, wanted)
    different = 0
    for name, rows in found.items():
        if lines := differences(wanted[name], rows):
            different += 1
            _say(f"\n{name}", *(f"    {line}" for line in lines))
    _say(f"{different} of {len(chosen)} differ, {time.monotonic() - began:.1f} s")
    return 1 if different else 0


def _keep(found: dict[str, Rows]) -> None:
    columns = next(iter(next(iter(found.values())).values()))
    head = f'{{"about": {json.dumps(_ABOUT)},\n"columns": "{",".join(columns)}",\n"cases": {{\n'
    parts = [
        f"{json.dumps(name)}: {json.dumps(told(rows), indent=1)}" for name, rows in found.items()
    ]
    CAPTURE.write_text(head + ",\n".join(parts) + "\n}}\n", encoding="utf-8")


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.differential.statistics", description=(__doc__ or "").strip()
    )
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="of names")
    parser.add_argument("--portable", action="store_true", help="without epoll and splice")
    parser.add_argument("--live", action="store_true", help="HAProxy, beside what was captured")
    parser.add_argument("--capture", action="store_true", help="keep what HAProxy counts")
    return parser


if __name__ == "__main__":
    # Whom a test resets, and what it refuses, is no news here.
    logging.getLogger("dsbalance").setLevel(logging.CRITICAL + 1)
    sys.exit(main())
