"""Servers that refuse: which of them HAProxy 2.6.12 tried, when, and what it counted."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dsbalance.balancer import AdminState, Balancer, Failure, Placement, Stage
from dsbalance.errors import NoServerError
from dsbalance.model import Backend, Balance, HashKind, HashType, Server, StickRule
from dsbalance.policy import Client
from dsbalance.sticky import StickTable

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "haproxy-retries.json").read_text(encoding="utf-8"))["cases"]
# `option redispatch 0` is on and has no interval, which is said by one that is never reached.
WITHOUT_INTERVAL = 2**31 - 1


def balancer_of(case: dict[str, Any]) -> Balancer:
    servers = tuple(
        Server(host="192.0.2.1", port=number, **settings)
        for number, settings in enumerate(case["servers"], 1)
    )
    word, _, hash_type = case["balance"].partition(" ")
    redispatch = case["redispatch"]
    backend = Backend(
        name="l",
        servers=servers,
        balance=Balance(word),
        hash_type=HashType(kind=HashKind(hash_type or "map-based")),
        allbackups=case["allbackups"],
        retries=case["retries"],
        redispatch=WITHOUT_INTERVAL if redispatch == 0 else redispatch or 0,
        stick=(StickRule(),) if case["stick"] else (),
    )
    table = StickTable(size=1000)
    if case["stick"]:
        source = case["clients"][0]["source"]
        table.store(ip_address(source).packed, case["stick"], 0.0)
    balancer = Balancer(backend, {"l": table})
    for command in case["commands"]:
        verb, _, target, *admin = command.split()
        words = {"disable": "maint", "enable": "ready"}
        word = admin[-1] if verb == "set" else words[verb]
        balancer.set_admin(target.removeprefix("l/"), AdminState(word), 0.0)
    return balancer


class Visit:
    """One client, until somebody answers or it is given up."""

    def __init__(self, balancer: Balancer, refusing: list[str]) -> None:
        self.balancer = balancer
        self.refusing = refusing
        self.attempts: list[list[Any]] = []
        self.answer: str | None = None

    def come(self, source: str) -> None:
        try:
            placement = self.balancer.route(Client(source, ip_address(source).packed, 5022), 0.0)
        except NoServerError:
            return
        self._try(placement, 0.0)
        self.balancer._check()
        assert self.balancer.release(placement, 0.0) == []
        self.balancer._check()

    def _try(self, placement: Placement, delay: float) -> None:
        while True:
            assert placement.server is not None
            name = placement.server.name
            self.attempts.append([name, delay])
            if name not in self.refusing:
                self.balancer.connected(placement, 0.0)
                self.answer = name
                return
            retry = self.balancer.failed(placement, Failure.REFUSED, 0.0)
            if retry is None:
                return
            delay = retry.delay
            if placement.stage is Stage.DISPLACED:
                self.balancer.reroute(placement, 0.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_servers_that_refuse_are_tried_and_counted_as_in_haproxy(case: dict[str, Any]) -> None:
    balancer = balancer_of(case)
    for client in case["clients"]:
        visit = Visit(balancer, case["refusing"])
        visit.come(client["source"])
        assert (visit.attempts, visit.answer) == (client["attempts"], client["answer"])
    whole = balancer.snapshot(0.0)
    counters = {
        s.name: [s.total, s.retries, s.redispatches, s.connect_errors] for s in whole.servers
    }
    counters["BACKEND"] = [whole.total, whole.retries, whole.redispatches, whole.connect_errors]
    assert counters == case["counters"]
