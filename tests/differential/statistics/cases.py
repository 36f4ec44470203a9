"""What is played: cases from a file, each a list of steps, one line each.

    client connects                      a connection, and not a word
    client says W, server says W         bytes are sent
    client hears W, server hears W       wait for these bytes, behind those that were waited for
    client ends, server ends             half-close
    client closes, server closes         close: nothing more is read either
    client resets, server resets         reset
    client is left, server is left       wait until the connection has been ended or reset
    nothing comes                        wait a moment, for what no event announces
    operator says C                      a command on the runtime API
    row R shows C V                      wait until a row of ``show stat`` has a value in a column
    a falls, a rises                     the port of a server is closed, is opened again

``other`` and ``third`` are clients too. The server is the connection that heard something last.
Names in braces stand for words from the file; ``{front}`` and ``{back}`` are the proxies of the
case.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..corpus.cases import DATA, Step

CASES = DATA / "statistics-cases.json"

_STEP = re.compile(r"(?P<actor>\w+) (?P<verb>is left|\w+) ?(?P<words>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens, and what stands in the file.

    Attributes:
        name: What it is about; unique.
        mode: ``tcp`` or ``http``.
        frontend: Lines of the frontend.
        backend: Lines of the backend.
        servers: What stands behind the address of each server, ``a``, ``b`` and so on.
        ports: What the port of each server does: it is ``open``, ``dead`` or ``full``.
        steps: What happens, one after the other.
    """

    name: str
    mode: str
    frontend: tuple[str, ...]
    backend: tuple[str, ...]
    servers: tuple[str, ...]
    ports: tuple[str, ...]
    steps: tuple[Step, ...]


@cache
def cases() -> tuple[Case, ...]:
    """Return all of them."""
    told = json.loads(CASES.read_text(encoding="utf-8"))
    return tuple(_case(case, told["plays"], told["words"]) for case in told["cases"])


def _case(told: dict[str, Any], plays: dict[str, list[str]], words: dict[str, str]) -> Case:
    servers = tuple(told.get("servers", [""]))
    lines = [line for step in told["play"] for line in plays.get(step, [step])]
    return Case(
        name=told["name"],
        mode=told["mode"],
        frontend=tuple(told.get("frontend", ())),
        backend=tuple(told.get("backend", ())),
        servers=servers,
        ports=tuple(told.get("ports", ["open"] * len(servers))),
        steps=tuple(_step(line, words) for line in lines),
    )


def _step(line: str, words: dict[str, str]) -> Step:
    for name, meant in words.items():
        line = line.replace(f"{{{name}}}", meant)
    found = _STEP.fullmatch(line)
    assert found is not None, f"no step: {line!r}"
    actor, verb, rest = found.groups()
    return Step(actor=actor, verb=verb, words=rest.encode("latin-1"))
