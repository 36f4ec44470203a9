"""A server that starts slowly: its weight each second, and who answered, on HAProxy 2.6.12."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dsbalance.balancer import AdminState, Balancer
from dsbalance.model import Backend, Balance, HashKind, HashType, Server
from dsbalance.policy import Client

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "haproxy-slowstart.json").read_text(encoding="utf-8"))["cases"]


def balancer_of(case: dict[str, Any]) -> Balancer:
    slow, *others = case["servers"]
    servers = [Server(host="192.0.2.1", port=9, slowstart=case["slowstart"], **slow)]
    servers += [Server(host="192.0.2.1", port=9, **words) for words in others]
    word, _, hash_type = case["balance"].partition(" ")
    backend = Backend(
        name="l",
        servers=tuple(servers),
        balance=Balance(word),
        hash_type=HashType(kind=HashKind(hash_type or "map-based")),
    )
    return Balancer(backend, {})


def answer(balancer: Balancer, now: float, source: str = "10.0.0.1") -> str:
    placement = balancer.route(Client(source, ip_address(source).packed, 5022), now)
    assert placement.server is not None
    balancer.release(placement, now)
    balancer._check()
    return placement.server.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_a_server_takes_its_share_by_degrees_as_in_haproxy(case: dict[str, Any]) -> None:
    balancer, now = balancer_of(case), 100.5
    for step in case["steps"]:
        match step:
            case {"s1": share}:
                assert balancer.states["s1"].share == share, f"at {now - 100.5} s"
                now += 1.0
            case str(command):
                admin = AdminState.MAINT if command.startswith("disable") else AdminState.READY
                balancer.set_admin("s1", admin, now)
            case [[_, _], *_]:
                assert {s: answer(balancer, now, s) for s, _ in step} == dict(step)
                assert balancer.step(now) == ()
            case _:
                assert [answer(balancer, now) for _ in step] == step
                assert balancer.step(now) == ()
