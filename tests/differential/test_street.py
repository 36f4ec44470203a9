"""What becomes of a client, as the street tells it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from .side import Fact, View, differing
from .street import ENDED, REFUSED, WAITING, Crowd, Servers, Street, is_talking


@pytest.fixture
def street() -> Iterator[Street]:
    street = Street()
    yield street
    street.clear()


@pytest.fixture
def servers(street: Street) -> Servers:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return Servers(street, "127.0.0.1", {"s1": port})


def come(crowd: Crowd, servers: Servers, client: int) -> None:
    crowd.come(client, "127.0.0.1", ("127.0.0.1", servers._ports["s1"]))


def test_a_server_tells_its_name_until_the_client_leaves(street: Street, servers: Servers) -> None:
    crowd = Crowd(street)
    come(crowd, servers, 1)
    assert crowd.fates == {1: WAITING}
    assert (crowd.open, crowd.waiting) == (1, 1)
    while crowd.waiting:
        street.pump(0.1)
    assert crowd.fates == {1: "s1"}
    assert is_talking(crowd.fates[1])
    crowd.go(1)
    assert (crowd.open, crowd.fates) == (0, {})


def test_a_server_that_is_killed_refuses_and_keeps_whom_it_has(
    street: Street, servers: Servers
) -> None:
    crowd = Crowd(street)
    come(crowd, servers, 1)
    while crowd.waiting:
        street.pump(0.1)
    servers.kill("s1")
    assert not servers.is_alive("s1")
    with pytest.raises(ConnectionRefusedError):
        come(crowd, servers, 2)
    street.pump(0)
    assert crowd.fates == {1: "s1"}
    servers.revive("s1")
    assert servers.is_alive("s1")
    come(crowd, servers, 3)


def test_who_is_closed_was_refused_or_has_ended(street: Street) -> None:
    crowd = Crowd(street)
    with socket.create_server(("127.0.0.1", 0)) as door:
        for client in (1, 2):
            crowd.come(client, "127.0.0.1", door.getsockname())
        first, second = (door.accept()[0] for _ in range(2))
        first.close()
        second.sendall(b"s9\n")
        while crowd.waiting:
            street.pump(0.1)
        second.close()
        while crowd.open:
            street.pump(0.1)
    assert crowd.fates == {1: REFUSED, 2: "s9" + ENDED}
    assert not any(map(is_talking, crowd.fates.values()))


def test_a_view_counts_and_compares() -> None:
    server: dict[str, Fact] = {"status": "UP", "scur": 2, "qcur": 1}
    view = View(
        clients=4,
        servers={"a/s1": server},
        proxies={"a": {"qcur": 1}},
        tables={"a": {"127.0.0.1": "s1"}},
    )
    assert (view.placed, view.queued) == (2, 2)
    facts = dict(view.facts())
    assert facts["table a, 127.0.0.1"] == "s1"
    assert differing(facts, facts) == []
    assert differing(facts, {**facts, "a/s1 scur": 3}) == ["a/s1 scur: HAProxy 2, here 3"]
    assert differing({}, {"a qcur": 1}) == ["a qcur: HAProxy -, here 1"]
