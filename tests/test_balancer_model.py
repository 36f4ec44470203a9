"""Two balancers that share a table, beside their models: nothing is lost, nothing is held twice."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import models
from dsbalance.balancer import AdminState, Balancer, Change, Failure, Health, Placement
from dsbalance.errors import NoServerError
from dsbalance.model import (
    Backend,
    Balance,
    Check,
    HashKind,
    HashType,
    InitState,
    Observe,
    OnError,
    Server,
    SrvKey,
    StickAction,
    StickRule,
)
from dsbalance.policy import Client
from dsbalance.sticky import StickTable

CONSISTENT = HashType(kind=HashKind.CONSISTENT)
MAPPED = "::ffff:10.0.0.1"  # the first one, on an IPv6 socket: the same to a table, not to a hash
CLIENTS = [
    Client(address, ip_address(address).packed, 5022)
    for address in ("10.0.0.1", "10.0.0.2", "192.0.2.9", "2001:db8::7", MAPPED)
]


class Kind(NamedTuple):
    """How a backend chooses: the words of its configuration, and the model of that."""

    words: dict[str, Any]
    make: Callable[[], models.Policy]


def drawing(draws: int, factor: int = 0) -> models.Random:
    """Return the model of ``random`` in backend x, with the numbers that are drawn there."""
    numbers = itertools.count(crc32(b"x") + 1)
    return models.Random(lambda: models.mixed(next(numbers)), draws=draws, factor=factor)


SOURCE = {"balance": Balance.SOURCE, "hash_type": CONSISTENT}
RANDOM = {"balance": Balance.RANDOM}
KINDS = [
    Kind({"balance": Balance.ROUNDROBIN}, models.RoundRobin),
    Kind({"balance": Balance.STATIC_RR}, models.StaticRoundRobin),
    Kind({"balance": Balance.LEASTCONN}, models.LeastConn),
    Kind({"balance": Balance.FIRST}, models.First),
    Kind({"balance": Balance.SOURCE}, models.MapBased),
    Kind(SOURCE, models.Consistent),
    Kind(SOURCE | {"hash_balance_factor": 110}, lambda: models.Consistent(factor=110)),
    Kind(SOURCE | {"bounded_clients": 120}, lambda: models.Consistent(bound=120)),
    Kind(RANDOM, lambda: drawing(2)),
    Kind(
        RANDOM | {"random_draws": 3, "hash_balance_factor": 150},
        lambda: drawing(3, factor=150),
    ),
]

picks = st.integers(0, 99)
side_numbers = st.sampled_from([0, 0, 0, 1])
server_words = st.fixed_dictionaries(
    {
        "weight": st.sampled_from([1, 1, 2, 3, 0]),
        "limits": st.sampled_from([(None, None), (1, None), (2, None), (2, 1)]),
        "maxqueue": st.sampled_from([None, None, 1, 2]),
        "slowstart": st.sampled_from([None, None, 3.0, 50.0]),
        "backup": st.sampled_from([False, False, True]),
        "shutdown_on_down": st.booleans(),
        "shutdown_backups_on_up": st.booleans(),
        "non_stick": st.sampled_from([False, False, False, True]),
        "check": st.sampled_from([Check(rise=1, fall=1), Check(rise=2, fall=3)]),
        "observe": st.none() | st.builds(Observe, error_limit=st.integers(1, 2)),
        "init_state": st.sampled_from([InitState.UP, InitState.UP, *InitState]),
    }
)
backend_words = st.fixed_dictionaries(
    {
        "redispatch": st.sampled_from([0, 1, 2, -1, -2]),
        "retries": st.sampled_from([0, 3, 3]),
        "allbackups": st.booleans(),
        "persist": st.sampled_from([False, False, True]),
        "fullconn": st.sampled_from([3, 6]),
        "stick": st.sampled_from([None, *StickAction]),
    }
)
table_words = st.fixed_dictionaries(
    {
        "ttl": st.sampled_from([None, 4.0]),
        "accepts_ipv6": st.booleans(),
        "srvkey": st.sampled_from(SrvKey),
    }
)


def facts(placement: Placement) -> tuple[str, str, str, int, bool, bool]:
    """What a model says of a session, as it stands in the placement."""
    return (
        placement.stage.name.lower(),
        placement.server.name if placement.server else "",
        placement.reason.value,
        placement.tries,
        placement.is_persistent,
        bool(placement.held),
    )


class Side:
    """A balancer and its model, with a name that its servers' names begin with.

    Attributes:
        placements: Session of the model -> placement, in the order in which they came.
    """

    def __init__(self, name: str, kind: Kind, words: dict[str, Any], pool: list[Any]) -> None:
        self.name = name
        self.added = 0
        self.now = 0.0
        self.placements: dict[models.Session, Placement] = {}
        self.words = {**words}
        self.stick = self.words.pop("stick")
        if "bounded_clients" in kind.words:
            self.stick = StickAction.ON
        self.kind = kind
        self.pool = [self.described(each) for each in pool]
        self.model: models.Balancer
        self.balancer: Balancer

    def begin(self, table: StickTable, modelled: models.Table) -> None:
        words = {**self.words}
        self.model = models.Balancer(
            make=self.kind.make,
            table=modelled,
            matches=self.stick in {StickAction.ON, StickAction.MATCH},
            stores=self.stick in {StickAction.ON, StickAction.STORE_REQUEST},
            persists=words.pop("persist"),
            **words,
        )
        self.model.begin([twin for _, twin in self.pool])
        backend = Backend(
            name=self.name,
            servers=tuple(server for server, _ in self.pool),
            stick=() if self.stick is None else (StickRule(action=self.stick, table="x"),),
            **self.words,
            **self.kind.words,
        )
        self.balancer = Balancer(backend, {"x": table})

    def described(self, words: dict[str, Any]) -> tuple[Server, models.Server]:
        """Return the configuration of another server, and its model."""
        words = {**words}
        maxconn, minconn = words.pop("limits")
        # The first server of both backends is the same one.
        name = f"{self.name if self.added else 'x'}{self.added}"
        host = f"192.0.2.{self.added + (100 if name[0] == 'y' else 1)}"
        self.added += 1
        check, observe = words["check"], words["observe"]
        gate = models.Gate(check.rise, check.fall, init=words["init_state"].value)
        twin = models.Server(
            name=name,
            weight=words["weight"],
            maxconn=maxconn,
            minconn=minconn,
            maxqueue=words["maxqueue"],
            slowstart=words["slowstart"],
            address=f"{host}:9",
            is_backup=words["backup"],
            is_cleared_when_down=words["shutdown_on_down"],
            is_clearing_backups=words["shutdown_backups_on_up"],
            is_stuck_to=not words["non_stick"],
            gate=gate,
            watch=observe and models.Watch(gate, observe.error_limit, observe.on_error.value),
        )
        server = Server(name=name, host=host, port=9, maxconn=maxconn, minconn=minconn, **words)
        return server, twin

    def those(self, sessions: Iterable[models.Session]) -> list[Placement]:
        return [self.placements[session] for session in sessions]

    def some(self, pick: int, *stages: str) -> models.Session | None:
        found = [s for s in self.placements if not stages or s.stage in stages]
        return found[pick % len(found)] if found else None

    def server(self, pick: int) -> str:
        names = list(self.model.servers)
        return names[pick % len(names)]

    # -- sessions

    def arrive(self, who: Client) -> None:
        session = self.model.arrive(who.packed)
        if session is None:
            with pytest.raises(NoServerError):
                self.balancer.route(who, self.now)
        else:
            self.placements[session] = self.balancer.route(who, self.now)

    def succeed(self, session: models.Session) -> None:
        self.model.connect(session)
        self.balancer.connected(self.placements[session], self.now)

    def fail(self, session: models.Session, cause: Failure) -> None:
        placement = self.placements[session]
        expected = self.model.fail(session, cause.name.lower())
        retry = self.balancer.failed(placement, cause, self.now)
        assert (retry is None) is (expected is None)
        if retry is not None and expected is not None:
            delay, heirs = expected
            assert retry.placement is placement
            assert (retry.delay, list(retry.admitted)) == (delay, self.those(heirs))
        names, news = self.model.alarm()
        alarm = self.balancer.take_alarm(self.now)
        assert list(alarm.servers if alarm else ()) == names
        self.follow(news, list(alarm.changes if alarm else ()))
        if retry is None:
            self.leave(session)

    def leave(self, session: models.Session) -> None:
        heirs = self.those(self.model.leave(session))
        placement = self.placements.pop(session)
        assert self.balancer.release(placement, self.now) == heirs
        assert self.balancer.release(placement, self.now) == []

    def decide_anew(self, session: models.Session) -> None:
        if self.model.decide_anew(session):
            self.balancer.reroute(self.placements[session], self.now)
        else:
            with pytest.raises(NoServerError):
                self.balancer.reroute(self.placements[session], self.now)
            self.leave(session)

    # -- servers

    def change(self, news: models.News | None, changes: list[Change]) -> None:
        self.follow([] if news is None else [news], changes)

    def follow(self, news: list[models.News], changes: list[Change]) -> None:
        """Compare what changes mean for the sessions."""
        for change, expected in zip(changes, news, strict=True):
            assert set(change.shutdown) == set(self.those(expected.shutdown))
            assert len(change.shutdown) == len(expected.shutdown)
            assert list(change.requeued) == self.those(expected.requeued)
            assert list(change.admitted) == self.those(expected.admitted)

    def step(self) -> None:
        """Let a second go by."""
        self.now += 1.0
        self.model.now = self.now
        assert list(self.balancer.step(self.now)) == self.those(self.model.warm())

    # -- what always holds

    def agree(self) -> None:
        balancer, model = self.balancer, self.model
        balancer._check()
        assert balancer.counters.current == len(model.sessions) == len(self.placements)
        assert [each.name for each in balancer.candidates] == [each.name for each in model.group()]
        assert list(balancer.states) == list(model.servers)
        for name, state in balancer.states.items():
            twin = model.servers[name]
            assert (state.word, state.is_running) == (twin.word, twin.is_running)
            assert not twin.is_usable or state.share == twin.share
            assert state.limit == model.seen(twin).maxconn
            assert state.placements == set(self.those(model.at(name)))
            assert list(state.queue) == self.those(model.waiting(name))
        assert list(balancer._places.shared) == self.those(model.waiting())
        for session, placement in self.placements.items():
            assert facts(placement) == (
                session.stage,
                session.server,
                session.reason,
                session.tries,
                session.is_persistent,
                session.is_holding,
            )
        self.nobody_waits_in_vain()

    def nobody_waits_in_vain(self) -> None:
        """Who waits for any server must not do so for ever: somebody is there who will leave it."""
        if self.model.waiting():
            offered = self.balancer.candidates
            # By lot a session may find a full one where another has room.
            enough = any if self.kind.words["balance"] is Balance.RANDOM else all
            assert not offered or enough(map(offered.served, offered))

    def end(self) -> None:
        for session in list(self.placements):
            self.leave(session)
        self.balancer._check()
        assert self.balancer.counters.current == 0
        states = self.balancer.states.values()
        assert not any(state.placements or state.queue for state in states)


class BalancerMachine(RuleBasedStateMachine):
    """Whatever happens, in any order, to two balancers with one table, and to their models."""

    sides: list[Side]
    model: models.Table
    table: StickTable

    @initialize(
        kind=st.sampled_from(KINDS),
        backend=backend_words,
        table=table_words,
        pool=st.lists(server_words, min_size=2, max_size=4),
        other=st.lists(server_words, min_size=1, max_size=2),
    )
    def begin(
        self,
        kind: Kind,
        backend: dict[str, Any],
        table: dict[str, Any],
        pool: list[dict[str, Any]],
        other: list[dict[str, Any]],
    ) -> None:
        if "bounded_clients" in kind.words:
            # Who has expired counts until he is forgotten, and when that is the model cannot say.
            table = table | {"ttl": None}
        self.now = 0.0
        self.table = StickTable(size=100, **table)
        self.model = models.Table(**table)
        plain = {
            "redispatch": 1,
            "retries": 2,
            "allbackups": False,
            "persist": False,
            "fullconn": 2,
            "stick": StickAction.ON,
        }
        self.sides = [Side("x", kind, backend, pool), Side("y", KINDS[0], plain, other)]
        for side in self.sides:
            side.begin(self.table, self.model)

    def tick(self) -> None:
        self.now += 1.0
        self.model.go_to(self.now)
        for side in self.sides:
            side.step()

    # -- sessions

    @rule(side=side_numbers, crowd=st.lists(st.sampled_from(CLIENTS), min_size=1, max_size=4))
    def arrive(self, side: int, crowd: list[Client]) -> None:
        for who in crowd:
            self.sides[side].arrive(who)

    @rule(side=side_numbers, pick=picks)
    def succeed(self, side: int, pick: int) -> None:
        if session := self.sides[side].some(pick, "connecting"):
            self.sides[side].succeed(session)

    @rule(side=side_numbers, pick=picks, cause=st.sampled_from(Failure))
    def fail(self, side: int, pick: int, cause: Failure) -> None:
        if session := self.sides[side].some(pick, "connecting"):
            self.sides[side].fail(session, cause)

    @rule(side=side_numbers, pick=picks)
    def leave(self, side: int, pick: int) -> None:
        if session := self.sides[side].some(pick):
            self.sides[side].leave(session)

    @rule(side=side_numbers, pick=picks)
    def decide_anew(self, side: int, pick: int) -> None:
        if session := self.sides[side].some(pick, "displaced"):
            self.sides[side].decide_anew(session)

    # -- servers

    @precondition(lambda self: self.sides[0].model.servers)
    @rule(pick=picks, is_passed=st.booleans())
    def check(self, pick: int, is_passed: bool) -> None:
        side = self.sides[0]
        name = side.server(pick)
        act = side.balancer.check_passed if is_passed else side.balancer.check_failed
        side.change(side.model.check(name, is_passed=is_passed), act(name, side.now))

    @precondition(lambda self: self.sides[0].model.servers)
    @rule(side=side_numbers, pick=picks, admin=st.sampled_from(AdminState))
    def ask(self, side: int, pick: int, admin: AdminState) -> None:
        chosen = self.sides[side]
        name = chosen.server(pick)
        news = chosen.model.ask(name, admin.value)
        chosen.change(news, chosen.balancer.set_admin(name, admin, chosen.now))

    @precondition(lambda self: self.sides[0].model.servers)
    @rule(pick=picks, health=st.sampled_from(Health))
    def take_for(self, pick: int, health: Health) -> None:
        side = self.sides[0]
        name = side.server(pick)
        news = side.model.take_for(name, health.value)
        side.change(news, side.balancer.set_health(name, health, side.now))

    @precondition(lambda self: self.sides[0].model.servers)
    @rule(pick=picks, weight=st.integers(0, 3))
    def weigh(self, pick: int, weight: int) -> None:
        side = self.sides[0]
        name = side.server(pick)
        news = side.model.weigh(name, weight)
        side.change(news, side.balancer.set_weight(name, weight, side.now))

    @precondition(lambda self: len(self.sides[0].model.servers) < 4)
    @rule(words=server_words)
    def add(self, words: dict[str, Any]) -> None:
        side = self.sides[0]
        server, twin = side.described(words)
        side.change(side.model.add(twin), side.balancer.add_server(server, side.now))

    @precondition(lambda self: self.sides[0].model.servers)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        side = self.sides[0]
        name = side.server(pick)
        side.change(side.model.remove(name), side.balancer.remove_server(name, side.now))

    # -- what always holds

    @invariant()
    def the_balancers_hold_what_the_models_hold(self) -> None:
        self.table._check(self.now)
        for side in self.sides:
            side.agree()
        assert {(e.key, e.server, e.uses) for e in self.table.entries(self.now)} == {
            (row.key, row.server, self.model.uses[row.key]) for row in self.model.rows
        }
        self.tick()

    def teardown(self) -> None:
        for side in self.sides:
            side.end()
        assert self.table.busy == 0


TestBalancersAgainstTheirModels = BalancerMachine.TestCase
TestBalancersAgainstTheirModels.settings = settings(stateful_step_count=25)


@pytest.mark.parametrize("seed", range(120))
def test_a_long_life_goes_as_the_models_say(seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though."""
    chance = random.Random(seed)
    most, arrivals = chance.choice([(3, 25), (1, 25), (1, 12)])
    # Who has been taken out of service comes back soon, or nobody would have a choice.
    admins = [*[AdminState.READY] * 4, AdminState.DRAIN, AdminState.MAINT]
    healths = [*[Health.UP] * 3, *Health]

    def words() -> dict[str, Any]:
        maxconn = chance.choice([1, 1, 2, 3, None])
        return {
            "weight": chance.choice([1, 1, 1, 2, 3, 0]),
            "limits": (maxconn, chance.choice([None, None, 1]) if maxconn else None),
            "maxqueue": chance.choice([None, None, 1, 2]),
            "slowstart": chance.choice([None, 4.5, 30.0]),
            "backup": chance.random() < 0.3,
            "shutdown_on_down": chance.random() < 0.5,
            "shutdown_backups_on_up": chance.random() < 0.3,
            "non_stick": chance.random() < 0.2,
            "check": Check(rise=chance.randint(1, 2), fall=chance.randint(1, 3)),
            "observe": chance.choice(
                [
                    None,
                    Observe(error_limit=chance.randint(1, 3), on_error=chance.choice([*OnError])),
                ]
            ),
            "init_state": chance.choice([*[InitState.UP] * 4, *InitState]),
        }

    life = BalancerMachine()
    life.begin(
        kind=KINDS[seed % len(KINDS)],
        backend={
            "redispatch": chance.choice([0, 1, 2, -1, -2]),
            "retries": chance.choice([1, 3, 3]),
            "allbackups": chance.random() < 0.5,
            "persist": chance.random() < 0.3,
            "fullconn": chance.choice([3, 6]),
            "stick": chance.choice([None, StickAction.ON, StickAction.ON, *StickAction]),
        },
        table={
            "ttl": chance.choice([None, 4.0, 20.0]),
            "accepts_ipv6": chance.random() < 0.5,
            "srvkey": chance.choice([*SrvKey]),
        },
        pool=[words() for _ in range(4)],
        other=[words() for _ in range(2)],
    )

    def pick() -> int:
        return chance.randrange(99)

    def side() -> int:
        return chance.choice([0, 0, 0, 1])

    # Few events at the servers, so that something grows before it happens: queues where there are
    # many sessions, equals among the servers where there are few.
    acts: dict[Callable[[], object], int] = {
        lambda: life.arrive(
            side=side(), crowd=chance.choices(CLIENTS, k=chance.randint(1, most))
        ): arrivals,
        lambda: life.succeed(side=side(), pick=pick()): 30,
        lambda: life.fail(side=side(), pick=pick(), cause=chance.choice([*Failure])): 20,
        lambda: life.leave(side=side(), pick=pick()): 20,
        lambda: life.decide_anew(side=side(), pick=pick()): 20,
        lambda: life.check(pick=pick(), is_passed=chance.random() < 0.8): 6,
        lambda: life.ask(side=side(), pick=pick(), admin=chance.choice(admins)): 6,
        lambda: life.take_for(pick=pick(), health=chance.choice(healths)): 2,
        lambda: life.weigh(pick=pick(), weight=chance.choice([0, 1, 2, 3])): 2,
        lambda: len(life.sides[0].model.servers) < 4 and life.add(words=words()): 2,
        lambda: len(life.sides[0].model.servers) > 1 and life.remove(pick=pick()): 1,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=200):
        act()
        life.the_balancers_hold_what_the_models_hold()
    life.teardown()
