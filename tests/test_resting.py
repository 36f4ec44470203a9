"""Sessions that rest between two requests: what they hold, and when they may come back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState, Balancer, Stage
from dsbalance.candidates import Reason
from dsbalance.model import StickRule
from dsbalance.sticky import StickTable
from routing import client, connect, make, name_of, place, server

STICK = (StickRule(),)


def sticky(names: str = "abc", **settings: Any) -> Balancer:
    return make(names, stick=STICK, **settings)


def test_who_rests_gives_up_the_place_and_counts_no_more() -> None:
    balancer = make([server("a", maxconn=1)], stick=STICK)
    placement = connect(balancer)
    assert balancer.counters.current == 1
    assert balancer.rest.pause(placement) == ()
    balancer._check()
    assert balancer.counters.current == 0
    assert not balancer.states["a"].placements


def test_the_place_goes_to_whoever_waits() -> None:
    balancer = make([server("a", maxconn=1)], stick=STICK)
    first = connect(balancer)
    second = place(balancer, client("10.0.0.2"))
    assert second.is_queued
    assert [*balancer.rest.pause(first)] == [second]
    balancer._check()
    assert not second.is_queued


def test_its_stick_entry_does_not_lapse_however_long_it_rests() -> None:
    table = StickTable(size=10, ttl=60.0)
    balancer = sticky(table=table)
    placement = connect(balancer)
    balancer.rest.pause(placement)
    table.sweep(1e6)
    assert table.peek(client().packed, 1e6) == name_of(placement)
    balancer.release(placement, 1e6)
    assert table.peek(client().packed, 1e6 + 60) is None


def test_it_comes_back_to_the_same_server_as_a_new_session() -> None:
    balancer = sticky()
    placement = connect(balancer)
    state = placement.server
    assert state is not None
    balancer.rest.pause(placement)
    before = state.counters.total
    assert balancer.rest.resume(placement, 1.0)
    balancer._check()
    assert placement.server is state
    assert placement.stage is Stage.CONNECTED
    assert placement.reason is Reason.STICKY
    assert (state.counters.total, balancer.counters.total) == (before + 1, 2)
    assert balancer.counters.current == 1
    assert balancer.release(placement, 2.0) == []
    balancer._check()
    assert balancer.counters.current == 0


def test_without_a_rule_it_is_decided_anew() -> None:
    balancer = make("a")
    placement = connect(balancer)
    balancer.rest.pause(placement)
    assert not balancer.rest.resume(placement, 1.0)
    balancer.release(placement, 1.0)
    balancer._check()
    assert balancer.counters.current == 0


def test_a_full_server_lets_nobody_back() -> None:
    balancer = make([server("a", maxconn=1)], stick=STICK)
    first = connect(balancer)
    balancer.rest.pause(first)
    second = connect(balancer, client("10.0.0.2"))
    assert not balancer.rest.resume(first, 1.0)
    balancer.release(second, 1.0)
    assert balancer.rest.resume(first, 1.0)


def test_nobody_overtakes_who_waits() -> None:
    balancer = make([server("a", maxconn=1)], stick=STICK)
    first = connect(balancer)
    second, third = place(balancer), place(balancer)
    assert len(balancer.states["a"].queue) == 2
    assert [*balancer.rest.pause(first)] == [second]
    assert not balancer.rest.resume(first, 1.0)
    assert balancer.release(second, 1.0) == [third]
    balancer._check()


def test_it_does_not_come_back_to_a_server_that_is_gone() -> None:
    balancer = sticky("ab")
    placement = connect(balancer)
    balancer.rest.pause(placement)
    balancer.set_admin(name_of(placement), AdminState.MAINT, 1.0)
    assert not balancer.rest.resume(placement, 2.0)


def test_it_comes_back_to_a_server_in_drain_for_it_is_known_there() -> None:
    balancer = sticky("ab")
    placement = connect(balancer)
    balancer.rest.pause(placement)
    balancer.set_admin(name_of(placement), AdminState.DRAIN, 1.0)
    assert balancer.rest.resume(placement, 2.0)


def test_it_goes_elsewhere_when_its_entry_says_so() -> None:
    table = StickTable(size=10, ttl=60.0)
    balancer = sticky("ab", table=table)
    placement = connect(balancer)
    other = "b" if name_of(placement) == "a" else "a"
    balancer.rest.pause(placement)
    table.store(client().packed, other, 1.0)
    assert not balancer.rest.resume(placement, 1.0)


def test_an_entry_that_found_no_room_is_tried_again() -> None:
    table = StickTable(size=1, ttl=60.0)
    balancer = sticky("ab", table=table)
    connect(balancer, client("10.0.0.9"))
    placement = connect(balancer)
    assert placement.held == ()
    balancer.rest.pause(placement)
    assert not balancer.rest.resume(placement, 1.0)


@given(st.lists(st.sampled_from(["ask", "answer", "leave"]), max_size=30), st.integers(1, 3))
def test_requests_count_as_sessions_whatever_their_order(steps: list[str], limit: int) -> None:
    """Requests of conversations beside the same ones routed anew each time: one picture."""
    resting = make([server("a", maxconn=limit), server("b", maxconn=limit)], stick=STICK)
    anew = make([server("a", maxconn=limit), server("b", maxconn=limit)], stick=STICK)
    kept = None
    routed = None
    for now, step in enumerate(steps):
        if step == "ask":
            if routed is None:
                routed = connect(anew, now=now)
                if kept is None:
                    kept = connect(resting, now=now)
                elif kept.stage is Stage.RESTING:
                    assert resting.rest.resume(kept, now)
        elif step == "answer" and routed is not None and kept is not None:
            anew.release(routed, now)
            routed = None
            resting.rest.pause(kept)
        elif step == "leave" and kept is not None:
            resting.release(kept, now)
            kept = None
            if routed is not None:
                anew.release(routed, now)
                routed = None
        resting._check()
        for name in "ab":
            one, other = resting.states[name], anew.states[name]
            assert len(one.placements) == len(other.placements)
            assert (one.counters.total, one.counters.peak) == (
                other.counters.total,
                other.counters.peak,
            )
        assert resting.counters.current == anew.counters.current
