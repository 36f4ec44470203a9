"""What HAProxy 2.6.12 answered, asked of a balancer and of its model: the same, each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import models
from dsbalance.balancer import AdminState, Balancer
from dsbalance.model import Backend, Balance, HashKind, HashType, Server
from dsbalance.policy import Client

DATA = Path(__file__).parent / "data"
SEQUENCES = json.loads((DATA / "haproxy-sequences.json").read_text(encoding="utf-8"))["cases"]
SCENARIOS = json.loads((DATA / "haproxy-balance-source.json").read_text(encoding="utf-8"))

MODELS: dict[str, Callable[[], models.Policy]] = {
    "roundrobin": models.RoundRobin,
    "static-rr": models.StaticRoundRobin,
    "leastconn": models.LeastConn,
    "first": models.First,
}


def title(case: dict[str, Any]) -> str:
    return f"{case.get('balance', 'source')}, {case['title']}"


class Step(NamedTuple):
    """``servers`` that answered, or a command: what is done to whom, and the weight to set."""

    servers: list[str]
    verb: str = ""
    name: str = ""
    weight: int = 0


def steps_of(case: dict[str, Any]) -> list[Step]:
    """Return the steps of a case; a command is ``disable server l/s1`` or ``set weight l/s1 4``."""
    steps = []
    for step in case["steps"]:
        if isinstance(step, list):
            steps.append(Step(step))
            continue
        verb, _, target, *weight = step.split()
        steps.append(Step([], verb, target.removeprefix("l/"), *map(int, weight)))
    return steps


class Ours:
    """A balancer, with one session at a time."""

    def __init__(self, backend: Backend) -> None:
        self.balancer = Balancer(backend, {})

    def visit(self, source: str) -> str:
        client = Client(source, ip_address(source).packed, 5022)
        placement = self.balancer.route(client, 0.0)
        assert placement.server is not None
        name = placement.server.name
        self.balancer.connected(placement, 0.0)
        assert self.balancer.release(placement, 0.0) == []
        self.balancer._check()
        return name

    def order(self, step: Step) -> None:
        if step.verb == "set":
            self.balancer.set_weight(step.name, step.weight, 0.0)
        else:
            admin = AdminState.MAINT if step.verb == "disable" else AdminState.READY
            self.balancer.set_admin(step.name, admin, 0.0)


class Modelled:
    """The model of one, likewise."""

    def __init__(self, servers: list[models.Server], **words: Any) -> None:
        self.balancer = models.Balancer(matches=False, stores=False, **words)
        self.balancer.begin(servers)

    def visit(self, source: str) -> str:
        session = self.balancer.arrive(ip_address(source).packed)
        assert session is not None
        self.balancer.connect(session)
        assert self.balancer.leave(session) == []
        return session.server

    def order(self, step: Step) -> None:
        if step.verb == "set":
            self.balancer.weigh(step.name, step.weight)
        else:
            self.balancer.ask(step.name, "maint" if step.verb == "disable" else "ready")


def ours(case: dict[str, Any]) -> Ours:
    servers = tuple(
        Server(
            name=s["name"],
            host="192.0.2.1",
            port=9,
            id=s.get("id"),
            weight=s["weight"],
            backup=s["backup"],
        )
        for s in case["servers"]
    )
    kind, _, function = case.get("hash_type", "map-based").partition(" ")
    backend = Backend(
        name="l",
        servers=servers,
        balance=Balance(case.get("balance", "source")),
        hash_type=HashType(kind=HashKind(kind), avalanche=False if function else None),
        allbackups=case.get("allbackups", False),
    )
    return Ours(backend)


def modelled(case: dict[str, Any]) -> Modelled:
    servers = [
        models.Server(
            name=s["name"], number=s.get("id") or 0, weight=s["weight"], is_backup=s["backup"]
        )
        for s in case["servers"]
    ]
    if "balance" in case:
        allbackups = case.get("allbackups", False)
        return Modelled(servers, make=MODELS[case["balance"]], allbackups=allbackups)
    kind, _, function = case["hash_type"].partition(" ")
    # A hash function that is named comes without the avalanche.
    makers: dict[str, Callable[[], models.Policy]] = {
        "consistent": lambda: models.Consistent(is_mixed=not function),
        "map-based": models.MapBased,
    }
    return Modelled(servers, make=makers[kind], allbackups=case["allbackups"])


MAKERS = pytest.mark.parametrize("make", [ours, modelled])


@MAKERS
@pytest.mark.parametrize("case", SEQUENCES, ids=title)
def test_each_session_goes_where_haproxy_sent_it(
    case: dict[str, Any], make: Callable[[dict[str, Any]], Ours | Modelled]
) -> None:
    balancer = make(case)
    for step in steps_of(case):
        if step.verb:
            balancer.order(step)
        else:
            assert [balancer.visit("10.0.0.1") for _ in step.servers] == step.servers


@MAKERS
@pytest.mark.parametrize("case", SCENARIOS["scenarios"], ids=title)
def test_each_source_goes_where_haproxy_sent_it(
    case: dict[str, Any], make: Callable[[dict[str, Any]], Ours | Modelled]
) -> None:
    balancer = make(case)
    for name in case["down"]:
        balancer.order(Step([], "disable", name))
    assert {source: balancer.visit(source) for source in case["picks"]} == case["picks"]


def test_turns_change_while_nobody_needs_the_backups() -> None:
    names = [("a", False), ("b", True), ("c", True), ("d", True)]
    case = {
        "balance": "roundrobin",
        "allbackups": True,
        "servers": [{"name": name, "weight": 1, "backup": backup} for name, backup in names],
    }
    orders = "disable a, enable a, disable c, enable c, disable a"
    balancer, model = ours(case), modelled(case)
    for order in orders.split(", "):
        verb, name = order.split()
        step = Step([], verb, name)
        balancer.order(step)
        model.order(step)
        expected = [model.visit("10.0.0.1") for _ in range(4)]
        assert [balancer.visit("10.0.0.1") for _ in range(4)] == expected
    # As HAProxy 2.6.12 answers too: who came back does not stand where it stood.
    assert expected == ["d", "b", "c", "d"]
