"""What a policy is told of the servers that it may choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.candidates import Candidates
from offers import FakeLoad, offer, server


def test_candidates_are_the_servers_in_their_order_and_know_what_they_carry() -> None:
    a, b = server("a", maxconn=2), server("b", weight=3)
    offered = offer(a, b, a=FakeLoad(sessions=1, waiting=2, moved=7))
    assert list(offered) == [a, b]
    assert len(offered) == 2
    assert offered.get("b") is b
    assert offered.weights == (1, 3)
    assert offered.ids == {"a": 1, "b": 2}
    assert offered.shares == {"a": 16, "b": 48}
    assert (offered.load(a), offered.load(b)) == (3, 0)
    assert (offered.served(a), offered.served(b), offered.all_served()) == (1, 0, 1)
    assert (offered.before(a), offered.before(b)) == (0, 16)
    assert (offered.limit(a), offered.limit(b)) == (2, None)
    assert offered.standing(a) == (4 * 4096 // 16, 7)


def test_candidates_contain_servers_by_their_names() -> None:
    offered = offer(server("a"), server("b"))
    assert "a" in offered
    assert server("a", weight=9) in offered
    assert server("z") not in offered
    assert 7 not in offered
    with pytest.raises(KeyError):
        offered.get("z")


def test_candidates_say_who_they_are() -> None:
    assert repr(offer(server("a"), server("b"))) == "<Candidates active: a, b>"
    assert repr(Candidates((), is_backup=True)) == "<Candidates backups: nobody>"


def test_those_who_may_not_be_chosen_are_known_and_count_as_far_as_they_carry_sessions() -> None:
    a, b = server("a"), server("b")
    loads = {"a": FakeLoad(sessions=1), "b": FakeLoad(sessions=4)}
    loads["a"].share = 8
    clients = {"a": 3, "b": 5}.__getitem__
    offered = Candidates([a], ids={"a": 7}, loads=loads, weights=[1, 1], clients=clients)
    assert offered.ids == {"a": 7}
    assert offered.all_served() == 5
    assert offered.shares == {"a": 8}
    assert offered.weights == (1, 1)
    assert offered.clients(a) == 3
    assert offered.clients(b) == 5
    assert b not in offered
    assert [offered.is_known(name) for name in "abz"] == [True, True, False]


@pytest.mark.parametrize(
    ("maxconn", "limit", "sessions", "waiting", "is_full"),
    [
        (None, None, 99, 0, False),
        (2, 2, 1, 0, False),
        (2, 2, 2, 0, True),
        (2, 2, 1, 1, True),
        # Less than `maxconn` while the backend has few sessions, or the server starts slowly.
        (5, 2, 1, 0, False),
        (5, 2, 2, 0, True),
        # A maxconn that was taken back at run time.
        (5, None, 9, 0, False),
    ],
)
def test_a_server_is_full_at_its_limit_or_when_somebody_waits_for_it(
    maxconn: int | None, limit: int | None, sessions: int, waiting: int, is_full: bool
) -> None:
    a = server("a", maxconn=maxconn)
    offered = offer(a, a=FakeLoad(sessions, waiting, limit=limit))
    if limit is None:
        offered = Candidates([a], loads={"a": FakeLoad(sessions, waiting)})
    assert offered.is_full(a) is is_full
    assert offered.load(a) == sessions + waiting


def test_candidates_of_which_nothing_is_known_carry_nothing() -> None:
    a, b = server("a", maxconn=1, weight=2), server("b")
    offered = Candidates([a, b])
    assert (offered.load(a), offered.served(a), offered.is_full(a)) == (0, 0, False)
    assert (offered.standing(a), offered.clients(a)) == ((0, 0), 0)
    assert (offered.limit(a), offered.limit(b)) == (1, None)
    assert (offered.before(a), offered.before(b)) == (0, 32)
    assert offered.shares == {"a": 32, "b": 16}


def test_who_stands_first_is_by_the_load_of_the_last_change() -> None:
    a = server("a")
    load = FakeLoad(sessions=1, moved=3)
    offered = offer(a, a=load)
    before = offered.standing(a)
    # Nobody has got a place since, or left one.
    load.queue.append(None)
    assert offered.standing(a) == before
    assert offered.load(a) == 2


@given(st.integers(1, 256), st.integers(0, 300), st.integers(0, 300))
def test_more_sessions_never_stand_before_fewer(weight: int, fewer: int, more: int) -> None:
    a, b = server("a", weight=weight), server("b", weight=weight)
    offered = offer(a, b, a=FakeLoad(min(fewer, more)), b=FakeLoad(max(fewer, more)))
    assert offered.standing(a) <= offered.standing(b)
