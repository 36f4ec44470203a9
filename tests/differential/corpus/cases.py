"""What is played: cases from a file, each a list of steps.

    client says B, server says B       bytes are sent; a list is joined, [text, n] in it repeats
    client hears B, server hears B     wait for these bytes, behind those that were waited for
    client ends, server ends           half-close
    server closes                      close: nothing more is read either
    client resets, server resets       reset
    client is left, server is left     wait until the connection has been ended or reset
    nothing comes                      wait a moment, for what no event announces

``other`` is a second client. The server is the connection that heard something last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "data"
CORPUS = DATA / "http-corpus.json"

HEAD_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Who does what, with which bytes."""

    actor: str
    verb: str
    words: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens between a client and a server, and what stands in the file between them.

    Attributes:
        name: What it is about; unique.
        frontend: Lines of the frontend.
        backend: Lines of the backend.
        servers: What stands behind the address of each server.
        steps: What happens, one after the other.
    """

    name: str
    frontend: tuple[str, ...]
    backend: tuple[str, ...]
    servers: tuple[str, ...]
    steps: tuple[Step, ...]


@cache
def cases() -> tuple[Case, ...]:
    """Return the corpus."""
    return tuple(_case(case) for case in json.loads(CORPUS.read_text(encoding="utf-8"))["cases"])


def _case(case: dict[str, Any]) -> Case:
    steps = [_step(*step) for step in case.get("play", ())]
    if "request" in case:
        steps = [
            Step(actor="client", verb="says", words=_bytes(case["request"])),
            Step(actor="server", verb="hears", words=HEAD_END),
            Step(actor="server", verb="says", words=_bytes(case.get("answer", OK.decode()))),
            *steps,
        ]
    return Case(
        name=case["name"],
        frontend=tuple(case.get("frontend", ())),
        backend=tuple(case.get("backend", ())),
        servers=tuple(case.get("servers", [""])),
        steps=tuple(steps),
    )


def _step(action: str, words: str | list[Any] = "") -> Step:
    actor, _, verb = action.partition(" ")
    return Step(actor=actor, verb=verb, words=_bytes(words))


def _bytes(words: str | list[Any]) -> bytes:
    """Return what is meant: Latin-1, so that any byte can be written."""
    if isinstance(words, str):
        return words.encode("latin-1")
    return b"".join(_bytes(w) if isinstance(w, str) else _bytes(w[0]) * w[1] for w in words)
