"""Places and the two kinds of queue: who gets the next place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dsbalance.candidates import Candidates, Client, Reason
from dsbalance.counters import BackendCounters
from dsbalance.model import Server
from dsbalance.placement import AdminState, Crowd, Placement, ServerState, Stage
from dsbalance.queueing import Places

CLIENT = Client("10.0.0.1", bytes([10, 0, 0, 1]), 5022)


class Yard:
    """Two servers of one place each, and whoever comes."""

    def __init__(self, **settings: Any) -> None:
        self.counters = BackendCounters()
        self.places = Places(self.counters)
        settings = {"maxconn": 1, **settings}
        self.states = {
            name: ServerState(
                Server(name=name, host="192.0.2.1", **settings),
                number,
                0.0,
                Crowd(BackendCounters()),
            )
            for number, name in enumerate("ab", 1)
        }
        self.a, self.b = self.states.values()

    @property
    def candidates(self) -> Candidates:
        usable = [state.server for state in self.states.values() if state.is_usable]
        return Candidates(usable, loads=self.states)

    def at(self, state: ServerState) -> Placement:
        placement = Placement(CLIENT)
        self.places.assign(placement, state)
        return placement

    def anywhere(self) -> Placement:
        placement = Placement(CLIENT)
        self.places.wait(placement)
        return placement

    def leave(self, placement: Placement) -> tuple[Placement, ...]:
        assert placement.server is not None
        return self.places.vacate(placement, placement.server, self.candidates)

    def check(self) -> None:
        self.places.check()
        for state in self.states.values():
            state.check()


@pytest.fixture
def yard() -> Iterator[Yard]:
    yard = Yard()
    yield yard
    yard.check()


def test_a_server_with_room_gives_a_place_and_a_full_one_a_turn(yard: Yard) -> None:
    first, second, third = yard.at(yard.a), yard.at(yard.a), yard.at(yard.a)
    assert first.stage is Stage.CONNECTING
    assert second.is_queued
    assert third.is_queued
    assert list(yard.a.queue) == [second, third]
    counters = yard.a.counters
    assert (counters.total, counters.peak, counters.queued_peak) == (1, 1, 2)


def test_a_server_without_maxconn_always_has_room() -> None:
    yard = Yard(maxconn=None)
    assert not any(yard.at(yard.a).is_queued for _ in range(50))
    assert yard.a.counters.peak == 50


def test_a_place_goes_to_whoever_came_first_of_the_two_queues(yard: Yard) -> None:
    holder = yard.at(yard.a)
    shared, own, late = yard.anywhere(), yard.at(yard.a), yard.anywhere()
    assert yard.leave(holder) == (shared,)
    assert (shared.server, shared.reason) == (yard.a, Reason.QUEUE)
    assert yard.leave(shared) == (own,)
    assert own.reason is not Reason.QUEUE
    assert yard.leave(own) == (late,)
    assert yard.leave(late) == ()
    # No policy chose it for them, so HAProxy's `lbtot` does not count them.
    assert yard.a.counters.chosen == 0
    assert yard.a.counters.total == 4
    assert yard.counters.queued_peak == 2


def test_a_server_that_takes_no_new_clients_serves_its_own_queue_alone(yard: Yard) -> None:
    holder = yard.at(yard.a)
    shared, own = yard.anywhere(), yard.at(yard.a)
    yard.a.admin = AdminState.DRAIN
    yard.a.settle(1.0)
    assert yard.leave(holder) == (own,)
    assert yard.leave(own) == ()
    assert shared.is_queued


def test_a_backup_that_is_not_chosen_from_serves_its_own_queue_alone(yard: Yard) -> None:
    holder, shared = yard.at(yard.b), yard.anywhere()
    others = Candidates([yard.a.server], loads=yard.states)
    assert yard.places.vacate(holder, yard.b, others) == ()
    assert shared.is_queued


def test_a_server_that_was_removed_gives_its_places_to_nobody(yard: Yard) -> None:
    holder, shared = yard.at(yard.a), yard.anywhere()
    yard.a.retire()
    # Another one of its name is there already.
    namesake = Candidates([yard.a.server], loads=yard.states)
    assert yard.places.vacate(holder, yard.a, namesake) == ()
    assert shared.is_queued


def test_who_moves_on_and_finds_no_room_is_at_no_server(yard: Yard) -> None:
    mover = yard.at(yard.a)
    assert yard.leave(mover) == ()
    yard.places.wait(mover)
    assert mover.server is None
    assert list(yard.places.shared) == [mover]


def test_who_withdraws_is_passed_over(yard: Yard) -> None:
    holder, own, other = yard.at(yard.a), yard.at(yard.a), yard.at(yard.a)
    shared = yard.anywhere()
    yard.places.withdraw(own)
    yard.places.withdraw(shared)
    assert yard.leave(holder) == (other,)
    assert not yard.places.shared


def test_a_dissolved_queue_holds_nobody_and_counts_them_as_redispatched(yard: Yard) -> None:
    yard.at(yard.a)
    waiting = (yard.at(yard.a), yard.at(yard.a))
    waiting[0].is_persistent = True
    assert yard.places.dissolve(yard.a) == waiting
    assert {p.stage for p in waiting} == {Stage.DISPLACED}
    assert [(p.server, p.is_persistent) for p in waiting] == [(None, False)] * 2
    assert yard.a.counters.redispatches == 2


def test_a_server_stands_behind_its_equals_after_each_change_of_its_load(yard: Yard) -> None:
    holder = yard.at(yard.b)
    taken = yard.b.moved
    assert taken > yard.a.moved
    yard.leave(holder)
    assert yard.b.moved > taken


def test_a_place_that_is_handed_on_in_a_servers_own_queue_leaves_its_rank_as_it_is(
    yard: Yard,
) -> None:
    # Observed on HAProxy 2.6.12: somebody has left, somebody no longer waits; the sum is the same.
    holder, own = yard.at(yard.a), yard.at(yard.a)
    rank = yard.a.moved
    assert yard.leave(holder) == (own,)
    assert yard.a.moved == rank
    shared = yard.anywhere()
    assert yard.leave(own) == (shared,)
    assert yard.a.moved > rank
