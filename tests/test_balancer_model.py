"""A balancer beside an independent model: nothing is lost, nothing is held twice."""

from __future__ import annotations

import random
from collections.abc import Callable
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

from dsbalance.balancer import AdminState, Balancer, Change, Failure, Placement, Stage
from dsbalance.errors import NoServerError
from dsbalance.hashring import HashRing
from dsbalance.model import Backend, Balance, Check, HashKind, HashType, Server, StickRule
from dsbalance.policy import Client, Reason, make_policy
from dsbalance.sticky import StickTable

READY, DRAIN, MAINT = AdminState
# One result is enough, so that the model needs no count.
WATCHED = Check(rise=1, fall=1)


def client(address: str) -> Client:
    return Client(address, ip_address(address).packed, 5022)


def where(placement: Placement) -> str:
    return placement.server.name if placement.server else ""


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, check=WATCHED, **settings)


class Model:
    """What a balancer has to hold, in the plainest way: every question is answered anew."""

    retries = 3

    def __init__(self, balance: Balance, redispatch: int, sticks: bool) -> None:
        self.balance = balance
        self.redispatch = redispatch
        self.sticks = sticks
        self.servers: dict[str, dict[str, Any]] = {}
        # Who is where: ("at", server), ("for", server), ("any", ""), ("none", ""). The order of
        # the dict is that in which they came there.
        self.where: dict[Placement, tuple[str, str]] = {}
        self.table: dict[bytes, str] = {}
        self.persistent: set[Placement] = set()
        self.tries: dict[Placement, int] = {}

    def add(self, number: int, one: Server) -> None:
        self.servers[one.name] = {"id": number, "server": one, "up": True, "admin": READY}

    def runs(self, name: str) -> bool:
        facts = self.servers.get(name)
        return facts is not None and facts["up"] and facts["admin"] is not MAINT

    def usable(self) -> list[str]:
        return [
            name
            for name, facts in self.servers.items()
            if self.runs(name) and facts["admin"] is READY and facts["server"].weight
        ]

    def active(self) -> list[str]:
        return [name for name in self.usable() if not self.servers[name]["server"].backup]

    def group(self) -> list[str]:
        return self.active() or self.usable()[:1]

    def those(self, *spot: str) -> list[Placement]:
        return [placement for placement, there in self.where.items() if there == spot]

    def is_full(self, name: str) -> bool:
        maxconn = self.servers[name]["server"].maxconn
        return maxconn is not None and (
            len(self.those("at", name)) >= maxconn or bool(self.those("for", name))
        )

    def choices(self, who: Client, avoid: str | None) -> set[str]:
        """Return who may be chosen; empty: the client waits for any."""
        group = self.group()
        if self.balance is Balance.SOURCE:
            weights = {name: self.servers[name]["server"].weight for name in group}
            ring = HashRing(weights, identify=lambda name: self.servers[name]["id"])
            owner = ring.lookup(ip_address(who.packed), avoid=lambda name: name == avoid)
            return {str(owner)}
        fit = [name for name in group if not self.is_full(name)]
        fit = [name for name in fit if name != avoid] or fit
        if self.balance is Balance.ROUNDROBIN or not fit:
            return set(fit)
        ranks = {name: self.rank(name) for name in fit}
        return {name for name in fit if ranks[name] == min(ranks.values())}

    def rank(self, name: str) -> float:
        if self.balance is Balance.FIRST:
            return float(self.servers[name]["id"])
        load = len(self.those("at", name)) + len(self.those("for", name))
        weight = self.servers[name]["server"].weight
        return (load + 1) * 4096 // (16 * weight) if load else 0

    def go(self, placement: Placement, name: str) -> None:
        """Send a session to a server, or let it wait for any."""
        spot = ("for" if self.is_full(name) else "at", name) if name else ("any", "")
        self.where.pop(placement, None)
        self.where[placement] = spot

    def vacate(self, name: str) -> list[Placement]:
        """Hand a place on that somebody has just left, and return who got it."""
        is_open = name in self.group()
        for placement, spot in self.where.items():
            if spot == ("for", name) or (is_open and spot == ("any", "")):
                del self.where[placement]
                self.where[placement] = ("at", name)
                return [placement]
        return []

    def is_moving(self, placement: Placement) -> bool:
        _, name = self.where[placement]
        if not self.redispatch:
            return False
        step = self.redispatch if self.redispatch > 0 else self.retries + 1 + self.redispatch
        return (
            not self.runs(name)
            or self.tries[placement] % step == 0
            or (
                placement not in self.persistent
                and self.balance is not Balance.SOURCE
                and len(self.active()) > 1
            )
        )


