"""What HAProxy counted, what differs from it here on purpose, and what cannot be equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..corpus.cases import DATA
from .rows import Rows, untold

CAPTURE = DATA / "haproxy-statistics.json"
DIFFERENCES = DATA / "statistics-differences.json"

_TOLD = json.loads(DIFFERENCES.read_text(encoding="utf-8"))
# Column -> why it is not compared.
MASKED: Mapping[str, str] = {
    column: each["reason"] for each in _TOLD["masked"] for column in each["columns"]
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs on purpose, and why.

    Attributes:
        reason: Why.
        ours: What we count instead: case -> row -> column -> value.
    """

    reason: str
    ours: Mapping[str, Mapping[str, Mapping[str, str]]]


@cache
def listed() -> tuple[Difference, ...]:
    """Return what differs on purpose."""
    return tuple(
        Difference(
            reason=each["reason"],
            ours={name: own or each["ours"] for name, own in each["cases"].items()},
        )
        for each in _TOLD["differences"]
    )


@cache
def captured() -> dict[str, Rows]:
    """Return what HAProxy counted in each case when it was asked."""
    told = json.loads(CAPTURE.read_text(encoding="utf-8"))
    columns = told["columns"].split(",")
    return {name: untold(rows, columns) for name, rows in told["cases"].items()}


@cache
def expected() -> dict[str, Rows]:
    """Return what is to be counted here."""
    found = {
        name: {row: dict(columns) for row, columns in rows.items()}
        for name, rows in captured().items()
    }
    for difference in listed():
        for name, rows in difference.ours.items():
            for row, columns in rows.items():
                found[name][row].update(columns)
    return found
