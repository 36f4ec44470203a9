"""What a snapshot of a backend and its servers says."""

from __future__ import annotations

import pytest

from dsbalance.balancer import AdminState, Health
from dsbalance.counters import Times
from dsbalance.model import Balance, Check, Server
from dsbalance.stats import Responses
from routing import make, place, server


def test_a_backend_has_what_its_servers_and_nobody_counted() -> None:
    balancer = make("ab", balance=Balance.FIRST)
    place(balancer)
    a, b = (state.counters for state in balancer.states.values())
    a.bytes_in, b.bytes_in, balancer.counters.bytes_in = 1, 10, 100
    a.retries, b.connects, b.responses[2], balancer.counters.responses[2] = 2, 3, 4, 5
    whole = balancer.snapshot(1.0, 7, {"a": "192.0.2.1:9"})
    assert (whole.name, whole.id, whole.balance, whole.is_http) == ("x", 7, "first", False)
    assert (whole.bytes_in, whole.retries, whole.connects) == (111, 2, 3)
    assert whole.responses == Responses(successful=5)
    assert whole.servers[1].responses == Responses(successful=4)
    assert (whole.current, whole.total, whole.active, whole.backups) == (1, 1, 2, 0)
    assert [each.address for each in whole.servers] == ["192.0.2.1:9", ""]


def test_the_weight_of_a_backend_is_of_those_that_are_chosen_from() -> None:
    servers = [server("a", weight=10), server("b", weight=5), server("c", weight=3, backup=True)]
    balancer = make(servers)
    assert balancer.snapshot(0.0).weight == 15
    balancer.set_admin("a", AdminState.DRAIN, 1.0)
    assert balancer.snapshot(1.0).weight == 5
    balancer.set_health("b", Health.DOWN, 2.0)
    assert balancer.snapshot(2.0).weight == 3


def test_a_backend_was_used_when_a_server_of_it_was() -> None:
    balancer = make("ab")
    assert balancer.snapshot(0.0).since_used is None
    balancer.set_admin("a", AdminState.MAINT, 0.0)
    place(balancer)
    balancer.step(1.0)
    balancer.counters.enter()  # one that was refused
    whole = balancer.snapshot(5.0)
    assert [each.since_used for each in whole.servers] == [None, 4.0]
    assert whole.since_used == 4.0
    balancer.set_admin("a", AdminState.READY, 5.0)
    balancer.set_admin("b", AdminState.MAINT, 5.0)
    place(balancer)
    whole = balancer.snapshot(6.0)
    assert [each.since_used for each in whole.servers] == [0.0, 5.0]
    assert whole.since_used == 0.0


def test_times_are_means_of_the_last_and_the_longest_of_all() -> None:
    balancer = make("ab")
    a, b = (state.counters.timing for state in balancer.states.values())
    a.add(0.0, 1.0, 0.0, 4.0)
    b.add(0.0, 3.0, 0.0, 4.0)
    b.add(0.0, 3.0, 0.0, 7.0)
    whole = balancer.snapshot(9.0)
    assert whole.longest == Times(connect=3.0, total=7.0)
    assert whole.servers[0].means == Times(connect=1.0, total=4.0)
    assert whole.means.total == pytest.approx(5.0)
    assert make("").snapshot(0.0).longest == Times()


def test_a_check_says_where_it_goes_if_not_where_the_clients_go() -> None:
    checks = [Check(), Check(ports=(7,), host="192.0.2.9"), Check(ports=(7, 8))]
    servers = [server(name, check=check) for name, check in zip("abc", checks, strict=True)]
    pictures = make([*servers, server("d", check=None)]).snapshot(0.0).servers
    assert [each.check and (each.check.host, each.check.port) for each in pictures] == [
        (None, None),
        ("192.0.2.9", 7),
        (None, None),
        None,
    ]


def test_checks_rest_in_maintenance() -> None:
    balancer = make("a")
    balancer.set_admin("a", AdminState.MAINT, 0.0)
    (picture,) = balancer.snapshot(0.0).servers
    assert picture.check is not None
    assert picture.check.is_paused
    assert (picture.check.rise, picture.check.fall, picture.check.health) == (1, 1, 1)


def test_a_server_that_starts_slowly_says_what_it_may_carry() -> None:
    balancer = make([server("a", weight=10, slowstart=100.0)])
    balancer.set_health("a", Health.DOWN, 0.0)
    balancer.set_health("a", Health.UP, 1.0)
    balancer.step(13.0)
    (picture,) = balancer.snapshot(13.0).servers
    assert (picture.throttle, picture.weight, picture.asked_weight) == (12, 2, 10)
    whole = balancer.snapshot(13.0)
    assert (whole.weight, whole.asked_weight) == (2, 10)
    balancer.step(102.0)
    (picture,) = balancer.snapshot(102.0).servers
    assert (picture.throttle, picture.weight) == (None, 10)


def test_a_server_is_disabled_by_the_configuration_whatever_was_asked_for_since() -> None:
    balancer = make([Server(name="a", host="192.0.2.1", port=9, disabled=True)])
    balancer.set_admin("a", AdminState.READY, 1.0)
    (picture,) = balancer.snapshot(1.0).servers
    assert (picture.is_disabled, picture.status) == (True, "no check")