CLIENTS = [client("10.0.0.1"), client("10.0.0.2"), client("192.0.2.9"), client("2001:db8::7")]
picks = st.integers(0, 99)
server_settings = st.fixed_dictionaries(
    {
        "weight": st.sampled_from([1, 1, 2, 3, 0]),
        "maxconn": st.sampled_from([1, 2, None]),
        "backup": st.sampled_from([False, False, True]),
        "shutdown_on_down": st.booleans(),
    }
)


class BalancerMachine(RuleBasedStateMachine):
    """Whatever happens, in any order, to both of them."""

    balancer: Balancer
    model: Model
    table: StickTable

    @initialize(
        balance=st.sampled_from(Balance),
        redispatch=st.sampled_from([0, 1, 2, -1]),
        sticks=st.booleans(),
        pool=st.lists(server_settings, min_size=2, max_size=4),
    )
    def begin(
        self, balance: Balance, redispatch: int, sticks: bool, pool: list[dict[str, Any]]
    ) -> None:
        self.now = 0.0
        self.added = len(pool)
        self.model = Model(balance, redispatch, sticks)
        servers = [server(f"s{n}", **pool[n]) for n in range(len(pool))]
        for number, one in enumerate(servers, 1):
            self.model.add(number, one)
        self.table = StickTable(size=100, ttl=None, accepts_ipv6=True)
        backend = Backend(
            name="x",
            servers=tuple(servers),
            balance=balance,
            hash_type=HashType(kind=HashKind.CONSISTENT),
            redispatch=redispatch,
            retries=Model.retries,
            stick=(StickRule(),) if sticks else (),
        )
        self.balancer = Balancer(backend, {"x": self.table}, make_policy(backend))

    # -- sessions

    @rule(crowd=st.lists(st.sampled_from(CLIENTS), min_size=1, max_size=4))
    def arrive(self, crowd: list[Client]) -> None:
        for who in crowd:
            self.arrive_one(who)

    def arrive_one(self, who: Client) -> None:
        stuck = self.model.table.get(who.packed)
        if stuck is not None and self.model.runs(stuck):
            placement = self.balancer.route(who, self.now)
            assert (where(placement), placement.reason) == (stuck, Reason.STICKY)
            self.model.persistent.add(placement)
            self.model.go(placement, stuck)
        elif self.model.group():
            choices = self.model.choices(who, None)
            placement = self.balancer.route(who, self.now)
            self.went(placement, choices)
        else:
            with pytest.raises(NoServerError):
                self.balancer.route(who, self.now)
            return
        self.model.tries[placement] = 0

    def went(self, placement: Placement, choices: set[str]) -> None:
        """Compare where a session went with where it may go, and let the model follow."""
        name = placement.server.name if placement.server else ""
        assert name in (choices or {""})
        self.model.go(placement, name)

    def some(self, pick: int, *stages: Stage) -> Placement | None:
        found = [p for p in self.model.where if p.stage in stages]
        return found[pick % len(found)] if found else None

    @precondition(lambda self: self.some(0, Stage.CONNECTING))
    @rule(pick=picks)
    def succeed(self, pick: int) -> None:
        placement = self.some(pick, Stage.CONNECTING)
        assert placement is not None
        self.balancer.connected(placement, self.now)
        if self.model.sticks:
            self.model.table[placement.client.packed] = where(placement)

    @precondition(lambda self: self.some(0, Stage.CONNECTING))
    @rule(pick=picks, cause=st.sampled_from(Failure))
    def fail(self, pick: int, cause: Failure) -> None:
        placement = self.some(pick, Stage.CONNECTING)
        assert placement is not None
        model = self.model
        name = where(placement)
        model.tries[placement] += cause is not Failure.LOCAL
        is_over = cause is Failure.LOCAL or model.tries[placement] > model.retries
        is_moving = not is_over and model.is_moving(placement)
        if is_moving and model.group():
            model.where[placement] = ("none", "")
            heirs = model.vacate(name)
            model.persistent.discard(placement)
            choices = model.choices(placement.client, name)
            retry = self.balancer.failed(placement, cause, self.now)
            assert retry is not None
            assert list(retry.admitted) == heirs
            self.went(placement, choices)
            assert (placement.reason is Reason.REDISPATCH) is (where(placement) != name)
        else:
            retry = self.balancer.failed(placement, cause, self.now)
            assert (retry is None) is (is_over or is_moving)
        if retry is None:
            self.leave_now(placement)
        else:
            quick = cause is Failure.TIMEOUT or (is_moving and len(model.active()) > 1)
            assert retry.delay == (0.0 if quick or placement.is_queued else 1.0)

    @precondition(lambda self: self.model.where)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        placement = self.some(pick, *Stage)
        assert placement is not None
        self.leave_now(placement)

    def leave_now(self, placement: Placement) -> None:
        kind, name = self.model.where.pop(placement)
        heirs = self.model.vacate(name) if kind == "at" else []
        assert self.balancer.release(placement, self.now) == heirs
        assert self.balancer.release(placement, self.now) == []

    @precondition(lambda self: self.some(0, Stage.DISPLACED))
    @rule(pick=picks)
    def decide_anew(self, pick: int) -> None:
        placement = self.some(pick, Stage.DISPLACED)
        assert placement is not None
        if self.model.group():
            choices = self.model.choices(placement.client, None)
            self.balancer.reroute(placement, self.now)
            self.went(placement, choices)
        else:
            with pytest.raises(NoServerError):
                self.balancer.reroute(placement, self.now)
            self.leave_now(placement)

    # -- servers

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, is_passed=st.booleans())
    def check(self, pick: int, is_passed: bool) -> None:
        name = self.server_name(pick)
        facts = self.model.servers[name]
        before = self.state_of(name)
        if facts["admin"] is not MAINT:
            facts["up"] = is_passed
        if is_passed:
            changes = self.balancer.check_passed(name, self.now)
        else:
            changes = self.balancer.check_failed(name, self.now)
        self.follow(name, before, changes)

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, admin=st.sampled_from(AdminState))
    def ask(self, pick: int, admin: AdminState) -> None:
        name = self.server_name(pick)
        facts = self.model.servers[name]
        before = self.state_of(name)
        if facts["admin"] is MAINT and admin is not MAINT:
            facts["up"] = True
        facts["admin"] = admin
        self.follow(name, before, self.balancer.set_admin(name, admin, self.now))

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks, weight=st.integers(0, 3))
    def weigh(self, pick: int, weight: int) -> None:
        name = self.server_name(pick)
        facts = self.model.servers[name]
        before = self.state_of(name)
        changes = self.balancer.set_weight(name, weight, self.now)
        assert len(changes) == (facts["server"].weight != weight)
        facts["server"] = self.balancer.states[name].server
        assert facts["server"].weight == weight
        self.follow(name, before, changes)

    @precondition(lambda self: len(self.model.servers) < 4)
    @rule(settings=server_settings)
    def add(self, settings: dict[str, Any]) -> None:
        one = server(f"s{self.added}", **settings)
        self.added += 1
        used = {facts["id"] for facts in self.model.servers.values()}
        self.model.add(min(set(range(1, 9)) - used), one)
        (change,) = self.balancer.add_server(one, self.now)
        self.admit(change)

    @precondition(lambda self: self.model.servers)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        name = self.server_name(pick)
        before = self.state_of(name)
        del self.model.servers[name]
        self.follow(name, before, self.balancer.remove_server(name, self.now))

    def server_name(self, pick: int) -> str:
        names = list(self.model.servers)
        return names[pick % len(names)]

    def state_of(self, name: str) -> tuple[bool, bool, bool]:
        shuts = self.model.servers[name]["server"].shutdown_on_down
        return self.model.runs(name), name in self.model.usable(), shuts

    def follow(self, name: str, before: tuple[bool, bool, bool], changes: list[Change]) -> None:
        """Compare what a change means for the sessions, and let the model follow."""
        model = self.model
        ran, was_usable, shuts = before
        runs = model.runs(name)
        is_drained = was_usable and runs and name not in model.usable()
        is_drained = is_drained and model.servers[name]["admin"] is DRAIN
        waiting = model.those("for", name)
        lost = waiting if not runs or (is_drained and model.redispatch) else []
        for placement in lost:
            del model.where[placement]
            model.where[placement] = ("none", "")
            model.persistent.discard(placement)
        if not changes:
            assert not lost
            assert ran is runs
            assert (name in model.usable()) is was_usable
            return
        (change,) = changes
        assert list(change.requeued) == lost
        is_shut = ran and not runs and shuts and name in model.servers
        assert set(change.shutdown) == set(model.those("at", name) if is_shut else [])
        self.admit(change)

    def admit(self, change: Change) -> None:
        """Let those in who waited for any server, as the policy may say, the oldest first."""
        expected = []
        for placement in self.model.those("any", ""):
            choices = self.model.choices(placement.client, None) if self.model.group() else set()
            if not choices:
                break
            self.went(placement, choices)
            expected.append(placement)
        assert list(change.admitted) == expected

    # -- what always holds

    @invariant()
    def the_balancer_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "balancer"):
            return
        balancer, model = self.balancer, self.model
        balancer._check()
        assert balancer.counters.current == len(model.where)
        assert {each.name for each in balancer.candidates} == set(model.group())
        for name, state in balancer.states.items():
            assert state.placements == set(model.those("at", name))
            assert list(state.queue) == model.those("for", name)
            assert state.is_running is model.runs(name)
        assert list(balancer._places.shared) == model.those("any", "")
        held = {p.client.packed for p in model.where if p.stage is Stage.CONNECTED}
        assert {entry.key for entry in self.table.entries(self.now) if entry.uses} == (
            held if model.sticks else set()
        )
        assert {e.key: e.server for e in self.table.entries(self.now)} == model.table
        self.table._check(self.now)
        self.now += 1.0

    def teardown(self) -> None:
        if not hasattr(self, "balancer"):
            return
        for placement in list(self.model.where):
            self.balancer.release(placement, self.now)
        self.balancer._check()
        assert self.balancer.counters.current == 0
        assert self.table.busy == 0
        assert not any(state.placements or state.queue for state in self.balancer.states.values())


