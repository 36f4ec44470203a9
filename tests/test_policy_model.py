"""The policies that ship beside their models, while servers come and go, fill and empty."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import models
from dsbalance.hashing import Random, SourceConsistent, SourceMap
from dsbalance.loads import First, LeastConn
from dsbalance.model import HashKey, Server
from dsbalance.policy import BuiltIn, Candidates, Client, Reason
from dsbalance.turns import RoundRobin, StaticRoundRobin


def drawing(draws: int = 2, factor: int = 0) -> models.Random:
    """Return the model of ``random``, with the numbers that are drawn without a seed."""
    numbers = itertools.count(1)
    return models.Random(lambda: models.mixed(next(numbers)), draws=draws, factor=factor)


Maker = Callable[[], tuple[BuiltIn, models.Policy]]
KINDS: dict[str, Maker] = {
    "consistent": lambda: (SourceConsistent(), models.Consistent()),
    "unmixed": lambda: (SourceConsistent(is_mixed=False), models.Consistent(is_mixed=False)),
    "by sessions": lambda: (SourceConsistent(factor=125), models.Consistent(factor=125)),
    "by clients": lambda: (SourceConsistent(bound=110), models.Consistent(bound=110)),
    "by both": lambda: (
        SourceConsistent(factor=101, bound=130),
        models.Consistent(factor=101, bound=130),
    ),
    "map": lambda: (SourceMap(), models.MapBased()),
    "mixed map": lambda: (SourceMap(is_mixed=True), models.MapBased(is_mixed=True)),
    "random": lambda: (Random(), drawing()),
    "random of four by sessions": lambda: (Random(4, factor=150), drawing(4, 150)),
    "roundrobin": lambda: (RoundRobin(), models.RoundRobin()),
    "static-rr": lambda: (StaticRoundRobin(), models.StaticRoundRobin()),
    "leastconn": lambda: (LeastConn(), models.LeastConn()),
    "first": lambda: (First(), models.First()),
}
# These know no parts of a weight.
STATIC = (SourceMap, StaticRoundRobin)


HOSTS = ("192.0.2.1", "2001:db8::7", "alpha.example", "203.0.113.200", "::1")


class LoadOf:
    """The load of a server as the model has it."""

    def __init__(self, of: models.Server) -> None:
        self.of = of
        self.moved = self.moved_load = 0

    @property
    def placements(self) -> range:
        return range(self.of.sessions)

    @property
    def queue(self) -> range:
        return range(self.of.waiting)

    @property
    def limit(self) -> int | None:
        return self.of.maxconn

    @property
    def share(self) -> int:
        return self.of.share

    @property
    def before(self) -> int:
        return self.of.before


class PolicyMachine(RuleBasedStateMachine):
    """Whatever happens to the servers, in any order; whom the policy chooses, the model chooses."""

    picks = st.integers(0, 4)
    addresses = st.ip_addresses().map(str)

    @initialize(
        kind=st.sampled_from(list(KINDS)),
        weights=st.lists(st.integers(0, 4), min_size=1, max_size=5),
        unit=st.integers(1, 3),
        numbers=st.permutations(range(1, 6)),
        maxconns=st.lists(st.sampled_from([1, 2, 3, None]), min_size=5, max_size=5),
        maxqueues=st.lists(st.sampled_from([None, 1, 2]), min_size=5, max_size=5),
        keys=st.lists(st.sampled_from(HashKey), min_size=5, max_size=5),
    )
    def begin(
        self,
        *,
        kind: str,
        weights: list[int],
        unit: int,
        numbers: list[int],
        maxconns: list[int | None],
        maxqueues: list[int | None],
        keys: list[HashKey],
    ) -> None:
        self.policy, self.model = KINDS[kind]()
        self.keys = dict(zip("abcde", keys, strict=True))
        self.weights = [weight * unit for weight in weights]
        self.clients: Counter[str] = Counter()
        self.pool = [
            models.Server(
                name="abcde"[index],
                weight=weight,
                number=numbers[index],
                maxconn=maxconns[index],
                maxqueue=maxqueues[index],
                base=self.base_of("abcde"[index], numbers[index]),
                before=sum(models.FULL * weight for weight in self.weights[:index]),
            )
            for index, weight in enumerate(self.weights)
        ]
        self.loads = {one.name: LoadOf(one) for one in self.pool}
        self.moves = 0
        self.regroup()

    def described(self, one: models.Server) -> Server:
        return Server(
            name=one.name,
            host=self.host_of(one.name),
            port=9,
            weight=one.weight,
            maxconn=one.maxconn,
            maxqueue=one.maxqueue,
            hash_key=self.keys[one.name],
            guid=f"guid-{one.name}",
        )

    def host_of(self, name: str) -> str:
        return HOSTS["abcde".index(name)]

    def base_of(self, name: str, number: int) -> int:
        host = self.host_of(name)
        address = None if "example" in host else ip_address(host)
        return models.base_of(self.keys[name].value, number, address, 9, f"guid-{name}")

    def regroup(self) -> None:
        """Offer those who are usable now, as a balancer does: by a new object, at once."""
        self.group = [one for one in self.pool if one.is_usable]
        self.offered = Candidates(
            [self.described(one) for one in self.group],
            ids={one.name: one.number for one in self.pool},
            loads=self.loads,
            weights=self.weights,
            clients=self.clients.__getitem__,
        )
        self.policy.adapt(self.offered)
        self.model.adapt(self.group)

    def pick(self, pick: int) -> models.Server:
        return self.pool[pick % len(self.pool)]

    def moved(self, one: models.Server, *, is_changed: bool = False) -> None:
        """Let a server stand behind its equals if it is another one now, as a balancer does."""
        load, carried = self.loads[one.name], one.sessions + one.waiting
        if is_changed or carried != load.moved_load:
            self.moves += 1
            load.moved, load.moved_load = self.moves, carried

    def change(self, one: models.Server) -> None:
        self.moved(one, is_changed=True)
        self.regroup()

    @precondition(lambda self: self.group)
    @rule(source=addresses, avoid=picks | st.none(), stays=st.booleans())
    def choose(self, source: str, avoid: int | None, stays: bool) -> None:
        who = Client(source, ip_address(source).packed, 5022)
        avoided = None if avoid is None else self.pick(avoid)
        served = sum(one.sessions for one in self.pool)
        offer = models.Offer(self.group, self.weights, served, self.clients)
        expected = self.model.choose(who.packed, offer, avoided.name if avoided else "")
        left = None if avoided is None else self.described(avoided)
        chosen = self.policy.choose(who, self.offered, left)
        assert chosen is (self.offered.get(expected) if expected else None)
        assert self.policy.reason is Reason(self.model.reason)
        if isinstance(self.policy, SourceConsistent | RoundRobin):
            self.policy.check()
        if expected and stays:
            (one,) = (one for one in self.group if one.name == expected)
            one.sessions += 1
            self.clients[one.name] += 1
            self.moved(one)
            self.model.moved(one)

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        one = self.pick(pick)
        if one.sessions:
            one.sessions -= 1
            if one.is_usable:
                self.moved(one)
                self.model.moved(one)

    @rule(pick=picks)
    def expire(self, pick: int) -> None:
        self.clients[self.pick(pick).name] = 0

    @rule(pick=picks, waiting=st.integers(0, 2))
    def wait(self, pick: int, waiting: int) -> None:
        self.pick(pick).waiting = waiting

    @rule(pick=picks, weight=st.integers(0, 9))
    def weigh(self, pick: int, weight: int) -> None:
        one = self.pick(pick)
        if one.weight != weight:
            one.weight = weight
            self.change(one)

    @rule(pick=picks, warmth=st.integers(1, models.FULL))
    def warm(self, pick: int, warmth: int) -> None:
        """Let a server start slowly, at any pace."""
        one = self.pick(pick)
        if one.warmth != warmth and not isinstance(self.policy, STATIC):
            one.warmth = warmth
            self.change(one)

    @rule(pick=picks)
    def turn(self, pick: int) -> None:
        one = self.pick(pick)
        one.gate.failed() if one.gate.is_up else one.gate.passed()
        self.change(one)


TestPolicies = PolicyMachine.TestCase
TestPolicies.settings = settings(stateful_step_count=25)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_life_goes_as_the_model_says(kind: str, seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though."""
    chance = random.Random(seed)
    life = PolicyMachine()
    life.begin(
        kind=kind,
        weights=[chance.randint(0, 4) for _ in range(5)],
        unit=chance.choice([1, 2, 3]),
        numbers=chance.sample(range(1, 6), 5),
        maxconns=[chance.choice([1, 2, 3, None]) for _ in range(5)],
        maxqueues=[chance.choice([None, 1, 2]) for _ in range(5)],
        keys=chance.choices([*HashKey], k=5),
    )

    def pick() -> int:
        return chance.randrange(5)

    acts: dict[Callable[[], object], int] = {
        lambda: (
            life.group
            and life.choose(
                source=str(IPv4Address(chance.getrandbits(32))),
                avoid=chance.choice([None, None, pick()]),
                stays=chance.random() < 0.7,
            )
        ): 30,
        lambda: life.leave(pick=pick()): 20,
        lambda: life.expire(pick=pick()): 1,
        lambda: life.wait(pick=pick(), waiting=chance.choice([0, 0, 1])): 4,
        lambda: life.weigh(pick=pick(), weight=chance.randint(0, 9)): 2,
        lambda: life.warm(pick=pick(), warmth=chance.randint(1, models.FULL)): 1,
        lambda: life.turn(pick=pick()): 4,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=200):
        act()


