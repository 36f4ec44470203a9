"""Who was where stays there: for how long, in how little room, whatever becomes of the servers.

Most cases are about many clients, which have an address each. IPv6 has one address on loopback, so
on those paths all clients but one come over IPv4, through a second door to the same table.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeAlias, TypeVar

import pytest

from actors import PATIENCE, Greeter, connect, greeted_by, server, until
from dsbalance import (
    Backend,
    Balance,
    Bind,
    Config,
    HashKind,
    HashRing,
    HashType,
    StickRule,
    StickTable,
    Table,
    TableType,
    sticky,
)
from faults.checks import QUICK, Round
from faults.choices import choices, clients
from faults.clock import Clock
from faults.stage import Stage

T = TypeVar("T")
Homes: TypeAlias = dict[str | None, str]
"""Source of a client -> the server that it has; None is the client with the path's address."""

EXPIRE = 1800.0
# From all over 127.0.0.0/8 and the same at each run, so that a hash gives each server some of them.
CROWD = tuple(f"127.{10 * number + 1}.{97 * number % 256}.{number + 1}" for number in range(20))

ROOT = Path(__file__).resolve().parents[2]
CAPTURED = ROOT / "tests" / "data" / "haproxy-balance-source.json"
# Made by asking HAProxy 2.6.12 for each of the 10,000 clients of choices.py in each scenario of
# the file above: it was told their addresses by PROXY protocol, and each server sent its name.
# HAProxy has no ring of names; its digest is that of a search over all nodes for the nearest.
GOLDEN = ROOT / "tests" / "data" / "ten-thousand-choices.json"


class Town:
    """A stage with a stick table, and a second door for the clients that come over IPv4.

    Args:
        stage: Its servers have entered; they take turns for those who are new.
        loopback: The fixture, which skips the case where there is no 127.0.0.2.
        size: Entries of the table.
        words: As for :meth:`Stage.config`.
    """

    def __init__(
        self, stage: Stage, loopback: Callable[[], str], size: int = 100, **words: object
    ) -> None:
        loopback()
        self._stage = stage
        table = Table(size=size, expire=EXPIRE, type=TableType.IPV6)
        config = stage.config(**{"table": table, "stick": (StickRule(),), **words})
        (frontend,) = config.frontends
        doors = (*frontend.binds, Bind(host="127.0.0.1", port=0))
        self.proxy = stage.open(replace(config, frontends=(replace(frontend, binds=doors),)))

    def door(self, source: str | None) -> tuple[str, int]:
        """Return where a client comes in."""
        return self.proxy.addresses("front")[source is not None]

    def visit(self, source: str | None = None) -> str:
        """Return who serves a client, which leaves when it has been told."""
        return greeted_by(self.door(source), source)

    def homes(self) -> Homes:
        """Return who serves each client; all of them come."""
        return {source: self.visit(source) for source in (None, *CROWD)}

    def is_remembered(self, source: str | None = None) -> bool:
        """Return whether a client that comes has an entry, so that nothing is decided for it."""
        before = self.proxy.snapshot().backends[0].chosen
        self.visit(source)
        return self.proxy.snapshot().backends[0].chosen == before

    def look(self) -> tuple[str | None, list[str]]:
        """Return the server of the path's client, and those of all entries, by looks alone."""

        def ask() -> tuple[str | None, list[str]]:
            table, now = self.proxy._engine._backends.table("back"), self.proxy._loop.now
            key = table.normalise(self._stage.path.host)
            assert key is not None
            return table.peek(key, now), [entry.server for entry in table.entries(now)]

        return self.proxy._loop.ask(ask)


def test_a_hundred_connections_through_three_ports_have_one_server(stage: Stage) -> None:
    """Case 30: one source, also on another port, and in another backend, of the same table."""
    for name in "ab":
        stage.greeter(name)
    with ExitStack() as cleanup:
        elsewhere = [cleanup.enter_context(closing(Greeter(n, stage.path.host))) for n in "ab"]
        proxy = stage.open(three_ports(stage, elsewhere))
        doors = cycle(proxy.addresses("front") + proxy.addresses("other"))
        assert len({greeted_by(next(doors)) for _ in range(100)}) == 1
        assert [backend.total for backend in proxy.snapshot().backends] == [67, 33]


