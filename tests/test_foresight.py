"""Who goes where, now and after a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import (
    Backend,
    Balance,
    Bind,
    Candidates,
    Check,
    Client,
    Config,
    ConfigError,
    Frontend,
    HashKind,
    HashRing,
    HashType,
    Moment,
    Server,
    StickRule,
    Table,
    plan,
)
from dsbalance.client_list import ClientList
from dsbalance.foresight import BackendOutlook, Move, Seat, _Crowd
from dsbalance.model import StickAction
from dsbalance.scenario import Scenario, Trial, find_groups, resolve
from dsbalance.suite import suite

NOW, AFTER, SETTLED = Moment
STICK: dict[str, Any] = {"table": Table(size=1000, expire=1800.0), "stick": (StickRule(),)}
SOURCE: dict[str, Any] = {
    "balance": Balance.SOURCE,
    "hash_type": HashType(kind=HashKind.CONSISTENT),
}
LIST = ["10.1.0.1-10.1.0.60"]


def server(name: str, **words: Any) -> Server:
    return Server(name=name, host="10.0.0.1", port=80, check=Check(), **words)


def config_of(*servers: Server, **words: Any) -> Config:
    return Config(backends=(Backend(name="web", servers=servers, **words),))


def look(config: Config, clients: list[str] = LIST, **words: Any) -> BackendOutlook:
    """Return the only outlook of a plan."""
    (outlook,) = plan(config, clients, **words).backends
    return outlook


def places(outlook: BackendOutlook, moment: Moment) -> list[str | None]:
    return [seat.server for seat in outlook.seats[moment]]


def reasons(outlook: BackendOutlook, moment: Moment) -> set[str]:
    return {seat.reason for seat in outlook.seats[moment]}


A, B, C = map(server, "abc")
HASHED = config_of(A, B, C, **SOURCE, **STICK)


# -- the three moments


def owners(ids: dict[str, int], outlook: BackendOutlook) -> list[str | None]:
    ring = HashRing(ids.keys(), identify=ids.__getitem__)
    return [ring.lookup(address) for address in outlook.clients]


def test_now_and_settled_are_what_a_ring_says() -> None:
    outlook = look(HASHED, lose=["b"], add={"d": "10.0.0.4"})
    assert places(outlook, NOW) == owners({"a": 1, "b": 2, "c": 3}, outlook)
    assert places(outlook, SETTLED) == owners({"a": 1, "c": 3, "d": 4}, outlook)
    assert reasons(outlook, NOW) == reasons(outlook, SETTLED) == {"hash"}


def test_after_a_loss_its_clients_have_moved_and_nobody_else() -> None:
    outlook = look(HASHED, lose=["b"])
    for before, now, later in zip(*outlook.seats.values(), strict=True):
        assert now == (
            Seat(later.server, "hash") if before.server == "b" else (before[0], "sticky")
        )
        assert later.server == now.server
    assert outlook.moved(AFTER) == outlook.counts(NOW)["b"]
    assert outlook.moves(SETTLED) == ()


servers_of = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=6, unique=True)


@given(servers_of, st.integers(1, 5), st.data())
def test_a_change_of_one_server_exchanges_no_clients_among_the_others(
    names: list[str], weight: int, data: st.DataObject
) -> None:
    config = config_of(*(server(name, weight=2) for name in names), **SOURCE, **STICK)
    name = data.draw(st.sampled_from(names))
    lost = look(config, lose=[name])
    assert {move.origin for move in lost.moves(AFTER)} <= {name}
    assert lost.moved(SETTLED) == 0
    added = look(config, add={"x": "10.0.0.9"})
    assert added.moved(AFTER) == 0
    assert {move.goal for move in added.moves(SETTLED)} <= {"x"}
    weighed = look(config, weights={name: weight})
    assert weighed.moved(AFTER) == 0
    ends = {move.goal if weight > 2 else move.origin for move in weighed.moves(SETTLED)}
    assert ends <= {name}
    for outlook in (lost, added, weighed):
        for moment in Moment:
            assert sum(outlook.counts(moment).values()) == 60


def test_without_entries_everybody_is_decided_anew_at_once() -> None:
    outlook = look(config_of(A, B, C, **SOURCE), add={"d": "10.0.0.4"})
    assert outlook.moved(AFTER) > 0
    assert outlook.moved(SETTLED) == 0


def test_without_a_change_there_is_now_alone() -> None:
    assert list(look(HASHED).seats) == [NOW]
    assert look(HASHED).moves(NOW) == ()


def test_a_change_that_does_not_concern_a_backend_leaves_it_alone() -> None:
    config = suite(paragon=["10.0.0.1", "10.0.0.2"], phoenix=["10.0.0.1", "10.0.0.2"])
    paragon, phoenix = plan(config, LIST, lose=["phoenix/primary-1"]).backends
    assert (list(paragon.seats), list(phoenix.seats)) == ([NOW], list(Moment))
    assert (paragon.fellows, phoenix.fellows) == (("paragon-http",), ("phoenix-http",))
    assert plan(config, LIST, backend="phoenix").backends[0].name == "phoenix"


def test_sessions_stay_open_and_end_when_their_client_connects_again() -> None:
    config = config_of(A, B, balance=Balance.LEASTCONN)
    outlook = look(config, add={"c": "10.0.0.3"})
    assert outlook.counts(NOW) == {"a": 30, "b": 30}
    # Each that comes finds 59 others, and goes where the fewest are.
    assert outlook.counts(AFTER) == {"a": 20, "b": 20, "c": 20}
    assert outlook.counts(SETTLED) == {"a": 20, "b": 20, "c": 20}


def test_backups_take_over_when_all_others_are_lost() -> None:
    config = config_of(A, B, server("k", backup=True), server("l", backup=True), **SOURCE, **STICK)
    outlook = look(config, lose=["a", "b"])
    assert outlook.counts(AFTER) == {"k": 60}
    assert reasons(outlook, AFTER) == {"backup"}
    assert outlook.idle(NOW) == outlook.idle(AFTER) == ()
    shared = replace(config, backends=(replace(config.backends[0], allbackups=True),))
    assert set(look(shared, lose=["a", "b"]).counts(AFTER)) == {"k", "l"}


def test_whom_nobody_can_take_is_refused() -> None:
    outlook = look(HASHED, lose=["a", "b", "c"])
    assert set(outlook.seats[AFTER]) == {Seat(None, "refused")}
    assert outlook.unserved(AFTER) == {"refused": 60}
    assert outlook.busiest(AFTER) is None
    assert set(outlook.moves(AFTER)) == {
        Move(name, None, clients) for name, clients in outlook.counts(NOW).items()
    }


def test_who_finds_no_place_waits() -> None:
    config = config_of(server("a", maxconn=10), server("b", maxconn=10))
    outlook = look(config)
    assert outlook.counts(NOW) == {"a": 10, "b": 10, None: 40}
    assert outlook.unserved(NOW) == {"waiting": 40}
    hashed = config_of(server("a", maxconn=10), server("b", maxconn=10), **SOURCE)
    queued = look(hashed)
    assert queued.counts(NOW) == look(config_of(A, B, **SOURCE)).counts(NOW)
    assert queued.unserved(NOW) == {"waiting": 40}


def test_places_that_become_free_are_handed_on() -> None:
    config = config_of(server("a", maxconn=10), server("b", maxconn=10))
    outlook = look(config, ["10.1.0.1-10.1.0.25"], add={"c": "10.0.0.3"})
    assert outlook.unserved(NOW) == {"waiting": 5}
    # The new one is like b, and there is room for all of them now.
    assert outlook.unserved(AFTER) == {}
    assert sum(outlook.counts(AFTER).values()) == 25


def test_who_is_let_in_by_a_new_server_has_an_entry_there() -> None:
    config = config_of(server("a", maxconn=10), server("b", maxconn=10), **STICK)
    outlook = look(config, ["10.1.0.1-10.1.0.25"], add={"c": "10.0.0.3"})
    assert outlook.unserved(NOW) == {"waiting": 5}
    assert outlook.counts(AFTER) == {"a": 10, "b": 10, "c": 5}
    assert reasons(outlook, AFTER) == {"sticky"}


def test_a_crowd_holds_the_places_that_it_says() -> None:
    words: dict[str, Any] = {"redispatch": 0, "retries": 0, "persist": True}
    config = config_of(A, B, **SOURCE, **STICK, **words)
    groups = find_groups(config)
    trial = Trial(config, groups[0])
    balancer = trial.balancer
    crowd = _Crowd(balancer, [groups[0].client(address) for address in ClientList(LIST)])
    crowd.come()
    assert balancer.counters.current == 60
    at_b = len(balancer.states["b"].placements)
    crowd.endure(trial, resolve(Scenario(lose=["a"]), config, groups))
    # Whoever was at the lost server has no session, and whoever is refused gets none.
    assert balancer.counters.current == at_b < 60
    crowd.come()
    balancer._check()
    assert balancer.counters.current == at_b
    assert not balancer.states["a"].placements


def test_with_persist_clients_of_a_lost_server_are_redispatched_or_refused() -> None:
    kept = {**SOURCE, **STICK, "persist": True}
    outlook = look(config_of(A, B, redispatch=1, **kept), lose=["a"])
    assert outlook.counts(AFTER) == {"b": 60}
    assert reasons(outlook, AFTER) == {"sticky", "redispatch"}
    stubborn = look(config_of(A, B, redispatch=0, retries=0, **kept), lose=["a"])
    assert stubborn.counts(AFTER)[None] == stubborn.counts(NOW)["a"]
    assert reasons(stubborn, AFTER) == {"sticky", "refused"}


def test_a_redispatch_hands_the_place_on_and_may_have_to_wait() -> None:
    servers = (server("a", maxconn=2), server("b", maxconn=2))
    config = config_of(*servers, redispatch=1, persist=True, **SOURCE, **STICK)
    outlook = look(config, ["10.1.0.1-10.1.0.9"], lose=["a"])
    assert outlook.counts(AFTER) == {"b": 9}
    assert outlook.unserved(AFTER) == {"waiting": 7}


# -- what is made of it


def test_the_busiest_and_the_idle_are_named() -> None:
    servers = (A, server("b", weight=0), server("k", backup=True), server("d", disabled=True))
    outlook = look(config_of(*servers, balance=Balance.FIRST), add={"c": "10.0.0.3"})
    assert outlook.busiest(NOW) == ("a", 1.0)
    # Of weight 0, in maintenance, or a backup: those are meant to have nobody. It is like d.
    assert outlook.idle(NOW) == ()
    assert outlook.idle(AFTER) == ("c",)
    even = look(config_of(B, A, balance=Balance.ROUNDROBIN))
    assert even.busiest(NOW) == ("b", 0.5), "the first of equals"


def test_the_largest_move_comes_first() -> None:
    outlook = look(HASHED, lose=["b"])
    counts = [move.clients for move in outlook.moves(AFTER)]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == outlook.moved(AFTER)


def test_a_server_is_told_as_it_was_and_as_it_is() -> None:
    six = Server(name="v", host="2001:db8::1", backup=True)
    outlook = look(
        config_of(A, six), lose=["v"], add={"c": "10.0.0.3:81"}, weights={"a": 4, "c": 2}
    )
    assert [(s.name, s.address, s.is_backup, s.weights, s.states) for s in outlook.servers] == [
        ("a", "10.0.0.1:80", False, (1, 4), ("UP", "UP")),
        ("v", "[2001:db8::1]", True, (1, 1), ("no check", "DOWN")),
        ("c", "10.0.0.3:81", False, (None, 2), (None, "UP")),
    ]


# -- what one ought to know besides


class Last:
    """A policy of the user's own."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.servers[-1]


