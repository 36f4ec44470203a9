"""A balancer beside an independent model: nothing is lost, nothing is held twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

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
from dsbalance.balancer import AdminState, Balancer, Change, Failure, Placement
from dsbalance.errors import NoServerError
from dsbalance.model import (
    Backend,
    Balance,
    Check,
    HashKind,
    HashType,
    Server,
    StickAction,
    StickRule,
)
from dsbalance.policy import Client, make_policy
from dsbalance.sticky import StickTable

CONSISTENT = HashType(kind=HashKind.CONSISTENT)
KINDS = [
    (Balance.SOURCE, CONSISTENT, models.Consistent),
    (Balance.SOURCE, HashType(), models.MapBased),
    (Balance.ROUNDROBIN, HashType(), models.RoundRobin),
    (Balance.LEASTCONN, HashType(), models.LeastConn),
    (Balance.FIRST, HashType(), models.First),
]
MAPPED = "::ffff:10.0.0.1"  # the first one, on an IPv6 socket: the same to a table, not to a hash
CLIENTS = [
    Client(address, ip_address(address).packed, 5022)
    for address in ("10.0.0.1", "10.0.0.2", "192.0.2.9", "2001:db8::7", MAPPED)
]

picks = st.integers(0, 99)
server_words = st.fixed_dictionaries(
    {
        "weight": st.sampled_from([1, 1, 2, 3, 0]),
        "maxconn": st.sampled_from([1, 2, None]),
        "backup": st.sampled_from([False, False, True]),
        "shutdown_on_down": st.booleans(),
        "non_stick": st.sampled_from([False, False, False, True]),
        "check": st.sampled_from([Check(rise=1, fall=1), Check(rise=2, fall=2)]),
    }
)
backend_words = st.fixed_dictionaries(
    {
        "redispatch": st.sampled_from([0, 1, 2, -1, -2]),
        "retries": st.sampled_from([0, 3, 3]),
        "allbackups": st.booleans(),
        "stick": st.sampled_from([None, *StickAction]),
    }
)
table_words = st.fixed_dictionaries(
    {"ttl": st.sampled_from([None, 4.0]), "accepts_ipv6": st.booleans()}
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


class BalancerMachine(RuleBasedStateMachine):
    """Whatever happens, in any order, to a balancer and to its model."""

    balancer: Balancer
    model: models.Balancer
    table: StickTable

    @initialize(
        kind=st.sampled_from(KINDS),
        backend=backend_words,
        table=table_words,
        pool=st.lists(server_words, min_size=2, max_size=4),
    )
    def begin(
        self,
        kind: tuple[Balance, HashType, Callable[[], models.Policy]],
        backend: dict[str, Any],
        table: dict[str, Any],
        pool: list[dict[str, Any]],
    ) -> None:
        self.now = 0.0
        self.added = 0
        # Session of the model -> placement, in the order in which they came.
        self.placements: dict[models.Session, Placement] = {}
        balance, hash_type, policy = kind
        stick = backend.pop("stick")
        self.model = models.Balancer(
            policy=policy(),
            table=models.Table(**table),
            matches=stick in {StickAction.ON, StickAction.MATCH},
            stores=stick in {StickAction.ON, StickAction.STORE_REQUEST},
            **backend,
        )
        described = Backend(
            name="x",
            servers=tuple(self.described(words)[0] for words in pool),
            balance=balance,
            hash_type=hash_type,
            stick=() if stick is None else (StickRule(action=stick),),
            **backend,
        )
        self.table = StickTable(size=100, **table)
        self.balancer = Balancer(described, {"x": self.table}, make_policy(described))

    def described(self, words: dict[str, Any]) -> tuple[Server, models.News | None]:
        """Add a server to the model; return its configuration, and what that means."""
        name = f"s{self.added}"
        self.added += 1
        check = words["check"]
        news = self.model.add(
            models.Server(
                name=name,
                weight=words["weight"],
                maxconn=words["maxconn"],
                is_backup=words["backup"],
                is_cleared_when_down=words["shutdown_on_down"],
                is_stuck_to=not words["non_stick"],
                gate=models.Gate(check.rise, check.fall),
            )
        )
        return Server(name=name, host="192.0.2.1", port=9, **words), news

    def those(self, sessions: Iterable[models.Session]) -> list[Placement]:
        return [self.placements[session] for session in sessions]

    def some(self, pick: int, *stages: str) -> models.Session | None:
        found = [s for s in self.placements if s.stage in stages]
        return found[pick % len(found)] if found else None

    def tick(self) -> None:
        self.now += 1.0
        self.model.table.go_to(self.now)

    # -- sessions

    @rule(crowd=st.lists(st.sampled_from(CLIENTS), min_size=1, max_size=4))
    def arrive(self, crowd: list[Client]) -> None:
        for who in crowd:
            session = self.model.arrive(who.packed)
            if session is None:
                with pytest.raises(NoServerError):
                    self.balancer.route(who, self.now)
            else:
                self.placements[session] = self.balancer.route(who, self.now)

    @precondition(lambda self: self.some(0, "connecting"))
    @rule(pick=picks)
    def succeed(self, pick: int) -> None:
        session = self.some(pick, "connecting")
        assert session is not None
        self.model.connect(session)
        self.balancer.connected(self.placements[session], self.now)

    @precondition(lambda self: self.some(0, "connecting"))
    @rule(pick=picks, cause=st.sampled_from(Failure))
    def fail(self, pick: int, cause: Failure) -> None:
        session = self.some(pick, "connecting")
        assert session is not None
        expected = self.model.fail(session, cause.name.lower())
        retry = self.balancer.failed(self.placements[session], cause, self.now)
        if retry is None:
            assert expected is None
            self.leave_now(session)
        else:
            assert expected is not None
            delay, heirs = expected
            assert retry.placement is self.placements[session]
            assert (retry.delay, list(retry.admitted)) == (delay, self.those(heirs))

    @precondition(lambda self: self.placements)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self.leave_now(list(self.placements)[pick % len(self.placements)])

    def leave_now(self, session: models.Session) -> None:
        heirs = self.those(self.model.leave(session))
        placement = self.placements.pop(session)
        assert self.balancer.release(placement, self.now) == heirs
        assert self.balancer.release(placement, self.now) == []

    @precondition(lambda self: self.some(0, "displaced"))
    @rule(pick=picks)
    def decide_anew(self, pick: int) -> None:
        session = self.some(pick, "displaced")
        assert session is not None
        if self.model.decide(session):
            self.balancer.reroute(self.placements[session], self.now)
        else:
            with pytest.raises(NoServerError):
                self.balancer.reroute(self.placements[session], self.now)
            self.leave_now(session)

    @precondition(lambda self: self.model.servers)
    @rule(who=st.sampled_from(CLIENTS), pick=picks)
    def learn(self, who: Client, pick: int) -> None:
        """Find in the table what somebody else has stored there, as a backend that shares it."""
        key = self.model.table.key(who.packed)
        if key is not None:
            self.model.table.store(key, self.name(pick))
            self.table.store(key, self.name(pick), self.now)

    # -- servers

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, is_passed=st.booleans())
    def check(self, pick: int, is_passed: bool) -> None:
        name = self.name(pick)
        act = self.balancer.check_passed if is_passed else self.balancer.check_failed
        self.follow(self.model.check(name, is_passed=is_passed), act(name, self.now))

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, admin=st.sampled_from(AdminState))
    def ask(self, pick: int, admin: AdminState) -> None:
        name = self.name(pick)
        news = self.model.ask(name, admin.value)
        self.follow(news, self.balancer.set_admin(name, admin, self.now))

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, weight=st.integers(0, 3))
    def weigh(self, pick: int, weight: int) -> None:
        name = self.name(pick)
        news = self.model.weigh(name, weight)
        self.follow(news, self.balancer.set_weight(name, weight, self.now))

    @precondition(lambda self: len(self.model.servers) < 4)
    @rule(words=server_words)
    def add(self, words: dict[str, Any]) -> None:
        described, news = self.described(words)
        self.follow(news, self.balancer.add_server(described, self.now))

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        name = self.name(pick)
        news = self.model.remove(name)
        self.follow(news, self.balancer.remove_server(name, self.now))

    def name(self, pick: int) -> str:
        names = list(self.model.servers)
        return names[pick % len(names)]

    def follow(self, news: models.News | None, changes: list[Change]) -> None:
        """Compare what a change means for the sessions."""
        assert len(changes) == (news is not None)
        for change in changes:
            assert news is not None
            assert set(change.shutdown) == set(self.those(news.shutdown))
            assert len(change.shutdown) == len(news.shutdown)
            assert list(change.requeued) == self.those(news.requeued)
            assert list(change.admitted) == self.those(news.admitted)

    # -- what always holds

    @invariant()
    def the_balancer_holds_what_the_model_holds(self) -> None:
        balancer, model = self.balancer, self.model
        balancer._check()
        self.table._check(self.now)
        assert balancer.counters.current == len(model.sessions) == len(self.placements)
        assert [each.name for each in balancer.candidates] == [each.name for each in model.group()]
        assert list(balancer.states) == list(model.servers)
        for name, state in balancer.states.items():
            assert (state.word, state.is_running) == (model.servers[name].word, model.runs(name))
            assert state.placements == set(self.those(model.at(name)))
            assert list(state.queue) == self.those(model.waiting(name))
        assert list(balancer._places.shared) == self.those(model.waiting())
        # Nobody waits for any server while one has room: it would be for ever.
        if model.waiting():
            assert all(map(balancer.candidates.is_full, balancer.candidates))
        for session, placement in self.placements.items():
            assert facts(placement) == (
                session.stage,
                session.server,
                session.reason,
                session.tries,
                session.is_persistent,
                session.is_holding,
            )
        assert {(e.key, e.server, e.uses) for e in self.table.entries(self.now)} == {
            (row.key, row.server, model.table.uses[row.key]) for row in model.table.rows
        }
        self.tick()

    def teardown(self) -> None:
        for session in list(self.placements):
            self.leave_now(session)
        self.balancer._check()
        assert self.balancer.counters.current == 0
        assert self.table.busy == 0
        assert not any(state.placements or state.queue for state in self.balancer.states.values())


TestBalancerAgainstItsModel = BalancerMachine.TestCase
TestBalancerAgainstItsModel.settings = settings(stateful_step_count=30)


@pytest.mark.parametrize("seed", range(60))
def test_a_long_life_goes_as_the_model_says(seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though."""
    chance = random.Random(seed)
    most, arrivals = chance.choice([(3, 25), (1, 25), (1, 12)])
    # Who has been taken out of service comes back soon, or nobody would have a choice.
    admins = [*[AdminState.READY] * 4, AdminState.DRAIN, AdminState.MAINT]

    def words() -> dict[str, Any]:
        return {
            "weight": chance.choice([1, 1, 1, 2, 3, 0]),
            "maxconn": chance.choice([1, 1, 2, 3, None]),
            "backup": chance.random() < 0.3,
            "shutdown_on_down": chance.random() < 0.5,
            "non_stick": chance.random() < 0.2,
            "check": Check(rise=chance.randint(1, 2), fall=chance.randint(1, 2)),
        }

    life = BalancerMachine()
    life.begin(
        kind=KINDS[seed % len(KINDS)],
        backend={
            "redispatch": chance.choice([0, 1, 2, -1, -2]),
            "retries": chance.choice([1, 3, 3]),
            "allbackups": chance.random() < 0.5,
            "stick": chance.choice([None, StickAction.ON, StickAction.ON, *StickAction]),
        },
        table={"ttl": chance.choice([None, 4.0, 20.0]), "accepts_ipv6": chance.random() < 0.5},
        pool=[words() for _ in range(4)],
    )
    # Few events at the servers, so that something grows before it happens: queues where there are
    # many sessions, equals among the servers where there are few.
    acts: dict[Callable[[], object], int] = {
        lambda: life.arrive(crowd=chance.choices(CLIENTS, k=chance.randint(1, most))): arrivals,
        lambda: life.some(0, "connecting") and life.succeed(pick=chance.randrange(99)): 30,
        lambda: (
            life.some(0, "connecting")
            and life.fail(pick=chance.randrange(99), cause=chance.choice(list(Failure)))
        ): 20,
        lambda: life.placements and life.leave(pick=chance.randrange(99)): 20,
        lambda: life.some(0, "displaced") and life.decide_anew(pick=chance.randrange(99)): 20,
        lambda: life.check(pick=chance.randrange(99), is_passed=chance.random() < 0.8): 6,
        lambda: life.ask(pick=chance.randrange(99), admin=chance.choice(admins)): 6,
        lambda: life.weigh(pick=chance.randrange(99), weight=chance.choice([0, 1, 2, 3])): 2,
        lambda: life.learn(who=chance.choice(CLIENTS), pick=chance.randrange(99)): 2,
        lambda: len(life.model.servers) < 4 and life.add(words=words()): 2,
        lambda: len(life.model.servers) > 1 and life.remove(pick=chance.randrange(99)): 1,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=250):
        act()
        life.the_balancer_holds_what_the_model_holds()
    life.teardown()
