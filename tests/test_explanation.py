"""Each step of a choice in words, and that it is the choice which is made."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import (
    Backend,
    Balance,
    Candidates,
    Client,
    HashKind,
    HashRing,
    HashType,
    Server,
    StickRule,
    Table,
)
from dsbalance.balancer import AdminState, Balancer
from dsbalance.explanation import Step, explain_choice, explain_now
from dsbalance.hashring import avalanche, source_hash
from dsbalance.policy import BuiltIn, Guarded, built_in, guarded
from dsbalance.sticky import StickTable


def client(address: str) -> Client:
    return Client(address, ip_address(address).packed, 80)


def offer(*weights: int, **words: Any) -> Candidates:
    """Return candidates ``a``, ``b`` and so on of these weights."""
    names = "abcdefgh"[: len(weights)]
    servers = [
        Server(name=name, host="10.0.0.1", weight=weight)
        for name, weight in zip(names, weights, strict=True)
    ]
    return Candidates(servers, **words)


def policy_of(servers: Candidates, **words: Any) -> BuiltIn:
    """Return a policy that has been told of the servers."""
    policy = built_in(Backend(name="web", **words))
    policy.adapt(servers)
    return policy


CONSISTENT: dict[str, Any] = {
    "balance": Balance.SOURCE,
    "hash_type": HashType(kind=HashKind.CONSISTENT),
}
MAP: dict[str, Any] = {"balance": Balance.SOURCE}
PRINTER = client("10.1.0.7")


def steps_of(
    servers: Candidates, who: Client = PRINTER, avoid: Server | None = None, **words: Any
) -> dict[str, Step]:
    """Return the steps by their topics, which differ."""
    steps = explain_choice(policy_of(servers, **words), who, servers, avoid)
    found = {step.topic: step for step in steps}
    assert len(found) == len(steps)
    assert all(str(step) == step.text for step in steps)
    assert all(step.text.endswith(".") for step in steps), "whole sentences"
    return found


# -- on the ring


def test_the_steps_on_a_ring_have_its_places() -> None:
    steps = steps_of(offer(1, 1, 2), **CONSISTENT)
    assert list(steps) == ["hash", "ring", "nearest", "order"]
    value = avalanche(0x0A010007)
    assert steps["hash"].facts == {"key": 0x0A010007, "mixed": True, "hash": value}
    assert steps["hash"].text == (
        f"10.1.0.7 as a number is 0x0a010007, which the avalanche mixes to {value:#010x}."
    )
    assert steps["ring"].facts == {"nodes": {"a": 16, "b": 16, "c": 32}}
    assert "has 64 nodes, 16 for each unit of weight: a 16, b 16, c 32." in steps["ring"].text


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.booleans(),
)
def test_the_nearest_node_is_worked_out_as_it_is_told(
    weights: list[int], address: Any, is_mixed: bool
) -> None:
    servers = offer(*weights)
    kind = HashType(kind=HashKind.CONSISTENT, avalanche=is_mixed)
    words: dict[str, Any] = {"balance": Balance.SOURCE, "hash_type": kind}
    steps = steps_of(servers, client(str(address)), **words)
    nodes = sorted(
        (avalanche(4096 * servers.ids[server.name] + index), server.name)
        for server in servers
        for index in range(16 * server.weight)
    )
    facts: dict[str, Any] = dict(steps["nearest"].facts)
    value = source_hash(address.packed)
    value = avalanche(value) if is_mixed else value
    below = max((node for node in nodes if node[0] < value), default=nodes[-1])
    above = min((node for node in nodes if node[0] >= value), default=nodes[0])
    assert (facts["below"]["place"], facts["below"]["server"]) == below
    assert (facts["above"]["place"], facts["above"]["server"]) == above
    assert facts["below"]["distance"] == (value - below[0]) % 2**32
    assert facts["above"]["distance"] == (above[0] - value) % 2**32
    is_below = facts["below"]["distance"] <= facts["above"]["distance"]
    assert facts["server"] == facts["below" if is_below else "above"]["server"]
    chosen = policy_of(servers, **words).choose(client(str(address)), servers, None)
    assert chosen is not None
    assert chosen.name == facts["server"] == steps["order"].facts["servers"][0]  # type: ignore[index]


def test_the_verdict_says_why() -> None:
    def verdict(address: str) -> str:
        text = steps_of(offer(1, 1), client(address), **RAW)["nearest"].text
        return text.rpartition("away. ")[2]

    # Without the avalanche an address is its own place, so it can be put wherever it is wanted.
    kind = HashType(kind=HashKind.CONSISTENT, avalanche=False)
    RAW: dict[str, Any] = {"balance": Balance.SOURCE, "hash_type": kind}  # noqa: N806
    ring = HashRing({"a": 1, "b": 1}, identify={"a": 1, "b": 2}.__getitem__, avalanche=False)
    found = set()
    for index in range(16):
        place = avalanche(4096 + index)
        below, above = ring.neighbours(place + 1)
        middle = below.place + (above.place - below.place) // 2
        if above.place < below.place:
            continue
        is_even = (above.place - below.place) % 2 == 0
        who = str(ip_address(middle))
        if below.member == above.member:
            assert verdict(who) == "Both are a's."
            found.add("same")
        elif is_even:
            assert verdict(who) == "Both are equally near, and the lower one wins: a."
            found.add("tie")
            assert verdict(str(ip_address(middle + 1))) == f"The nearer one wins: {above.member}."
        else:
            assert verdict(who) == "The nearer one wins: a."
            found.add("near")
    assert found == {"same", "tie", "near"}


def test_an_ipv6_address_is_folded_word_by_word() -> None:
    step = steps_of(offer(1, 1), client("2001:db8::7"), **CONSISTENT)["hash"]
    assert "2001:db8::7 is 20010db8 xor 00000000 xor 00000000 xor 00000007 = 0x20010dbf" in str(
        step
    )


def test_an_address_that_is_not_mixed_says_so() -> None:
    step = steps_of(offer(1, 1), **MAP)["hash"]
    assert str(step) == "10.1.0.7 as a number is 0x0a010007, and is not mixed."
    assert step.facts["mixed"] is False


@pytest.mark.parametrize("number", range(1, 20))
def test_who_is_next_after_a_failure_is_who_is_chosen_then(number: int) -> None:
    servers = offer(1, 1, 1)
    who = client(f"10.1.0.{number}")
    policy = policy_of(servers, **CONSISTENT)
    first = policy.choose(who, servers, None)
    following = policy.choose(who, servers, first)
    assert first is not None
    assert following is not None
    step = steps_of(servers, who, first, **CONSISTENT)["avoid"]
    assert step.facts == {"server": following.name}
    assert step.text.startswith(f"{first.name} has just failed")


class Carried:
    """What a server has."""

    def __init__(self, sessions: int, share: int = 16) -> None:
        self.placements = range(sessions)
        self.queue = ()
        self.limit = None
        self.share = share
        self.before = 0
        self.moved = self.moved_load = sessions


def test_who_has_too_many_is_named_with_the_numbers() -> None:
    loads: Any = {"a": Carried(0), "b": Carried(9), "c": Carried(0)}
    entries = {"a": 8, "b": 1, "c": 1}
    servers = offer(1, 1, 1, loads=loads, clients=entries.__getitem__)
    bounded = {**CONSISTENT, "hash_balance_factor": 150}
    policy = policy_of(servers, **bounded)
    owners = set()
    for number in range(1, 30):
        who = client(f"10.1.0.{number}")
        steps = steps_of(servers, who, **bounded)
        assert list(steps) == ["hash", "ring", "nearest", "limit", "order"]
        chosen = policy.choose(who, servers, None)
        assert chosen is not None
        assert steps["limit"].facts == {"passed_over": ["b"], "server": chosen.name}
        owners.add(steps["nearest"].facts["server"])
    assert "b" in owners
    assert steps["limit"].text == (
        "hash-balance-factor 150 looks at the sessions: a 0, b 9, c 0. "
        f"b has too many; the first other is {steps['limit'].facts['server']}."
    )


def test_both_limits_can_pass_somebody_over() -> None:
    loads: Any = {"a": Carried(0), "b": Carried(9), "c": Carried(0)}
    servers = offer(1, 1, 1, loads=loads, clients={"a": 8, "b": 1, "c": 1}.__getitem__)
    policy = policy_of(servers, **CONSISTENT)
    policy.factor, policy.bound = 150, 125  # type: ignore[union-attr]
    (step,) = (s for s in explain_choice(policy, PRINTER, servers) if s.topic == "limit")
    assert step.facts == {"passed_over": ["a", "b"], "server": "c"}
    assert "bounded-clients 125 looks at the stick entries: a 8, b 1, c 1." in step.text
    assert "a and b have too many" in step.text


@pytest.mark.parametrize("number", range(1, 9))
def test_after_a_failure_whoever_has_too_many_is_passed_over_as_well(number: int) -> None:
    loads: Any = {"a": Carried(0), "b": Carried(9), "c": Carried(0)}
    servers = offer(1, 1, 1, loads=loads)
    words = {**CONSISTENT, "hash_balance_factor": 150}
    step = steps_of(servers, client(f"10.1.0.{number}"), servers.get("a"), **words)["avoid"]
    assert step.facts == {"server": "c"}


def test_entries_alone_can_pass_somebody_over() -> None:
    servers = offer(1, 1, 1, clients={"a": 8, "b": 1, "c": 1}.__getitem__)
    words = {**CONSISTENT, "table": Table(size=9), "stick": (StickRule(),), "bounded_clients": 125}
    step = steps_of(servers, **words)["limit"]
    assert step.facts["passed_over"] == ["a"]
    assert step.text.startswith("bounded-clients 125 looks at the stick entries: a 8, b 1, c 1.")


def test_a_limit_that_nobody_has_reached_is_told_too() -> None:
    step = steps_of(offer(1, 1), **CONSISTENT, hash_balance_factor=150)["limit"]
    assert step.text.endswith("Nobody has too many.")


def test_the_ring_is_that_of_the_policy() -> None:
    servers = offer(1, 1, loads={"a": Carried(0, share=3), "b": Carried(0)})
    assert steps_of(servers, **CONSISTENT)["ring"].facts == {"nodes": {"a": 3, "b": 16}}


# -- elsewhere


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.ip_addresses(v=4))
def test_a_slot_is_the_remainder(weights: list[int], address: Any) -> None:
    servers = offer(*weights)
    who = client(str(address))
    steps = steps_of(servers, who, **MAP)
    assert list(steps) == ["hash", "slot"]
    facts = steps["slot"].facts
    assert facts["slot"] == int(address) % facts["slots"]  # type: ignore[operator]
    chosen = policy_of(servers, **MAP).choose(who, servers, None)
    assert chosen is not None
    assert facts["server"] == chosen.name


@pytest.mark.parametrize(
    "balance", [Balance.ROUNDROBIN, Balance.STATIC_RR, Balance.LEASTCONN, Balance.FIRST]
)
def test_to_ask_whose_turn_it_is_takes_no_turn(balance: Balance) -> None:
    servers = offer(1, 2, 3)
    policy = policy_of(servers, balance=balance)
    for _ in range(12):
        told = [explain_choice(policy, PRINTER, servers)[0] for _ in range(2)]
        chosen = policy.choose(PRINTER, servers, None)
        assert chosen is not None
        assert [step.facts["server"] for step in told] == [chosen.name] * 2
        assert told[0].text.endswith(f"Sessions: a 0, b 0, c 0. Now it is {chosen.name}.")


def test_a_turn_passes_by_who_has_just_failed() -> None:
    servers = offer(1, 1)
    step = steps_of(servers, PRINTER, servers.get("a"), balance=Balance.FIRST)["turn"]
    assert step.facts["server"] == "b"


def test_when_all_are_full_nobody_is_next() -> None:
    server = Server(name="a", host="10.0.0.1", maxconn=1)
    full = Carried(1)
    full.limit = 1  # type: ignore[assignment]
    servers = Candidates([server], loads={"a": full})
    step = steps_of(servers, balance=Balance.FIRST)["turn"]
    assert step.facts == {"sessions": {"a": 1}, "server": None}
    assert step.text.endswith("All are full.")


def test_a_draw_is_not_foretold() -> None:
    steps = steps_of(offer(1, 1), balance=Balance.RANDOM, random_draws=3)
    assert steps["draw"].facts == {"draws": 3}
    assert "3 are drawn" in steps["draw"].text


@pytest.mark.parametrize("words", [CONSISTENT, MAP])
def test_one_server_is_not_hashed_for(words: dict[str, Any]) -> None:
    steps = steps_of(offer(1), **words)
    assert list(steps) == ["only"]
    assert steps["only"].facts == {"server": "a"}


@pytest.mark.parametrize("balance", list(Balance))
def test_without_servers_there_is_nothing_to_tell(balance: Balance) -> None:
    assert list(steps_of(offer(), balance=balance)) == ["nobody"]


class Own:
    """A policy of the user's own, which must not be asked."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        raise AssertionError("it was asked")


