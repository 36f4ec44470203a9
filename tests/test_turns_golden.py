"""Servers that come and go, and change their weight, between two turns: HAProxy 2.6.12's order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsbalance.candidates import Candidates
from dsbalance.turns import RoundRobin, StaticRoundRobin
from offers import FakeLoad, client, name_of, server

DATA = Path(__file__).parent / "data"
CASES = [
    case
    for case in json.loads((DATA / "haproxy-sequences.json").read_text(encoding="utf-8"))["cases"]
    if case["balance"] in {"roundrobin", "static-rr"}
    and not any(each["backup"] for each in case["servers"])
]


def offered(case: dict[str, Any], weights: dict[str, int], away: set[str]) -> Candidates:
    loads = {name: FakeLoad() for name in weights}
    for name, load in loads.items():
        load.share = 16 * weights[name]
    pool = [server(name, weight=w) for name, w in weights.items() if w and name not in away]
    return Candidates(pool, loads=loads, weights=[each["weight"] for each in case["servers"]])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_turns_are_taken_in_the_order_of_haproxy(case: dict[str, Any]) -> None:
    policy = RoundRobin() if case["balance"] == "roundrobin" else StaticRoundRobin()
    weights = {each["name"]: each["weight"] for each in case["servers"]}
    away: set[str] = set()
    group = offered(case, weights, away)
    policy.adapt(group)
    for step in case["steps"]:
        if isinstance(step, list):
            assert [name_of(policy.choose(client(), group, None)) for _ in step] == step
            continue
        verb, _, target, *weight = step.split()
        name = target.removeprefix("l/")
        if verb == "set":
            weights[name] = int(weight[0])
        elif verb == "disable":
            away.add(name)
        else:
            away.remove(name)
        group = offered(case, weights, away)
        policy.adapt(group)


def test_weights_are_set_and_servers_go_and_return_in_what_is_replayed() -> None:
    steps = [step for case in CASES for step in case["steps"] if isinstance(step, str)]
    assert {step.split()[0] for step in steps} == {"set", "disable", "enable"}
