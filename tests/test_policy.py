"""From a configuration to a policy; a policy of the user's own, and the guard around it."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from dsbalance.errors import ConfigError
from dsbalance.hashing import Random, SourceConsistent, SourceMap
from dsbalance.loads import First, LeastConn
from dsbalance.model import Backend, Balance, HashKind, HashType, Server, StickRule
from dsbalance.policy import (
    Candidates,
    Client,
    Guarded,
    Reason,
    built_in,
    guarded,
    load_policy,
    own_policy,
)
from dsbalance.turns import RoundRobin, StaticRoundRobin
from offers import answers, client, name_of, server


@pytest.mark.parametrize(
    ("settings", "kind", "reason"),
    [
        ({"balance": Balance.ROUNDROBIN}, RoundRobin, Reason.ROUNDROBIN),
        ({"balance": Balance.LEASTCONN}, LeastConn, Reason.LEASTCONN),
        ({"balance": Balance.FIRST}, First, Reason.FIRST),
        ({"balance": Balance.STATIC_RR}, StaticRoundRobin, Reason.STATIC_RR),
        ({"balance": Balance.RANDOM}, Random, Reason.RANDOM),
        ({"balance": Balance.SOURCE}, SourceMap, Reason.HASH),
        (
            {"balance": Balance.SOURCE, "hash_type": HashType(kind=HashKind.CONSISTENT)},
            SourceConsistent,
            Reason.HASH,
        ),
    ],
)
def test_balance_names_the_policy(settings: dict[str, Any], kind: type, reason: Reason) -> None:
    backend = Backend(name="x", **settings)
    assert own_policy(backend) is None
    policy = built_in(backend)
    assert type(policy) is kind
    assert policy.reason is reason
    assert guarded(policy, backend) is policy


def test_a_backend_says_how_its_policy_counts() -> None:
    words: dict[str, Any] = {
        "hash_balance_factor": 125,
        "stick": (StickRule(),),
        "bounded_clients": 150,
    }
    consistent = HashType(kind=HashKind.CONSISTENT, avalanche=False)
    source = built_in(Backend(name="x", balance=Balance.SOURCE, hash_type=consistent, **words))
    assert isinstance(source, SourceConsistent)
    assert (source.factor, source.bound) == (125, 150)
    assert source.hash_of(client("10.0.0.1")) == 0x0A00_0001
    drawn = [
        built_in(
            Backend(name=name, balance=Balance.RANDOM, random_draws=3, hash_balance_factor=110)
        )
        for name in ("x", "x", "y")
    ]
    assert {(p.draws, p.factor) for p in drawn if isinstance(p, Random)} == {(3, 110)}
    offered = Candidates([server("a"), server("b"), server("c")])
    same, again, other = (answers(policy, offered, 40) for policy in drawn)
    assert same == again != other


class Last:
    """A policy of a user's own."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.servers[-1]


class Given:
    """Returns, or raises, whatever it was given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("plugin_of_a_test")
    vars(module).update(Last=Last, answer=42, Plain=object, nested=types.SimpleNamespace(Last=Last))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_a_policy_is_loaded_by_its_name(plugin: str) -> None:
    assert isinstance(load_policy(f"{plugin}:Last"), Last)
    assert isinstance(load_policy(f"{plugin}:nested.Last"), Last)
    assert isinstance(own_policy(Backend(name="x", policy=f"{plugin}:Last")), Last)


def test_a_policy_may_be_an_object() -> None:
    policy = Last()
    assert own_policy(Backend(name="x", policy=policy)) is policy


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_colon", "policy wants PACKAGE.MODULE:NAME, not 'no_colon'"),
        (":Name", "policy wants"),
        ("module:", "policy wants"),
        ("a" + ".a" * 21 + ":Name", "policy: a name has at most 20 dots, not 21"),
        ("no.such.module:Name", "ModuleNotFoundError: No module named 'no'"),
        ("plugin_of_a_test:Nobody", "AttributeError"),
        ("plugin_of_a_test:answer", "TypeError"),
        ("plugin_of_a_test:Plain", "there is no method choose"),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_refused_with_a_sentence(
    plugin: str, spec: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_policy(spec)
    with pytest.raises(ConfigError, match=f"^backend x: .*{words}"):
        own_policy(Backend(name="x", policy=spec))


def test_an_object_without_choose_is_refused() -> None:
    with pytest.raises(ConfigError, match="backend x: policy 42: there is no method choose"):
        own_policy(Backend(name="x", policy=42))


# --- guarding one --------------------------------------------------------------------------------


def guard(answer: object) -> Guarded:
    policy = guarded(Given(answer), Backend(name="x", balance=Balance.FIRST))
    assert isinstance(policy, Guarded)
    return policy


def test_a_policy_that_behaves_decides_with_its_own_reason() -> None:
    offered = Candidates([server("a"), server("b")])
    policy = guard(offered.get("b"))
    assert name_of(policy.choose(client(), offered, None)) == "b"
    assert policy.reason is Reason.POLICY
    assert guard(None).choose(client(), offered, None) is None
    assert policy.take_complaint() is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ValueError("no idea"), "raised ValueError: no idea"),
        (server("gone"), "chose gone, which is not among <Candidates active: a, b>"),
        ("a", "chose 'a', which is not among"),
        ([], "chose [], which"),
    ],
)
def test_when_a_policy_fails_balance_decides_and_it_is_told_once(
    answer: object, words: str
) -> None:
    offered = Candidates([server("a"), server("b")])
    policy = guard(answer)
    assert name_of(policy.choose(client(), offered, None)) == "a"
    assert policy.reason is Reason.FIRST
    complaint = policy.take_complaint()
    assert complaint is not None
    assert complaint.startswith(f"policy {Given.__module__}.Given {words}")
    assert policy.take_complaint() is None


def test_the_substitute_is_told_who_comes_and_goes() -> None:
    policy = guarded(Given(ValueError()), Backend(name="x", balance=Balance.ROUNDROBIN))
    told = built_in(Backend(name="x", balance=Balance.ROUNDROBIN))
    pools = [Candidates([server(name) for name in names]) for names in ("abc", "ac", "abc")]
    for offered in pools:
        for each in (policy, told):
            each.adapt(offered)
    assert answers(policy, pools[-1], 9) == answers(told, pools[-1], 9)


def test_a_policy_that_would_end_the_program_is_stopped() -> None:
    class Quits:
        def choose(self, *_: object) -> Server:
            raise SystemExit(1)

    policy = guarded(Quits(), Backend(name="x", balance=Balance.FIRST))
    assert answers(policy, Candidates([server("a")]), 1) == "a"
    assert isinstance(policy, Guarded)
    assert "raised SystemExit: 1" in str(policy.take_complaint())


def test_many_failures_make_one_complaint() -> None:
    policy = guard(KeyError("x"))
    for _ in range(2):
        policy.choose(client(), Candidates([server("a")]), None)
    assert str(policy.take_complaint()).endswith(" raised KeyError: 'x' (2 times)")


def test_a_policy_derived_from_one_that_ships_is_guarded_too() -> None:
    class Mine(LeastConn):
        pass

    assert isinstance(guarded(Mine(), Backend(name="x")), Guarded)


def test_a_policy_that_would_end_the_program_is_refused() -> None:
    with pytest.raises(ConfigError, match="policy sys:exit: SystemExit"):
        load_policy("sys:exit")