def test_a_policy_of_ones_own_is_not_asked() -> None:
    policy = guarded(Own(), Backend(name="web"))
    assert isinstance(policy, Guarded)
    (step,) = explain_choice(policy, PRINTER, offer(1, 1))
    assert step.topic == "policy"


# --- a backend at work ---------------------------------------------------------------------------


def at_work(**words: Any) -> Balancer:
    """Return a balancer of ``a``, ``b`` and a backup, with a table."""
    servers = tuple(
        Server(name=name, host="10.0.0.1", port=1, backup=name == "c") for name in "abc"
    )
    backend = Backend(name="web", servers=servers, stick=(StickRule(),), **words)
    return Balancer(backend, {"web": StickTable(size=10, ttl=60.0)})


def told(balancer: Balancer) -> list[str]:
    return [str(step) for step in explain_now(balancer, PRINTER, 1.0)]


def test_without_an_entry_the_policy_decides_among_those_who_can_be_chosen() -> None:
    balancer = at_work(**CONSISTENT)
    steps = explain_now(balancer, PRINTER, 0.0)
    assert [step.topic for step in steps] == [
        "entry",
        "servers",
        "hash",
        "ring",
        "nearest",
        "order",
    ]
    assert str(steps[0]) == "No stick entry says where it goes."
    assert str(steps[1]).startswith("To choose from: a, b. c is a backup")
    placement = balancer.route(PRINTER, 0.0)
    assert placement.server is not None
    assert steps[4].facts["server"] == placement.server.name


def test_an_entry_decides_alone_while_its_server_takes_its_clients() -> None:
    balancer = at_work()
    placement = balancer.route(PRINTER, 0.0)
    balancer.connected(placement, 0.0)
    assert told(balancer) == ["A stick entry says a, and so it goes there."]
    balancer.set_admin("a", AdminState.DRAIN, 0.0)
    assert told(balancer) == ["A stick entry says a, and so it goes there."]
    balancer.set_admin("a", AdminState.MAINT, 0.0)
    assert told(balancer)[:2] == [
        "A stick entry says a, which is MAINT.",
        "To choose from: b. a is MAINT. c is a backup, for when nobody else is left.",
    ]
    balancer.remove_server("a", 0.0)
    assert told(balancer)[0] == "A stick entry says a, which is no server of this backend."


def test_who_cannot_be_chosen_is_named_with_the_reason() -> None:
    balancer = at_work()
    balancer.set_weight("a", 0, 0.0)
    balancer.set_admin("b", AdminState.MAINT, 0.0)
    servers, turn = told(balancer)[1:]
    assert servers == (
        "To choose from: c (backups, for nobody else is left). a has weight 0. b is MAINT."
    )
    assert turn.endswith("Sessions: c 0. Now it is c.")
