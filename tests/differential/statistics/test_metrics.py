"""The exporter of HAProxy and ours, behind the same traffic: families, labels, and values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import pytest

from ..haproxy import lack
from .cases import cases
from .differences import DIFFERENCES
from .run import played
from .sides import HaproxySide, OurSide

_TOLD = json.loads(DIFFERENCES.read_text(encoding="utf-8"))["metrics"]
ABSENT, TYPES, MASKED = _TOLD["absent"], _TOLD["types"], _TOLD["masked"]
# One of each state, of each mode, and of what has no server. None in which anything happens yet
# when the clients and the servers have gone.
PLAYED = {
    "tcp: a session, the client ends it",
    "tcp: refused, sent to the other one",
    "tcp: no server is up",
    "http: three exchanges on one connection",
    "http: status 404",
    "state: weights and a backup",
    "state: limits",
    "state: drain",
    "state: maint",
    "state: disabled in the file",
    "state: health stopping, checked",
    "checks: down from the start",
}
_SAMPLE = re.compile(r"(?P<name>\w+)(?P<labels>\{.*\})? (?P<value>\S+)")


@dataclass
class Exposition:
    """What an exporter has said.

    Attributes:
        kind: Content-Type.
        types: Family -> its type, in their order.
        values: Name and labels -> value.
    """

    kind: str
    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, kind: str) -> Exposition:
        found = cls(kind)
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, of = line.split(" ")
                found.types[name] = of
            elif not line.startswith("#"):
                sample = _SAMPLE.fullmatch(line)
                assert sample is not None, f"no sample: {line!r}"
                found.values[sample["name"] + (sample["labels"] or "")] = sample["value"]
        return found


@pytest.fixture(scope="module")
def both() -> tuple[Exposition, Exposition]:
    """What HAProxy and we say behind the same traffic."""
    if (reason := lack()) is not None:
        pytest.skip(reason)
    chosen = [case for case in cases() if case.name in PLAYED]
    assert len(chosen) == len(PLAYED)
    said = []
    for side in (HaproxySide, OurSide):
        with played(side, chosen) as (program, _):
            said.append(Exposition.parse(*program.metrics()))
    return said[0], said[1]


def test_families_have_the_same_names_types_and_order(both: tuple[Exposition, Exposition]) -> None:
    theirs, ours = both
    expected = {name: of for name, of in theirs.types.items() if name not in ABSENT}
    found = {name: of for name, of in ours.types.items() if name not in ABSENT}
    assert [*found] == [*expected]
    assert {name: of for name, of in found.items() if expected[name] != of}.keys() == {*TYPES}


def test_samples_have_the_same_labels(both: tuple[Exposition, Exposition]) -> None:
    theirs, ours = (
        {sample for sample in side.values if sample.partition("{")[0] not in ABSENT}
        for side in both
    )
    assert len(theirs) > 1000
    assert ours == theirs


def test_values_are_equal(both: tuple[Exposition, Exposition]) -> None:
    theirs, ours = (
        {
            sample: value
            for sample, value in side.values.items()
            # The exporter's own frontend is busy with the question.
            if re.search(r'proxy="(?:front|back)\d+"', sample)
            and not any(re.search(mask, sample.partition("{")[0]) for mask in MASKED)
        }
        for side in both
    )
    assert len(theirs) > 1000
    assert {name: (theirs[name], ours[name]) for name in theirs if ours[name] != theirs[name]} == {}


def test_bytes_of_sessions_are_equal(both: tuple[Exposition, Exposition]) -> None:
    theirs, ours = both
    talked = 'haproxy_server_bytes_in_total{proxy="back0",server="a"}'
    assert ours.values[talked] == theirs.values[talked] == "5"


def test_the_format_has_the_same_name(both: tuple[Exposition, Exposition]) -> None:
    theirs, ours = both
    assert ours.kind == theirs.kind