class Wrong(Last):
    """One that fails."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        raise RuntimeError("I do not know")


EXAMPLE = "the address alone does not decide here"


@pytest.mark.parametrize(
    ("words", "clients", "note"),
    [
        ({"balance": Balance.ROUNDROBIN}, LIST, EXAMPLE),
        ({"policy": Last()}, LIST, EXAMPLE),
        ({**SOURCE, "hash_balance_factor": 150}, LIST, EXAMPLE),
        ({**SOURCE, **STICK, "bounded_clients": 125}, LIST, EXAMPLE),
        ({**SOURCE, **STICK, "table": Table(size=50)}, LIST, "table has room for 50 of 60 clients"),
        ({**SOURCE, **STICK}, ["::1", "::2"], "2 IPv6 clients get no entry"),
    ],
)
def test_what_is_easily_overlooked_is_said(
    words: dict[str, Any], clients: list[str], note: str
) -> None:
    (found,) = look(config_of(A, B, **words), clients).notes
    assert note in found


def test_what_is_certain_needs_no_note() -> None:
    assert look(HASHED).notes == ()
    exact = {**STICK, "table": Table(size=60)}
    assert look(config_of(A, B, **SOURCE, **exact)).notes == ()
    ipv6 = {**STICK, "table": Table(size=100, type="ipv6")}  # type: ignore[arg-type]
    assert look(config_of(A, B, **SOURCE, **ipv6), ["::1"]).notes == ()


def test_nobody_notices_the_loss_of_a_server_without_a_check() -> None:
    quiet = Server(name="q", host="10.0.0.9", port=80)
    (note,) = look(config_of(A, quiet, **SOURCE), lose=["q"]).notes
    assert note.startswith("q has no check")
    assert look(config_of(A, quiet, **SOURCE), lose=["a"]).notes == ()


def test_a_policy_that_fails_is_told_of() -> None:
    outlook = look(config_of(A, B, policy=Wrong()))
    assert sum("I do not know" in note for note in outlook.notes) == 1
    assert outlook.counts(NOW) == {"a": 30, "b": 30}, "what `balance` says stands in"


def test_ipv4_clients_of_an_ipv6_socket_are_hashed_as_they_come() -> None:
    def listening(host: str) -> Config:
        front = Frontend(name="f", binds=(Bind(host=host, port=80),), backend="web")
        return replace(HASHED, frontends=(front,))

    assert places(look(listening("")), NOW) == places(look(HASHED), NOW)
    dual = look(listening("::"))
    mapped = look(HASHED, [f"::ffff:10.1.0.{number}" for number in range(1, 61)])
    assert places(dual, NOW) == places(mapped, NOW) != places(look(HASHED), NOW)
    # The table takes the address that is in it.
    assert dual.notes == mapped.notes == ()


def test_store_only_rules_remember_and_do_not_ask() -> None:
    stored = {**STICK, "stick": (StickRule(action=StickAction.STORE_REQUEST),)}
    outlook = look(config_of(A, B, **SOURCE, **stored), weights={"a": 9})
    assert outlook.moved(AFTER) > 0
    assert reasons(outlook, AFTER) == {"hash"}


def test_a_plan_changes_nothing() -> None:
    policy = Last()
    config = config_of(A, B, policy=policy)
    before = (config, vars(policy).copy())
    assert look(config, lose=["b"]) == look(config, lose=["b"])
    assert before == (config, vars(policy))


@pytest.mark.parametrize(
    ("clients", "words", "reason"),
    [
        ([], {}, "there is no client"),
        (["nobody"], {}, "'nobody' is not an address"),
        (LIST, {"backend": "x"}, "there is no backend with servers 'x'"),
        (LIST, {"lose": ["x"]}, "there is no server 'x'"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    clients: list[str], words: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        plan(HASHED, clients, **words)


# -- few printers


@pytest.mark.parametrize("count", [2, 3])
def test_of_six_printers_in_a_row_every_server_gets_one(count: int) -> None:
    config = suite(paragon=[f"10.0.0.{number}" for number in range(1, count + 1)])
    for first in range(1, 250):
        outlook = look(config, [f"10.1.0.{first}-10.1.0.{first + 5}"])
        assert outlook.idle(NOW) == (), first