TestBalancerAgainstItsModel = BalancerMachine.TestCase
TestBalancerAgainstItsModel.settings = settings(max_examples=50, stateful_step_count=30)


@pytest.mark.parametrize("seed", range(40))
def test_a_long_life_goes_as_the_model_says(seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though."""
    chance = random.Random(seed)

    def draw_settings() -> dict[str, Any]:
        return {
            "weight": chance.choice([1, 1, 1, 2, 3, 0]),
            "maxconn": chance.choice([1, 1, 2, 3, None]),
            "backup": chance.random() < 0.3,
            "shutdown_on_down": chance.random() < 0.5,
        }

    life = BalancerMachine()
    life.begin(
        balance=list(Balance)[seed % 4],
        redispatch=chance.choice([0, 1, 2, -1]),
        sticks=chance.random() < 0.6,
        pool=[draw_settings() for _ in range(4)],
    )
    # Many sessions, few events at the servers, so that queues grow before something happens.
    acts: dict[Callable[[], object], int] = {
        lambda: life.arrive(crowd=chance.choices(CLIENTS, k=chance.randint(1, 3))): 30,
        lambda: life.some(0, Stage.CONNECTING) and life.succeed(pick=chance.randrange(99)): 25,
        lambda: (
            life.some(0, Stage.CONNECTING)
            and life.fail(pick=chance.randrange(99), cause=chance.choice(list(Failure)))
        ): 20,
        lambda: life.model.where and life.leave(pick=chance.randrange(99)): 20,
        lambda: life.some(0, Stage.DISPLACED) and life.decide_anew(pick=chance.randrange(99)): 20,
        lambda: life.check(pick=chance.randrange(99), is_passed=chance.random() < 0.6): 4,
        lambda: life.ask(pick=chance.randrange(99), admin=chance.choice([READY, DRAIN, MAINT])): 4,
        lambda: life.weigh(pick=chance.randrange(99), weight=chance.randint(0, 3)): 2,
        lambda: len(life.model.servers) < 4 and life.add(settings=draw_settings()): 2,
        lambda: len(life.model.servers) > 1 and life.remove(pick=chance.randrange(99)): 1,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=250):
        act()
        life.the_balancer_holds_what_the_model_holds()
    life.teardown()