def three_ports(stage: Stage, elsewhere: list[Greeter]) -> Config:
    """Return a frontend with two ports and one with another; their backends share a table."""
    table = Table(size=10, expire=EXPIRE, type=TableType.IPV6)
    config = stage.config(table=table, stick=(StickRule(),))
    (front,) = config.frontends
    other = Backend(
        name="other", servers=tuple(map(server, elsewhere)), stick=(StickRule(table="back"),)
    )
    return replace(
        config,
        frontends=(
            replace(front, binds=front.binds * 2),
            replace(front, name="other", backend="other"),
        ),
        backends=(*config.backends, other),
    )


# -- for how long


@pytest.fixture
def town(stage: Stage, clock: Clock, loopback: Callable[[], str]) -> Town:
    """Servers ``a`` and ``b``, and a table with room for three, that goes by the ``clock``."""
    for name in "ab":
        stage.greeter(name)
    return Town(stage, loopback, size=3)


def test_an_entry_counts_until_its_client_was_away_for_the_whole_time(
    stage: Stage, town: Town, clock: Clock
) -> None:
    """Case 31: a second before the time is over it counts, and the time starts again."""
    assert town.visit() == "a"
    for _ in range(3):
        leave_for(EXPIRE - 1, stage, clock)
        assert town.visit() == "a"
    leave_for(EXPIRE + 1, stage, clock)
    assert town.visit() == "b"


def leave_for(seconds: float, stage: Stage, clock: Clock) -> None:
    """Let time pass while nobody is here."""
    stage.until_empty()
    clock.leap(seconds)


def test_who_looks_at_an_entry_does_not_prolong_it(stage: Stage, town: Town, clock: Clock) -> None:
    """Case 31: a match starts the time again, a look does not."""
    assert town.visit() == "a"
    leave_for(EXPIRE - 1, stage, clock)
    assert town.look() == ("a", ["a"])
    clock.leap(2)
    assert town.look() == (None, [])
    assert town.visit() == "b"


def test_an_entry_in_use_neither_expires_nor_gives_way(
    stage: Stage, town: Town, clock: Clock
) -> None:
    """Case 32: while a session is open its client keeps its server, and a whole time after it."""
    with stage.client().hear(b"a".ljust(16)) as staying:
        for source in CROWD:
            clock.leap(EXPIRE)
            town.visit(source)
        assert town.is_remembered()
        staying.say(b"still").hear(b"still")
    leave_for(EXPIRE - 1, stage, clock)
    assert town.is_remembered()
    leave_for(EXPIRE + 1, stage, clock)
    assert not town.is_remembered()


def test_a_match_prolongs_an_entry_and_a_look_does_not() -> None:
    """Cases 31 and 33: the same for a table alone, where nothing else prolongs an entry."""
    table = StickTable(size=2, ttl=EXPIRE)
    for number in range(2):
        table.store(key(number), "a", float(number))
    assert table.match(key(0), EXPIRE - 1) == table.peek(key(1), EXPIRE - 1) == "a"
    table.store(key(2), "b", EXPIRE)
    assert table.peek(key(1), EXPIRE) is None, "it was the oldest"
    assert table.match(key(0), 2 * EXPIRE - 2) == "a"
    assert table.match(key(2), 2 * EXPIRE + 1) is None


# -- in how little room


def test_a_full_table_forgets_who_was_away_for_longest(
    stage: Stage, town: Town, clock: Clock
) -> None:
    """Case 33: the oldest idle entry goes, which need not be the one that was stored first."""
    oldest, newest, newcomer, *_ = CROWD
    for source in (None, oldest, newest, None, newcomer):
        town.visit(source)
        leave_for(1, stage, clock)
    assert [town.is_remembered(source) for source in (None, newest, newcomer)] == [True] * 3
    assert not town.is_remembered(oldest)


def test_a_million_entries_that_expire_at_once_are_no_work_for_any_call() -> None:
    """Case 33: a call removes two or three, in as many steps as it takes with a small table."""
    size, late = 1_000_000, 2 * EXPIRE
    table = StickTable(size=size, ttl=EXPIRE)
    for number in range(size):
        table.store(key(number), "a", 0.0)
    for number in range(100):
        table.hold(key(number))
    for number in range(100):
        for call, most in (
            (lambda n=number: table.match(key(1000 + n), late), 1),
            (lambda n=number: table.peek(key(2000 + n), late), 0),
            (lambda n=number: table.store(key(3000 + n), "b", late), 2),
            (lambda n=number: table.store(key(size + n), "b", late), 2),
            (lambda n=number: table.keep(key(4000 + n), "b", late), 2),
            (lambda n=number: table.release(key(n), late), 2),
            (lambda n=number: table.remove(key(5000 + n)), 1),
            (lambda: table.sweep(late, 10), 10),
        ):
            before = len(table)
            # 138 were seen, whatever the size; a look at each of the 400 shards would take more.
            assert count_steps(call) < 300
            assert before - len(table) <= most
    assert table.count("a") > size - 3000, "they leave a few at a time"


