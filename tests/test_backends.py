"""What links backends: shared tables, followers, and what must not be left dangling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Failure, Health, Placement
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.door import BackendRule
from dsbalance.errors import ConfigError
from dsbalance.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Config,
    Frontend,
    Observe,
    OnError,
    Server,
    StickRule,
    Table,
    TableType,
)
from dsbalance.policy import Client, Reason
from dsbalance.stats import BackendSnapshot

READY, DRAIN, MAINT = AdminState
WATCHED = Check(rise=2, fall=2)
CLIENT = Client("10.0.0.1", ip_address("10.0.0.1").packed, 5022)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **{"check": WATCHED, **settings})


def pictures(backends: Backends, now: float) -> list[BackendSnapshot]:
    return [balancer.snapshot(now) for balancer in backends]


def follower(name: str, track: str, **settings: Any) -> Server:
    return server(name, check=None, track=track, **settings)


def suite() -> Config:
    """Return the usual pair: a checked backend with the table, and one that follows it."""
    return Config(
        frontends=(Frontend(name="front", binds=(Bind(port=0),), backend="secure"),),
        backends=(
            Backend(
                name="secure",
                servers=(server("a"), server("b")),
                table=Table(size=100, expire=1800.0),
                stick=(StickRule(),),
            ),
            Backend(
                name="plain",
                servers=(follower("a", "secure/a", shutdown_on_down=True), server("b")),
                stick=(StickRule(table="secure"),),
            ),
        ),
    )


@pytest.fixture
def backends() -> Iterator[Backends]:
    backends = Backends(suite(), 100.0)
    yield backends
    check(backends)


def check(backends: Backends) -> None:
    for balancer in backends:
        balancer._check()
    assert [balancer.backend for balancer in backends] == list(backends.config.backends)


def words(changes: list[Any]) -> list[str]:
    return [f"{c.backend}/{c.server} {c.old} -> {c.new}: {c.reason}" for c in changes]


def connect(backends: Backends, name: str, now: float = 0.0) -> Placement:
    placement = backends.balancer(name).route(CLIENT, now)
    backends.balancer(name).connected(placement, now)
    return placement


def name_of(placement: Placement) -> str:
    assert placement.server is not None
    return placement.server.name


# --- tables --------------------------------------------------------------------------------------


def test_a_client_keeps_its_server_across_the_backends_that_share_a_table(
    backends: Backends,
) -> None:
    connect(backends, "secure")
    backends.balancer("secure").release(connect(backends, "secure"), 0.0)
    shared = connect(backends, "plain")
    assert (name_of(shared), shared.reason) == ("a", Reason.STICKY)
    assert backends.table("secure").uses(CLIENT.packed) == 2


def test_a_table_is_what_its_configuration_says() -> None:
    table = Table(size=7, expire=None, type=TableType.IPV6, nopurge=True)
    backends = Backends(Config(backends=(Backend(name="x", table=table), Backend(name="y"))))
    made = backends.table("x")
    assert (made.size, made.ttl, made.accepts_ipv6, made.nopurge) == (7, None, True, True)
    assert backends.tables == {"x": made}


# --- followers -----------------------------------------------------------------------------------


def test_a_follower_goes_down_and_comes_up_with_its_leader(backends: Backends) -> None:
    session = connect(backends, "plain")
    assert name_of(session) == "a"
    changes = backends.check_failed("secure", "a", 101.0, "refused")
    assert words(changes) == [
        "secure/a UP -> DOWN: refused",
        "plain/a UP -> DOWN: via secure/a",
    ]
    assert changes[1].shutdown == (session,)
    assert backends.check_passed("secure", "a", 102.0, "fine") == []
    assert backends.balancer("plain").states["a"].status == "DOWN 1/2"
    assert words(backends.check_passed("secure", "a", 103.0, "fine")) == [
        "secure/a DOWN -> UP: fine",
        "plain/a DOWN -> UP: via secure/a",
    ]


def test_a_follower_inherits_what_is_asked_of_its_leader_and_keeps_its_own(
    backends: Backends,
) -> None:
    set_admin = backends.set_admin
    assert words(set_admin("secure", "a", DRAIN, 1.0)) == [
        "secure/a UP -> DRAIN: set to drain",
        "plain/a UP -> DRAIN: via secure/a",
    ]
    assert words(set_admin("secure", "a", MAINT, 2.0)) == [
        "secure/a DRAIN -> MAINT: set to maint",
        "plain/a DRAIN -> MAINT (via secure/a): via secure/a",
    ]
    # As observed on HAProxy 2.6.12: its own maintenance shows when the leader's is over.
    assert set_admin("plain", "a", MAINT, 3.0) == []
    assert words(set_admin("secure", "a", READY, 4.0)) == [
        "secure/a MAINT -> UP: set to ready",
        "plain/a MAINT (via secure/a) -> MAINT: via secure/a",
    ]
    assert words(set_admin("plain", "a", READY, 5.0)) == ["plain/a MAINT -> UP: set to ready"]


def test_a_weight_is_not_inherited(backends: Backends) -> None:
    (change,) = backends.set_weight("secure", "a", 0, 1.0)
    assert (change.old, change.new) == ("UP", "UP")
    assert not backends.balancer("secure").states["a"].is_usable
    assert backends.balancer("plain").states["a"].is_usable


def test_a_disabled_leader_keeps_its_followers_out_from_the_start() -> None:
    leader = Backend(name="x", servers=(server("a", disabled=True),))
    other = Backend(name="y", servers=(follower("a", "x/a"),))
    # The follower stands before its leader, which a file may well say.
    backends = Backends(Config(backends=(other, leader)))
    assert backends.balancer("y").states["a"].status == "MAINT (via x/a)"
    assert backends.balancer("y").snapshot(0.0).status == "DOWN"


def test_a_server_may_follow_one_of_its_own_backend() -> None:
    backends = Backends(
        Config(backends=(Backend(name="x", servers=(server("a"), follower("b", "x/a"))),))
    )
    assert backends.followers("x", "a") == [("x", "b")]
    changes = backends.check_failed("x", "a", 1.0)
    assert [change.server for change in changes] == ["a", "b"]
    assert changes[1].active == 0


def test_the_health_of_a_leader_can_be_set_and_a_followers_cannot(backends: Backends) -> None:
    changes = backends.set_health("secure", "a", Health.DOWN, 1.0)
    assert [change.backend for change in changes] == ["secure", "plain"]
    with pytest.raises(ConfigError, match="server a: its health is that of secure/a"):
        backends.set_health("plain", "a", Health.UP, 2.0)


def test_the_result_of_a_check_may_come_too_late(backends: Backends) -> None:
    assert backends.check_passed("gone", "a", 1.0) == []
    assert backends.check_failed("gone", "a", 1.0) == []
    assert backends.check_failed("secure", "gone", 1.0) == []


# --- what comes and goes -------------------------------------------------------------------------


def test_a_follower_that_is_added_is_at_once_what_its_leader_is(backends: Backends) -> None:
    backends.check_failed("secure", "b", 1.0)
    (change,) = backends.add_server("plain", follower("c", "secure/b"), 2.0)
    assert words([change]) == ["plain/c  -> DOWN: added"]
    assert backends.followers("secure", "b") == [("plain", "c")]
    (change,) = backends.add_server("plain", server("d"), 2.0)
    assert words([change]) == ["plain/d  -> UP: added"]
    for _ in range(2):
        changes = backends.check_passed("secure", "b", 3.0)
    assert [change.server for change in changes] == ["b", "c"]


def test_a_server_that_is_removed_is_followed_no_more(backends: Backends) -> None:
    assert words(backends.remove_server("plain", "a", 1.0)) == ["plain/a UP -> : removed"]
    assert backends.followers("secure", "a") == []
    assert len(backends.check_failed("secure", "a", 2.0)) == 1
    backends.remove_server("secure", "a", 3.0)
    assert [each.name for each in backends.balancer("secure").candidates] == ["b"]


def test_a_backend_that_is_added_is_linked(backends: Backends) -> None:
    new = Backend(
        name="new",
        servers=(follower("z", "secure/b"),),
        table=Table(size=5),
        stick=(StickRule(), StickRule(table="secure")),
    )
    backends.add_backend(new, 1.0)
    assert len(backends) == 3
    assert backends.table("new").size == 5
    changes = backends.check_failed("secure", "b", 2.0)
    assert [change.backend for change in changes] == ["secure", "new"]
    backends.remove_backend("new")
    assert len(backends) == 2
    assert len(backends.check_passed("secure", "b", 3.0)) == 0
    assert len(backends.check_passed("secure", "b", 3.0)) == 1


def test_sessions_of_a_removed_backend_go_on_to_their_end(backends: Backends) -> None:
    balancer = backends.balancer("plain")
    session = connect(backends, "plain")
    backends.remove_backend("plain")
    assert backends.table("secure").busy == 1
    balancer.release(session, 1.0)
    assert backends.table("secure").busy == 0


REFUSED: list[tuple[Callable[[Backends], object], str]] = [
    (lambda b: b.add_backend(Backend(name="secure"), 1.0), "backend 'secure' is given 2 times"),
    (
        lambda b: b.add_backend(Backend(name="n", stick=(StickRule(table="plain"),)), 1.0),
        "backend n: stick: 'plain' has no stick-table",
    ),
    (
        lambda b: b.add_backend(Backend(name="n", servers=(follower("a", "secure/z"),)), 1.0),
        "track: there is no server 'secure/z'",
    ),
    (
        lambda b: b.add_backend(Backend(name="n", policy="x:y", table=Table(size=1)), 1.0),
        "backend n: policy x:y: ModuleNotFoundError",
    ),
    (lambda b: b.remove_backend("secure"), "backend plain: stick: 'secure' has no stick-table"),
    (lambda b: b.remove_backend("secure"), "track: there is no server 'secure/a'"),
    (lambda b: b.remove_backend("gone"), "there is no backend 'gone'"),
    (lambda b: b.add_server("secure", server("a"), 1.0), "server 'a' is given 2 times"),
    (lambda b: b.add_server("secure", server("c", id=2), 1.0), "id 2 is taken"),
    (
        lambda b: b.add_server("plain", follower("c", "plain/a"), 1.0),
        "plain/a tracks another server itself",
    ),
    (lambda b: b.add_server("gone", server("a"), 1.0), "there is no backend 'gone'"),
    (lambda b: b.remove_server("secure", "a", 1.0), "server a: it cannot be removed: plain/a"),
    (lambda b: b.remove_server("secure", "z", 1.0), "there is no server 'z'"),
    (lambda b: b.set_admin("secure", "z", MAINT, 1.0), "there is no server 'z'"),
    (lambda b: b.set_admin("gone", "a", MAINT, 1.0), "there is no backend 'gone'"),
    (lambda b: b.set_weight("secure", "a", 999, 1.0), "weight must be 0 to 256"),
    (lambda b: b.table("plain"), "there is no stick-table 'plain'"),
    (lambda b: b.table("n"), "there is no stick-table 'n'"),
]


@pytest.mark.parametrize(("act", "sentence"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_would_dangle_is_refused_and_changes_nothing(
    backends: Backends, act: Callable[[Backends], object], sentence: str
) -> None:
    before = backends.config, backends.tables, pictures(backends, 200.0)
    with pytest.raises(ConfigError, match=sentence):
        act(backends)
    assert (backends.config, backends.tables, pictures(backends, 200.0)) == before


def test_frontends_are_the_callers(backends: Backends) -> None:
    assert backends.config.frontends == ()
    assert [backend.name for backend in backends.config.backends] == ["secure", "plain"]


def test_a_snapshot_has_them_all_in_their_order(backends: Backends) -> None:
    secure, plain = pictures(backends, 160.0)
    assert [secure.name, plain.name] == ["secure", "plain"]
    assert {secure.seconds_in_state, plain.seconds_in_state} == {60.0}
    assert plain.servers[0].tracked == "secure/a"
    assert secure.servers[0].status == "UP 1/2"


# --- properties ----------------------------------------------------------------------------------

events = st.lists(
    st.tuples(
        st.sampled_from(["passed", "failed", "leader", "follower", "weight"]),
        st.sampled_from([READY, DRAIN, MAINT]),
    ),
    max_size=30,
)


@settings(max_examples=100)
@given(events)
def test_a_follower_is_running_if_its_leader_is_and_nothing_keeps_itself_out(
    history: list[tuple[str, AdminState]],
) -> None:
    backends = Backends(
        Config(
            backends=(
                Backend(name="x", servers=(server("a"),), balance=Balance.FIRST),
                Backend(name="y", servers=(follower("b", "x/a"),)),
            )
        )
    )
    leader, tracker = backends.balancer("x").states["a"], backends.balancer("y").states["b"]
    told = {"x": leader.word, "y": tracker.word}
    for event, admin in history:
        match event:
            case "passed":
                changes = backends.check_passed("x", "a", 1.0)
            case "failed":
                changes = backends.check_failed("x", "a", 1.0)
            case "leader":
                changes = backends.set_admin("x", "a", admin, 1.0)
            case "follower":
                changes = backends.set_admin("y", "b", admin, 1.0)
            case _:
                changes = backends.set_weight("x", "a", len(history), 1.0)
        check_links(backends)
        for change in changes:
            assert change.old == told[change.backend]
            told[change.backend] = change.new
        # Whoever only listens to changes knows everything.
        assert told == {"x": leader.word, "y": tracker.word}
        assert tracker.is_running is (leader.is_running and tracker.admin is not MAINT)
        is_free = tracker.admin is READY and leader.admin is READY
        assert tracker.is_usable is (leader.is_running and is_free)


def check_links(backends: Backends) -> None:
    for balancer in backends:
        balancer._check()
    for balancer in backends:
        for state in balancer.states.values():
            if state.leader is not None:
                assert state.gate is state.leader.gate
                assert state.inherited is state.leader.admin


# --- what failed attempts come to, and slow starts -----------------------------------------------


def test_a_server_that_traffic_takes_down_takes_down_those_that_track_it() -> None:
    observe = Observe(error_limit=1, on_error=OnError.MARK_DOWN)
    first, second = suite().backends
    watched = replace(first, servers=(server("a", observe=observe), server("b")))
    backends = Backends(Config(backends=(watched, second)))
    secure = backends.balancer("secure")
    placement = secure.route(CLIENT, 0.0)
    assert backends.take_alarm(secure, 0.0) is None
    assert secure.failed(placement, Failure.REFUSED, 1.0) is not None
    alarm = backends.take_alarm(secure, 1.0)
    assert alarm is not None
    assert alarm.servers == ("a",)
    assert [(c.backend, c.server, c.new) for c in alarm.changes] == [
        ("secure", "a", "DOWN"),
        ("plain", "a", "DOWN"),
    ]


def test_each_second_lets_more_in_where_a_server_starts_slowly() -> None:
    slow = Backend(name="slow", servers=(server("a", maxconn=10, slowstart=10.0),))
    backends = Backends(Config(backends=(slow, Backend(name="other"))))
    backends.set_health("slow", "a", Health.DOWN, 0.0)
    backends.set_health("slow", "a", Health.UP, 0.0)
    visits = [backends.balancer("slow").route(CLIENT, 0.0) for _ in range(3)]
    assert [visit.is_queued for visit in visits] == [False, True, True]
    assert backends.step(1.0) == []
    assert backends.step(2.0) == [visits[1]]
    assert backends.step(20.0) == [visits[2]]


def test_a_backend_is_full_with_a_tenth_of_what_its_frontends_may_have() -> None:
    def limits(*maxconns: int | None, process: int | None = 400) -> list[int | None]:
        frontends = tuple(
            Frontend(name=f"f{n}", binds=(Bind(port=0),), backend="x", maxconn=maxconn)
            for n, maxconn in enumerate(maxconns)
        )
        growing = Backend(name="x", servers=(server("a", minconn=1, maxconn=100),))
        balancer = Backends(
            Config(frontends=frontends, backends=(growing,), maxconn=process)
        ).balancer("x")
        found = []
        for _ in range(12):
            balancer.route(CLIENT, 0.0)
            found.append(balancer.states["a"].limit)
        return found

    # Of 105 + 0: a tenth is 11, rounded up.
    assert limits(105)[8:12] == [9 * 100 // 11, 10 * 100 // 11, 100, 100]
    assert limits(55, 55)[9:11] == [10 * 100 // 11, 100]
    assert limits(None)[9] == 10 * 100 // 40
    assert limits()[0] == 100


def test_the_default_of_fullconn_counts_every_frontend_that_may_come() -> None:
    config = Config(
        frontends=(
            Frontend(name="f", binds=(Bind(port=1),), backend="a", maxconn=100),
            Frontend(
                name="g",
                binds=(Bind(port=2),),
                backend="b",
                routes=(BackendRule(backend="a"), BackendRule(backend="a")),
                maxconn=50,
            ),
        ),
        backends=tuple(
            Backend(
                name=name, servers=(Server(name="s", host="h", port=1, minconn=10, maxconn=150),)
            )
            for name in "ab"
        ),
    )
    backends = Backends(config)
    # A tenth of 150, and of 50: so many sessions lift the limit from minconn to maxconn.
    for name, fullconn in (("a", 15), ("b", 5)):
        balancer = backends.balancer(name)
        for _ in range(fullconn - 1):
            balancer.route(CLIENT, 0.0)
        limit = balancer.states["s"].limit
        assert limit is not None
        assert limit < 150
        balancer.route(CLIENT, 0.0)
        assert balancer.states["s"].limit == 150


def test_what_a_check_came_to_is_kept_unless_the_backend_has_gone(backends: Backends) -> None:
    result = CheckResult(status=CheckStatus.L4OK, port=9)
    backends.note_check("secure", "a", 150.0, result)
    backends.note_check("gone", "a", 150.0, result)
    assert backends.state("secure", "a").last_check is result


def test_counters_of_all_backends_are_cleared(backends: Backends) -> None:
    for balancer in backends:
        balancer.counters.enter()
    backends.clear(is_all=False)
    assert [(each.total, each.peak) for each in pictures(backends, 160.0)] == [(1, 0)] * 2
    backends.clear(is_all=True)
    assert [(each.total, each.current) for each in pictures(backends, 160.0)] == [(0, 1)] * 2
