"""Where one client goes, and why, step by step."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import (
    Account,
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
    HashType,
    Moment,
    Server,
    Step,
    StickRule,
    Table,
    explain,
    plan,
)
from dsbalance.inquiry import account_facts, account_lines
from dsbalance.model import StickAction
from dsbalance.suite import suite

STICK: dict[str, Any] = {"table": Table(size=1000, expire=1800.0), "stick": (StickRule(),)}
SOURCE: dict[str, Any] = {
    "balance": Balance.SOURCE,
    "hash_type": HashType(kind=HashKind.CONSISTENT),
}


def server(name: str, **words: Any) -> Server:
    return Server(name=name, host="10.0.0.1", port=80, check=Check(), **words)


def config_of(*servers: Server, **words: Any) -> Config:
    return Config(backends=(Backend(name="web", servers=servers, **words),))


A, B, C = map(server, "abc")
HASHED = config_of(A, B, C, **SOURCE, **STICK)


def account_of(config: Config, client: str = "10.1.0.7", **words: Any) -> Account:
    """Return the only account of a client."""
    (account,) = explain(config, client, **words)
    return account


def step(account: Account, topic: str) -> Step:
    (found,) = (step for step in account.steps if step.topic == topic)
    return found


def topics(account: Account) -> list[str]:
    return [step.topic for step in account.steps]


# -- that it is so


@given(st.integers(1, 2**32 - 2), st.sampled_from(["", "a", "b", "c"]))
def test_a_client_goes_where_a_plan_sends_it(number: int, lost: str) -> None:
    client = str(IPv4Address(number))
    gone = [lost] if lost else []
    account = account_of(HASHED, client, lose=gone)
    (outlook,) = plan(HASHED, [client], lose=gone).backends
    (seat,) = outlook.seats[Moment.SETTLED if lost else Moment.NOW]
    assert (account.server, account.reason) == seat
    order: Any = step(account, "takeover").facts["servers"]
    assert order[0] == account.server
    assert sorted(order) == sorted({"a", "b", "c"} - {lost})
    again = account_of(HASHED, client, lose=[*gone, order[0]])
    assert again.server == order[1]


def test_every_step_is_told_for_a_hash() -> None:
    account = account_of(HASHED)
    assert topics(account) == [
        *("arrival", "entry", "servers", "hash", "ring", "nearest"),
        *("decision", "takeover", "retry"),
    ]
    assert step(account, "nearest").facts["server"] == account.server
    assert step(account, "decision").facts == {"server": account.server, "reason": "hash"}
    assert (account.name, account.fellows, str(account.client)) == ("web", (), "10.1.0.7")


def test_backups_take_over_last_and_are_named_as_such() -> None:
    config = config_of(A, B, server("k", backup=True), **SOURCE)
    account = account_of(config)
    assert step(account, "servers").text == (
        "To choose from: a, b. k is a backup, for when nobody else is left."
    )
    order: Any = step(account, "takeover").facts["servers"]
    assert order[-1] == "k"
    account = account_of(config, lose=["a", "b"])
    assert "k (backups, for nobody else is left). a is DOWN. b is DOWN." in str(
        step(account, "servers")
    )
    assert (account.server, account.reason) == ("k", "backup")


def test_entries_that_outlive_their_server_do_not_stand_in_the_way() -> None:
    account = account_of(config_of(A, B, persist=True, **SOURCE, **STICK))
    assert sorted(step(account, "takeover").facts["servers"]) == ["a", "b"]  # type: ignore[call-overload]


def test_of_whom_cannot_be_chosen_it_is_told_why() -> None:
    config = config_of(A, server("w", weight=0), server("m", disabled=True), **SOURCE)
    account = account_of(config)
    assert step(account, "servers").facts == {
        "usable": ["a"],
        "others": {"w": "has weight 0", "m": "is MAINT"},
    }
    assert "only" in topics(account)
    added = account_of(config, add={"n": "10.0.0.9"}, weights={"w": 1})
    assert step(added, "servers").facts["usable"] == ["a", "w", "n"]


def test_who_is_refused_learns_why() -> None:
    account = account_of(HASHED, lose=["a", "b", "c"])
    assert (account.server, account.reason) == (None, "")
    assert topics(account) == ["arrival", "entry", "servers", "nobody", "decision"]
    assert step(account, "decision").text == "It is refused: no server is usable: 3 DOWN."


# -- where it comes in, and what is remembered


@pytest.mark.parametrize(
    ("binds", "client", "text"),
    [
        ((Bind(port=80),), "10.1.0.7", "It comes in at :80."),
        (
            (Bind(host="::", port=80),),
            "10.1.0.7",
            "It comes in at [::]:80, an IPv6 socket, so its address is ::ffff:10.1.0.7.",
        ),
        ((Bind(port=80),), "::1", "No IPv6 client comes in at :80; suppose this one did."),
        ((), "10.1.0.7", "No frontend leads here; suppose it came all the same."),
    ],
)
def test_it_is_told_where_a_client_comes_in(
    binds: tuple[Bind, ...], client: str, text: str
) -> None:
    front = Frontend(name="f", binds=binds, backend="web") if binds else None
    config = replace(HASHED, frontends=(front,) if front else ())
    assert step(account_of(config, client), "arrival").text == text


def test_fellows_are_named() -> None:
    config = suite(paragon=["10.0.0.1", "10.0.0.2"], phoenix=["10.0.0.1"])
    paragon, phoenix = explain(config, "10.1.0.7")
    assert (paragon.fellows, phoenix.fellows) == (("paragon-http",), ("phoenix-http",))
    assert step(paragon, "arrival").text == (
        "It comes in at :5022. The same holds for paragon-http."
    )
    assert [account.name for account in explain(config, "10.1.0.7", backend="phoenix")] == [
        "phoenix"
    ]


ASKED = (
    "The table of web is asked first (stick on). A file has no entries; at work one would decide, "
    "until"
)


@pytest.mark.parametrize(
    ("words", "client", "text"),
    [
        ({}, "10.1.0.7", "No stick rule matches: nothing is remembered."),
        (
            {**STICK, "stick": (StickRule(action=StickAction.STORE_REQUEST),)},
            "10.1.0.7",
            "No stick rule matches: where it goes is stored, and not asked.",
        ),
        (
            STICK,
            "10.1.0.7",
            f"{ASKED} 30m after the client's last session.",
        ),
        (
            {**STICK, "table": Table(size=9)},
            "10.1.0.7",
            f"{ASKED} it is evicted.",
        ),
        (
            STICK,
            "::1",
            "The table of web is asked first (stick on), but it takes IPv4 addresses alone.",
        ),
    ],
)
def test_it_is_told_what_the_stick_rules_do(words: dict[str, Any], client: str, text: str) -> None:
    account = account_of(config_of(A, B, **SOURCE, **words), client)
    assert step(account, "entry").text == text


# -- what follows


def test_it_is_told_what_follows_a_refusal() -> None:
    retry = step(account_of(config_of(A, balance=Balance.FIRST, retries=2)), "retry")
    assert retry.facts == {"attempts": [{"server": "a", "delay": 1.0}] * 2}
    assert retry.text == (
        "If that one refuses before a check has noticed, the next attempts are a after 1s, "
        "a after 1s; then it is given up."
    )
    moving = step(account_of(config_of(A, B, redispatch=1, retries=1, **SOURCE)), "retry")
    attempts: Any = moving.facts["attempts"]
    assert [attempt["delay"] for attempt in attempts] == [0.0]
    none = step(account_of(config_of(A, retries=0)), "retry")
    assert none.text == "If that one refuses before a check has noticed, it is given up."
    endless = step(account_of(config_of(A, retries=10**6)), "retry")
    assert endless.text.endswith("; then so it goes on.")


@pytest.mark.parametrize(
    ("balance", "order"),
    [
        (Balance.ROUNDROBIN, "abcabcabca"),
        (Balance.STATIC_RR, "abcabcabca"),
        (Balance.LEASTCONN, "abcabcabca"),
        (Balance.FIRST, "aaaaaaaaaa"),
    ],
)
def test_policies_that_take_turns_tell_whose_turns_are_next(balance: Balance, order: str) -> None:
    account = account_of(config_of(A, B, C, balance=balance))
    assert topics(account)[3:] == ["turn", "decision", "turns", "retry"]
    assert step(account, "turns").facts == {"servers": list(order)}


def test_turns_end_where_all_are_full() -> None:
    account = account_of(config_of(server("a", maxconn=2), server("b", maxconn=1)))
    assert sorted(step(account, "turns").facts["servers"]) == ["a", "a", "b"]  # type: ignore[call-overload]


def test_a_draw_is_one_example() -> None:
    account = account_of(config_of(A, B, balance=Balance.RANDOM))
    assert topics(account)[3:] == ["draw", "decision", "retry"]
    assert account.reason == "random"


def test_a_bound_is_told() -> None:
    account = account_of(config_of(A, B, **SOURCE, **STICK, bounded_clients=125))
    assert topics(account)[3:] == [
        *("hash", "ring", "nearest", "limit", "decision", "takeover", "retry"),
    ]


class Own:
    """A policy of the user's own."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.get("b") if "b" in servers else None


