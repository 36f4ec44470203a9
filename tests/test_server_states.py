"""How servers begin, by the records of a state file; the cases were observed on HAProxy 2.6.12."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.backends import Backends
from dsbalance.haproxy.server_state import ServerRecord
from dsbalance.model import Backend, Check, Config, Server
from dsbalance.server_states import restore
from dsbalance.stats import ServerSnapshot

NOW = 1000.0
CHECK = Check(rise=2, fall=3)


def backends(*servers: Server) -> Backends:
    return Backends(Config(backends=(Backend(name="b", servers=servers),)), NOW)


def server(name: str = "a", **words: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **words)


def record(name: str = "a", **words: Any) -> ServerRecord:
    plain = ServerRecord(
        backend_id=2,
        backend="b",
        id=1,
        name=name,
        host="192.0.2.1",
        op=2,
        admin=0,
        weight=1,
        initial_weight=1,
        seconds_in_state=30,
        check_status=6,
        check_result=3,
        check_health=4,
        check_state=6,
        agent_state=0,
        is_backend_id_forced=False,
        is_id_forced=False,
        fqdn=None,
        port=9,
    )
    return plain._replace(**words)


def begun(configured: Server, **words: Any) -> ServerSnapshot:
    """Return how a server begins by a record of these words."""
    made = backends(configured)
    restore(made, [record(**words)], NOW)
    (picture,) = made.balancer("b").snapshot(NOW).servers
    made.balancer("b")._check()
    return picture


@pytest.mark.parametrize(
    ("words", "check", "status"),
    [
        ({"op": 2}, None, "no check"),
        ({"op": 0}, None, "DOWN"),
        ({"op": 2, "check_health": 2}, CHECK, "UP"),
        ({"op": 1}, CHECK, "UP"),
        ({"op": 0, "check_health": 1}, CHECK, "DOWN"),
        ({"op": 3}, CHECK, "NOLB"),
        ({"op": 0, "admin": 1}, None, "MAINT"),
        ({"op": 0, "admin": 1}, CHECK, "MAINT"),
        ({"op": 2, "admin": 8}, None, "DRAIN"),
        ({"op": 0, "admin": 8}, CHECK, "DOWN"),
        ({"op": 2, "check_state": 2}, CHECK, "no check"),
        # Stopped by a `disabled` that is not there any more: nobody else wanted it.
        ({"op": 0, "admin": 5}, None, "no check"),
        ({"op": 0, "admin": 5}, CHECK, "UP 1/3"),
    ],
)
def test_a_server_begins_as_it_was(words: dict[str, Any], check: Check | None, status: str) -> None:
    assert begun(server(check=check), **words).status == status


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({"op": 2, "admin": 0}, "MAINT"),
        ({"op": 2, "admin": 8}, "MAINT"),
        ({"op": 0, "admin": 5}, "MAINT"),
        ({"op": 0, "admin": 1}, "MAINT"),
        ({"op": 2, "admin": 4}, "no check"),
        ({"op": 2, "admin": 12}, "DRAIN"),
    ],
)
def test_disabled_holds_unless_somebody_let_the_server_out_of_it(
    words: dict[str, Any], status: str
) -> None:
    assert begun(server(disabled=True), **words).status == status


@pytest.mark.parametrize(("initial", "weight"), [(5, 9), (6, 5)])
def test_a_weight_holds_if_the_configured_one_is_what_it_was(initial: int, weight: int) -> None:
    picture = begun(server(weight=5), weight=9, initial_weight=initial)
    assert (picture.weight, picture.initial_weight) == (weight, 5)


def test_the_port_is_what_it_was_and_the_address_what_is_configured() -> None:
    picture = begun(server(), host="192.0.2.99", port=77)
    assert (picture.host, picture.port) == ("192.0.2.1", 77)
    assert begun(server(), port=0).port == 9


def test_a_state_has_lasted_as_long_as_it_had() -> None:
    picture = begun(server(check=CHECK), op=0, seconds_in_state=200)
    assert (picture.seconds_in_state, picture.downtime) == (200.0, 200.0)
    assert begun(server(), seconds_in_state=7).seconds_in_state == 7.0


def test_a_state_that_is_older_than_any_process_is_cut() -> None:
    assert begun(server(), seconds_in_state=10**18).seconds_in_state == 10 * 365 * 86400


def test_who_tracks_follows_its_leader() -> None:
    made = backends(server("a", check=CHECK), server("t", track="b/a"))
    records = [record("a", op=0, admin=1), record("t", op=0, admin=2)]
    restore(made, records, NOW)
    a, t = made.balancer("b").snapshot(NOW).servers
    assert (a.status, t.status) == ("MAINT", "MAINT (via b/a)")


def test_records_of_others_are_passed_over() -> None:
    made = backends(server())
    others = [record("z", op=0), record()._replace(backend="elsewhere", op=0)]
    assert restore(made, others, NOW) == ([], [])
    assert made.balancer("b").snapshot(NOW).servers[0].status == "no check"


def test_what_changed_is_told_and_what_cannot_be_is_a_problem() -> None:
    made = backends(server("a"), server("c"))
    changes, problems = restore(made, [record("a", port=99_999), record("c", op=0)], NOW)
    assert [(change.server, change.old, change.new) for change in changes] == [
        ("c", "no check", "DOWN")
    ]
    assert [str(problem) for problem in problems] == [
        "server a: port must be 1 to 65535, not 99999"
    ]
