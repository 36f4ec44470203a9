"""The stick table beside a model that keeps a plain list and looks at all of it each time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import models
from dsbalance import sticky
from dsbalance.sticky import Entry, StickTable

SOURCES = [bytes([10, 0, 0, last]) for last in range(6)]

sources = st.sampled_from(SOURCES)
names = st.sampled_from(["a", "b", "c"])


class TableMachine(RuleBasedStateMachine):
    """Every call in any order, on the table and on its model.

    Time goes in quarters of a second, so that sums of floats are exact.
    """

    @initialize(
        size=st.integers(1, 5),
        ttl=st.sampled_from([2.0, 3.0, 4.0, 5.0, None]),
        nopurge=st.booleans(),
        shard_size=st.sampled_from([1, 2, 2_500]),
    )
    def start(self, size: int, ttl: float | None, nopurge: bool, shard_size: int) -> None:
        self.shard_size = shard_size
        self.model = models.Table(size=size, ttl=ttl, nopurge=nopurge, now=1000.0)
        self.table = self.make()

    def make(self) -> StickTable:
        model = self.model
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sticky, "_SHARD_SIZE", self.shard_size)
            return StickTable(size=model.size, ttl=model.ttl, nopurge=model.nopurge)

    @property
    def now(self) -> float:
        return self.model.now

    @contextmanager
    def few_removed(self) -> Iterator[None]:
        """Demand that one call does not do the work of many, however much has expired."""
        before = len(self.table)
        yield
        assert before - len(self.table) <= 2

    @rule(quarters=st.integers(1, 5))
    def wait(self, quarters: int) -> None:
        self.model.go_to(self.now + quarters / 4)

    @rule(source=sources, early=st.sampled_from([0.0, 0.25]))
    def wait_for(self, source: bytes, early: float) -> None:
        """Wait until an entry expires, or just not."""
        row = self.model.row(source)
        if row is not None and self.model.ttl is not None:
            self.model.go_to(max(self.now, row.touched + self.model.ttl - early))

    @rule(source=sources)
    def match(self, source: bytes) -> None:
        with self.few_removed():
            assert self.table.match(source, self.now) == self.model.match(source)

    @rule(source=sources, server=names)
    def store(self, source: bytes, server: str) -> None:
        with self.few_removed():
            is_stored = self.table.store(source, server, self.now)
        assert self.model.store(source, server, *self.gone()) is is_stored

    def gone(self) -> list[bytes]:
        """Who gave way: the model judges whether it was their turn."""
        keys = [row.key for row in self.model.rows if not self.table.peek(row.key, self.now)]
        assert len(keys) <= 1
        return keys

    @rule(source=sources)
    def hold(self, source: bytes) -> None:
        # What expired may be there still or not: a caller has just matched what it holds.
        self.match(source)
        with self.few_removed():
            assert self.table.hold(source) is self.model.hold(source)

    @rule(source=sources, server=names)
    def keep(self, source: bytes, server: str) -> None:
        """Do what a balancer does for a connection."""
        with self.few_removed():
            is_held = self.table.keep(source, server, self.now)
        is_stored = self.model.store(source, server, *self.gone())
        assert is_held is (is_stored and self.model.hold(source))

    @rule(source=sources)
    def release(self, source: bytes) -> None:
        if not self.model.uses[source]:
            with pytest.raises(KeyError):
                self.table.release(source, self.now)
            return
        self.model.release(source)
        with self.few_removed():
            self.table.release(source, self.now)

    @rule(
        what=st.sampled_from(["remove", "remove server", "sweep", "restart"]),
        source=sources,
        server=names,
        pause=st.integers(0, 4),
        later=st.sampled_from([-900.0, 0.0, 5000.0]),
    )
    def maintain(self, what: str, source: bytes, server: str, pause: int, later: float) -> None:
        """Do what is rare: as rules of their own they would keep the table empty."""
        if what == "remove":
            self.match(source)
            assert self.table.remove(source) is self.model.remove(source)
        elif what == "remove server":
            self.table.sweep(self.now, 100)
            assert self.table.remove_server(server) == self.model.remove_server(server)
        elif what == "sweep":
            before = len(self.table)
            assert self.table.sweep(self.now, 100) == before - len(self.model.rows)
            assert len(self.table) == len(self.model.rows)
            assert self.table.counts() == Counter(row.server for row in self.model.rows)
        else:
            self.restart(pause, later)

    def restart(self, pause: int, later: float) -> None:
        """Come back after a pause, with another clock."""
        exported = self.table.export(self.now)
        lefts = [entry.remaining or 0.0 for entry in exported]
        assert lefts == sorted(lefts)
        self.model.restart(self.now + later, pause)
        self.table = self.make()
        aged = [
            entry if entry.remaining is None else replace(entry, remaining=entry.remaining - pause)
            for entry in exported
        ]
        assert self.table.load(aged, self.now) == len(self.model.rows)

    @invariant()
    def agrees(self) -> None:
        table, model, now = self.table, self.model, self.now
        table._check(now)
        assert len(model.rows) <= len(table) <= model.size
        assert table.busy == len([row for row in model.rows if model.uses[row.key]])
        for source in SOURCES:
            assert table.peek(source, now) == model.peek(source)
            assert table.uses(source) == model.uses[source]
        assert sorted(table.entries(now), key=attrgetter("key")) == [
            Entry(
                key=row.key,
                server=row.server,
                remaining=None if model.ttl is None else model.left(row),
                uses=model.uses[row.key],
            )
            for row in sorted(model.rows, key=attrgetter("key"))
        ]


TestTable = TableMachine.TestCase
TestTable.settings = settings(stateful_step_count=30)


@pytest.mark.parametrize("seed", range(30))
def test_a_long_life_goes_as_the_model_says(seed: int) -> None:
    """Deeper than hypothesis goes, at a tenth of its cost a step; it cannot shrink, though.

    Most mistakes show only once the table has been full and some of it has expired.
    """
    chance = random.Random(seed)

    def source() -> bytes:
        return chance.choice(SOURCES)

    def server() -> str:
        return chance.choice("abc")

    life = TableMachine()
    life.start(
        size=chance.randint(1, 5),
        ttl=chance.choice([2.0, 3.0, 4.0, 5.0, None]),
        nopurge=chance.random() < 0.3,
        shard_size=chance.choice([1, 2, 2_500]),
    )
    acts: dict[Callable[[], None], int] = {
        lambda: life.wait(quarters=chance.randint(1, 5)): 12,
        lambda: life.wait_for(source=source(), early=chance.choice([0.0, 0.25])): 6,
        lambda: life.match(source=source()): 15,
        lambda: life.store(source=source(), server=server()): 20,
        lambda: life.hold(source=source()): 10,
        lambda: life.keep(source=source(), server=server()): 10,
        lambda: life.release(source=source()): 24,
        lambda: life.maintain(
            what=chance.choice(["remove", "remove server", "sweep", "restart"]),
            source=source(),
            server=server(),
            pause=chance.randint(0, 4),
            later=chance.choice([-900.0, 0.0, 5000.0]),
        ): 4,
    }
    for act in chance.choices(list(acts), list(acts.values()), k=300):
        act()
        life.agrees()