def key(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def count_steps(call: Callable[[], object]) -> int:
    """Return how many lines of the table's code a call runs: the same on every machine."""
    steps = 0

    def trace(frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal steps
        # A collection may happen meanwhile, and call whoever wants to know of it.
        if frame.f_code.co_filename != sticky.__file__:
            return None
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return steps


# -- whatever becomes of the servers


@pytest.mark.parametrize("is_checked", [False, True], ids=["unchecked", "checked"])
def test_who_is_stuck_to_a_server_that_is_lost_moves_once_and_for_good(
    is_checked: bool, stage: Stage, clock: Clock, loopback: Callable[[], str]
) -> None:
    """Case 34: redispatch and rewrite, whether the connect or a check has found it out."""
    # It accepts nobody, which on a slow machine could be a check; who waits is reset in the end.
    a = stage.server("a", check=QUICK if is_checked else None)
    stage.greeter("b")
    town = Town(stage, loopback, balance=Balance.FIRST, redispatch=0 if is_checked else 1)
    check = Round(stage, clock)
    stage.client()
    until(lambda: town.look() == ("a", ["a"]))
    a.refuse()
    if is_checked:
        check(a="DOWN")
    assert town.visit() == "b"
    a.listen()
    if is_checked:
        check(a="UP")
    assert town.visit() == "b"
    with connect(town.door(CROWD[0]), CROWD[0]):
        until(lambda: sorted(town.look()[1]) == ["a", "b"])
    a.refuse()


def test_no_change_of_a_server_moves_a_client_of_another_one(
    stage: Stage, loopback: Callable[[], str]
) -> None:
    """Case 35: one is added, re-weighted, drained, removed: the clients of the others stay."""
    _, b, _, d = (stage.greeter(name) for name in "abcd")
    town = Town(stage, loopback)
    proxy = town.proxy
    proxy.remove_server("back/d")
    homes = town.homes()
    changes: tuple[Callable[[], None], ...] = (
        lambda: proxy.add_server("back", server(d)),
        lambda: proxy.set_weight("back/a", 256),
        lambda: proxy.set_weight("back/b", 0),
        lambda: proxy.drain("back/c"),
    )
    for change in changes:
        change()
        assert town.homes() == homes
    proxy.remove_server("back/b")
    after = town.homes()
    assert moved(homes, after) == clients_of("b", homes)
    proxy.add_server("back", server(b))
    assert town.homes() == after


def test_without_entries_too_no_change_moves_a_client_between_two_others(
    stage: Stage, loopback: Callable[[], str]
) -> None:
    """Case 35: the same for a consistent hash, where whoever gains takes clients."""
    *_, d = (stage.greeter(name) for name in "abcd")
    consistent = HashType(kind=HashKind.CONSISTENT)
    town = Town(stage, loopback, balance=Balance.SOURCE, hash_type=consistent, stick=())
    proxy = town.proxy
    proxy.remove_server("back/d")
    homes = town.homes()
    assert set(homes.values()) == {"a", "b", "c"}
    proxy.add_server("back", server(d))
    more = town.homes()
    assert moved(homes, more) == clients_of("d", more) != set()
    proxy.remove_server("back/d")
    proxy.set_weight("back/a", 4)
    more = town.homes()
    assert moved(homes, more) | clients_of("a", homes) == clients_of("a", more)
    proxy.set_weight("back/a", 1)
    proxy.set_weight("back/b", 0)
    assert moved(homes, town.homes()) == clients_of("b", homes)
    proxy.set_weight("back/b", 1)
    assert town.homes() == homes
    proxy.remove_server("back/c")
    assert moved(homes, town.homes()) == clients_of("c", homes)


def moved(before: Homes, after: Homes) -> set[str | None]:
    return {source for source in before if before[source] != after[source]}


def clients_of(name: str, homes: Homes) -> set[str | None]:
    return {source for source, home in homes.items() if home == name}


# -- in every process, and on every thread


def test_two_processes_make_the_same_ten_thousand_choices() -> None:
    """Case 36: as HAProxy made them, whatever PYTHONHASHSEED and the platform are."""
    command = [sys.executable, str(Path(__file__).with_name("choices.py")), str(CAPTURED)]
    runs = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4242")
    ]
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["choices"]
    for answer in [run.communicate()[0] for run in runs]:
        assert json.loads(answer) == golden


def test_the_ten_thousand_begin_with_those_that_haproxy_chose_for_before() -> None:
    """Case 36: the clients that were captured one by one come first, and have their servers."""
    for scenario in json.loads(CAPTURED.read_text(encoding="utf-8"))["scenarios"]:
        picks = scenario["picks"]
        assert [*islice(clients(picks), len(picks))] == [*picks]
        assert choices(scenario, picks) == [*picks.values()]


class Race(Generic[T]):
    """Two threads that change something, one at a time, while three ask about it.

    Args:
        changes: Each leads from its state to the next one, the last one back to the first.
        ask: What the three do.
        is_right: Whether an answer is one that the state of this number gives.
    """

    def __init__(
        self,
        changes: Sequence[Callable[[], object]],
        ask: Callable[[], T],
        is_right: Callable[[T, int], bool],
    ) -> None:
        self._changes = changes
        self._ask = ask
        self._is_right = is_right
        self._turn = threading.Lock()
        self._is_over = threading.Event()
        self._begun = 0
        self._done = 0

    def run(self, quota: int) -> None:
        """Go on until each of the three has had answers in the midst of ``quota`` changes."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with ThreadPoolExecutor(5) as pool:
                changing = [pool.submit(self._change) for _ in range(2)]
                asking = [pool.submit(self._check, quota) for _ in range(3)]
                wait(asking, PATIENCE, FIRST_EXCEPTION)
                self._is_over.set()
        finally:
            sys.setswitchinterval(interval)
        for future in (*changing, *asking):
            future.result()

    def _change(self) -> None:
        try:
            while not self._is_over.is_set():
                with self._turn:
                    change = self._changes[self._begun % len(self._changes)]
                    self._begun += 1
                    change()
                    self._done += 1
        finally:
            self._is_over.set()

    def _check(self, quota: int) -> None:
        met: set[int] = set()
        while len(met) < quota:
            assert not self._is_over.is_set(), f"answers in the midst of {len(met)} changes alone"
            first = self._done
            answer = self._ask()
            last = self._begun
            states = {number % len(self._changes) for number in range(first, last + 1)}
            assert any(self._is_right(answer, number) for number in states), (answer, states)
            met.update(range(first, last))


def slowly(change: Callable[[], object]) -> Callable[[], None]:
    """Return ``change`` with a turn for the other threads before each line that it comes to."""
    line = 0

    def trace(frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal line
        # Once for a line that goes over a list.
        if frame.f_lineno != line:
            line = frame.f_lineno
            time.sleep(0)
        return trace

    def run() -> None:
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            change()
        finally:
            sys.settrace(before)

    return run


def test_every_answer_of_a_ring_is_that_of_a_whole_one() -> None:
    """Case 37: threads look up while others add and remove: only live answers, no exception."""
    states: list[dict[str, int]] = [{"a": 1, "b": 1}]
    for members in ({"c": 1}, {"d": 2}, {"a": 3}):
        states.append({**states[-1], **members})
    keys = [f"scan-{number}" for number in range(50)]
    rings = [HashRing(members) for members in (*states, {"a": 3, "b": 1, "d": 2}, {"a": 3, "b": 1})]
    owners = [{each: ring.lookup(each) for each in keys} for ring in rings]
    shared = HashRing(states[0])
    changes = (
        lambda: shared.add("c"),
        lambda: shared.add("d", 2),
        lambda: shared.reweight("a", 3),
        lambda: shared.remove("c"),
        lambda: shared.remove("d"),
        lambda: shared.reweight("a", 1),
    )

    def ask() -> tuple[str, str | None]:
        each = random.choice(keys)
        return each, shared.lookup(each)

    race = Race(
        [slowly(change) for change in changes],
        ask,
        lambda answer, number: owners[number][answer[0]] == answer[1],
    )
    race.run(12)
    shared._check()


def test_clients_that_come_while_servers_come_and_go_reach_one_that_is_there(stage: Stage) -> None:
    """Case 37: the same for a proxy: a server that was removed before a client came is not used."""
    _, b, c = (stage.greeter(name) for name in "abc")
    proxy, address = stage.proxy, stage.address
    changes = (
        lambda: proxy.remove_server("back/b"),
        lambda: proxy.remove_server("back/c"),
        lambda: proxy.add_server("back", server(b)),
        lambda: proxy.add_server("back", server(c)),
    )
    members = ("abc", "ac", "a", "ab")
    Race(changes, lambda: greeted_by(address), lambda name, now: name in members[now]).run(10)