def test_a_policy_of_ones_own_is_asked_and_not_explained() -> None:
    account = account_of(config_of(A, B, policy=Own()))
    assert topics(account)[3:] == ["policy", "decision", "retry"]
    assert (account.server, account.reason) == ("b", "policy")


def test_who_has_to_wait_is_told_so() -> None:
    account = account_of(config_of(A, policy=Own()))
    assert (account.server, account.reason) == (None, "policy")
    assert step(account, "decision").text == "It waits for a place (policy)."


class Picky(Own):
    """Takes nobody twice."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.get("b") if avoid is None else None


def test_a_retry_may_have_to_wait() -> None:
    account = account_of(config_of(A, B, policy=Picky(), redispatch=1))
    assert step(account, "retry").text == (
        "If that one refuses before a check has noticed, it waits for a place."
    )


# -- how it is shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_account_fits_its_width(width: int) -> None:
    for client in ("10.1.0.7", "2001:db8:1111:2222:3333:4444:5555:6666"):
        lines = account_lines(account_of(HASHED, client), width)
        assert max(map(len, lines)) <= width
        assert lines[0] == f"{client} at web"


@given(st.integers(1, 2**32 - 2))
def test_the_arc_has_the_client_between_its_nodes(number: int) -> None:
    account = account_of(HASHED, str(IPv4Address(number)))
    facts: Any = step(account, "nearest").facts
    lines = account_lines(account)
    (at,) = (index for index, line in enumerate(lines) if line.lstrip().startswith("|"))
    ruler = lines[at].strip()
    assert len(ruler) == 67
    assert ruler.strip("-|") == "*"
    down, up = facts["below"]["distance"], facts["above"]["distance"]
    assert ruler.index("*") - 1 == pytest.approx(64 * down / (down + up), abs=0.51)
    assert lines[at + 1].split() == [facts["below"]["server"], facts["above"]["server"]]
    assert [int(word, 16) for word in lines[at + 2].split()] == [
        facts["below"]["place"],
        facts["above"]["place"],
    ]
    assert lines[at - 1].strip() == str(account.client)


def test_fellows_stand_in_the_title() -> None:
    paragon, _ = explain(suite(paragon=["10.0.0.1"], phoenix=["10.0.0.1"]), "10.1.0.7")
    assert account_lines(paragon)[0] == "10.1.0.7 at paragon, and so at paragon-http"


def test_the_facts_of_a_program_have_the_words_too() -> None:
    account = account_of(HASHED)
    facts: Any = account_facts(account)
    assert facts["server"] == account.server
    assert [step["topic"] for step in facts["steps"]] == topics(account)
    assert all(step["text"] for step in facts["steps"])
    assert facts["steps"][3]["key"] == 0x0A010007


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("10.1.0.0/30", "one client can be explained at a time, not 2"),
        ("printer", "'printer' is not an address"),
    ],
)
def test_what_is_not_one_client_is_refused(client: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        explain(HASHED, client)
