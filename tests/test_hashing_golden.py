"""Sessions that stay open under a hash-balance-factor: what HAProxy 2.6.12 answered."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dsbalance.balancer import AdminState, Balancer, Placement
from dsbalance.errors import NoServerError
from dsbalance.model import Backend, Balance, HashKind, HashType, Server
from dsbalance.policy import Client

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "haproxy-hash-balance-factor.json").read_text(encoding="utf-8"))["cases"]


def order(balancer: Balancer, command: str) -> None:
    """Carry out ``disable server l/s1``, ``enable server l/s1`` or ``set weight l/s1 4``."""
    verb, _, target, *weight = command.split()
    name = target.removeprefix("l/")
    if verb == "set":
        balancer.set_weight(name, int(weight[0]), 0.0)
    else:
        admin = AdminState.MAINT if verb == "disable" else AdminState.READY
        balancer.set_admin(name, admin, 0.0)


def answer(balancer: Balancer, source: str) -> Placement | None:
    try:
        return balancer.route(Client(source, ip_address(source).packed, 5022), 0.0)
    except NoServerError:
        return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_each_session_goes_where_haproxy_sent_it(case: dict[str, Any]) -> None:
    backend = Backend(
        name="l",
        servers=tuple(Server(host="192.0.2.1", port=9, **words) for words in case["servers"]),
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        hash_balance_factor=case["factor"],
        allbackups=True,
    )
    balancer = Balancer(backend, {})
    sessions: dict[int, Placement] = {}
    for number, step in enumerate(case["steps"]):
        match step:
            case str(command):
                order(balancer, command)
            case [session]:
                balancer.release(sessions.pop(session), 0.0)
            case [session, source, expected]:
                placement = answer(balancer, source)
                state = None if placement is None else placement.server
                assert (state and state.name) == expected, f"step {number}: {step}"
                if placement is not None:
                    sessions[session] = placement
        balancer._check()
