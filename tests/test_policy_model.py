"""The policies that ship beside their models, while servers come and go, fill and empty."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import models
from dsbalance.model import Server
from dsbalance.policy import (
    BuiltIn,
    Candidates,
    Client,
    First,
    LeastConn,
    RoundRobin,
    SourceConsistent,
    SourceMap,
)

Maker = Callable[[], tuple[BuiltIn, models.Policy]]
KINDS: dict[str, Maker] = {
    "consistent": lambda: (SourceConsistent(), models.Consistent()),
    "unmixed": lambda: (SourceConsistent(is_mixed=False), models.Consistent(is_mixed=False)),
    "map": lambda: (SourceMap(), models.MapBased()),
    "mixed map": lambda: (SourceMap(is_mixed=True), models.MapBased(is_mixed=True)),
    "roundrobin": lambda: (RoundRobin(), models.RoundRobin()),
    "leastconn": lambda: (LeastConn(), models.LeastConn()),
    "first": lambda: (First(), models.First()),
}


def described(one: models.Server) -> Server:
    return Server(name=one.name, host="192.0.2.1", port=9, weight=one.weight, maxconn=one.maxconn)


class LoadOf:
    """The load of a server as the model has it."""

    def __init__(self, of: models.Server) -> None:
        self.of = of
        self.moved = 0

    @property
    def placements(self) -> range:
        return range(self.of.sessions)

    @property
    def queue(self) -> range:
        return range(self.of.waiting)


class PolicyMachine(RuleBasedStateMachine):
    """Whatever happens to the servers, in any order; whom the policy chooses, the model chooses."""

    picks = st.integers(0, 4)
    addresses = st.ip_addresses().map(str)

    @initialize(
        kind=st.sampled_from(list(KINDS)),
        weights=st.lists(st.integers(1, 4), min_size=1, max_size=5),
        unit=st.integers(1, 3),
        numbers=st.permutations(range(1, 6)),
        maxconns=st.lists(st.sampled_from([1, 2, 3, None]), min_size=5, max_size=5),
        backups=st.integers(0, 2),
    )
    def begin(
        self,
        kind: str,
        weights: list[int],
        unit: int,
        numbers: list[int],
        maxconns: list[int | None],
        backups: int,
    ) -> None:
        self.policy, self.model = KINDS[kind]()
        self.weights = [weight * unit for weight in weights]
        self.pool = [
            models.Server(
                name="abcde"[index],
                weight=weight,
                number=numbers[index],
                maxconn=maxconns[index],
                is_backup=index >= len(weights) - backups,
            )
            for index, weight in enumerate(self.weights)
        ]
        self.loads = {one.name: LoadOf(one) for one in self.pool}
        self.moves = 0
        self.regroup()

    def regroup(self) -> None:
        """Offer those who are usable now, as a balancer does, by a new object."""
        usable = [one for one in self.pool if one.is_usable]
        self.group = [one for one in usable if not one.is_backup] or usable
        self.offered = Candidates(
            [described(one) for one in self.group],
            ids={one.name: one.number for one in self.pool},
            loads=self.loads,
            weights=self.weights,
            is_backup=bool(self.group) and self.group[0].is_backup,
        )

    def pick(self, pick: int) -> models.Server:
        return self.pool[pick % len(self.pool)]

    def moved(self, one: models.Server) -> None:
        self.moves += 1
        self.loads[one.name].moved = self.moves
        self.model.moved(one.name)

    @rule(source=addresses, avoid=picks | st.none(), stays=st.booleans())
    def choose(self, source: str, avoid: int | None, stays: bool) -> None:
        who = Client(source, ip_address(source).packed, 5022)
        avoided = None if avoid is None else self.pick(avoid)
        offer = models.Offer(self.group, self.weights)
        expected = self.model.choose(who.packed, offer, avoided.name if avoided else "")
        chosen = self.policy.choose(who, self.offered, described(avoided) if avoided else None)
        assert chosen is (self.offered.get(expected) if expected else None)
        if isinstance(self.policy, SourceConsistent | RoundRobin):
            self.policy._check()
        if expected and stays:
            (one,) = (one for one in self.group if one.name == expected)
            one.sessions += 1
            self.moved(one)

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        one = self.pick(pick)
        if one.sessions:
            one.sessions -= 1
            self.moved(one)

    @rule(pick=picks, waiting=st.integers(0, 2))
    def wait(self, pick: int, waiting: int) -> None:
        self.pick(pick).waiting = waiting

    @rule(pick=picks, weight=st.integers(0, 9))
    def weigh(self, pick: int, weight: int) -> None:
        self.pick(pick).weight = weight
        self.regroup()

    @rule(pick=picks)
    def turn(self, pick: int) -> None:
        gate = self.pick(pick).gate
        gate.failed() if gate.is_up else gate.passed()
        self.regroup()


TestPolicies = PolicyMachine.TestCase
TestPolicies.settings = settings(stateful_step_count=25)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_life_goes_as_the_model_says(kind: str, seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though."""
    chance = random.Random(seed)
    life = PolicyMachine()
    life.begin(
        kind=kind,
        weights=[chance.randint(1, 4) for _ in range(5)],
        unit=chance.choice([1, 2, 3]),
        numbers=chance.sample(range(1, 6), 5),
        maxconns=[chance.choice([1, 2, 3, None]) for _ in range(5)],
        backups=chance.randint(0, 2),
    )

    def pick() -> int:
        return chance.randrange(5)

    acts: dict[Callable[[], None], int] = {
        lambda: life.choose(
            source=str(IPv4Address(chance.getrandbits(32))),
            avoid=chance.choice([None, None, pick()]),
            stays=chance.random() < 0.7,
        ): 30,
        lambda: life.leave(pick=pick()): 20,
        lambda: life.wait(pick=pick(), waiting=chance.choice([0, 0, 1])): 4,
        lambda: life.weigh(pick=pick(), weight=chance.randint(0, 9)): 2,
        lambda: life.turn(pick=pick()): 4,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=200):
        act()
