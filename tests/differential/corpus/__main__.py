"""Play the corpus, all of it or some cases; see the package."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time

from ..haproxy import lack
from .cases import Case, cases
from .outcome import CAPTURE, Outcome, captured, expected
from .run import outcomes
from .sides import HaproxySide, OurSide, PortableSide

_ABOUT = "What HAProxy 2.6.12 makes of each case of http-corpus.json, kept by --capture."


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit status."""
    options = _parser().parse_args(words)
    chosen = [case for case in cases() if all(word in case.name for word in options.only)]
    needs_haproxy = options.live or options.capture
    if needs_haproxy and (reason := lack()) is not None:
        _say(reason)
        return 1
    if options.capture:
        _keep(outcomes(HaproxySide, cases()))
        return 0
    began = time.monotonic()
    wanted = captured() if options.live else expected()
    ours = PortableSide if options.portable else OurSide
    found = outcomes(HaproxySide if options.live else ours, chosen, wanted)
    different = [case for case in chosen if _differs(case, wanted[case.name], found[case.name])]
    _say(f"{len(different)} of {len(chosen)} differ, {time.monotonic() - began:.1f} s")
    return 1 if different else 0


def _differs(case: Case, wanted: Outcome, found: Outcome) -> bool:
    wanted = wanted.beside(found)
    if wanted == found:
        return False
    before, after = wanted.told(), found.told()
    _say(f"\n{case.name}")
    for key in before:
        if before[key] != after[key]:
            _say(f"  - {key} {json.dumps(before[key])}", f"  + {key} {json.dumps(after[key])}")
    return True


def _keep(found: dict[str, Outcome]) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(one.told())}" for name, one in found.items()]
    body = ",\n".join(lines)
    text = f'{{"about": {json.dumps(_ABOUT)},\n"outcomes": {{\n{body}\n}}}}\n'
    CAPTURE.write_text(text, encoding="utf-8")


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.differential.corpus", description=(__doc__ or "").strip()
    )
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="of names")
    parser.add_argument("--portable", action="store_true", help="without epoll and splice")
    parser.add_argument("--live", action="store_true", help="HAProxy, beside what was captured")
    parser.add_argument("--capture", action="store_true", help="keep what HAProxy does")
    return parser


if __name__ == "__main__":
    # Whom a test resets, and what it refuses, is no news here.
    logging.getLogger("dsbalance").setLevel(logging.CRITICAL + 1)
    sys.exit(main())