@pytest.mark.parametrize("seed", range(8))
def test_turns_are_the_models_whatever_the_weights_become(seed: int) -> None:
    """What a server is owed shows only after many turns, so these lives are long and simple."""
    chance = random.Random(seed)
    # A round has as many turns as there are sixteenths: with the light ones it is soon over.
    weights = [1, 1, 2, 3] if seed % 2 else [1, 3, 7, 60, 256]
    life = PolicyMachine()
    life.begin(
        kind="roundrobin",
        weights=[chance.choice(weights) for _ in range(4)],
        unit=1,
        numbers=[1, 2, 3, 4, 5],
        maxconns=[None, None, chance.choice([None, 2]), None, None],
        maxqueues=[None] * 5,
        keys=[HashKey.ID] * 5,
    )
    for _ in range(600):
        what: Sequence[int] = chance.choices(range(4), [60, 2, 2, 2])
        if what[0] == 0:
            life.group and life.choose(source="10.0.0.1", avoid=None, stays=False)
        elif what[0] == 1:
            life.weigh(pick=chance.randrange(4), weight=chance.choice([0, *weights]))
        elif what[0] == 2:
            life.warm(pick=chance.randrange(4), warmth=chance.randint(1, models.FULL))
        else:
            life.turn(pick=chance.randrange(4))
