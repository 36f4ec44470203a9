"""What is left out because the two differ there on purpose; everything else may happen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .events import Admin, Come, Event, Go, Health, Kill, Revive, Weight
from .fairness import is_fair
from .play import Play, lack
from .shrinking import shrunk
from .story import Setup, Story
from .telling import Ending

pytestmark = pytest.mark.skipif(bool(lack()), reason=lack() or "")

HEAD = """# kind: leastconn
global
    nbthread 1
    stats socket SOCKET level admin
defaults
    mode tcp
    timeout connect 50ms
    timeout queue 1h
    timeout client 1h
    timeout server 1h
listen alpha
    bind DOOR:21001
    balance leastconn
"""
ONE = "    server s1 SERVERS:20001 maxconn 1\n"
TWO = "    server s2 SERVERS:20002 maxconn 1 disabled\n"
BACKUP = "    server s3 SERVERS:20003 backup\n"


@contextmanager
def played(*events: Event, servers: str) -> Iterator[Play]:
    """Give a play in which these events have happened, each of them alike on both sides."""
    with Play(Setup(HEAD + servers)) as play:
        for event in events:
            assert play.perform(event) == []
        yield play


def visits(count: int) -> list[Event]:
    return [Come(number, f"127.7.{number}.1", "alpha") for number in range(1, count + 1)]


def test_nobody_begins_to_serve_while_somebody_waits() -> None:
    with played(*visits(2), servers=ONE + TWO) as play:
        returns = Admin("alpha/s2", "ready"), Health("alpha/s2", "up"), Weight("alpha/s2", 5)
        assert not any(is_fair(play, event) for event in returns)
        assert is_fair(play, Come(3, "127.7.3.1", "alpha"))
        assert is_fair(play, Admin("alpha/s1", "drain")), "there is nobody to take over"
        play.perform(Go(1))
        assert all(is_fair(play, event) for event in returns)


def test_backups_do_not_take_over_while_somebody_waits() -> None:
    with played(*visits(2), servers=ONE + BACKUP) as play:
        losses = Admin("alpha/s1", "maint"), Health("alpha/s1", "down")
        assert not any(is_fair(play, event) for event in losses)
        assert is_fair(play, Kill("s1")), "no check finds it out"
        play.perform(Go(1))
        assert all(is_fair(play, event) for event in losses)


def test_who_waits_stays() -> None:
    with played(*visits(2), servers=ONE) as play:
        assert is_fair(play, Go(1))
        assert not is_fair(play, Go(2))
        assert not is_fair(play, Go(3)), "he has never come"


def test_a_client_of_a_full_table_does_not_come_again() -> None:
    table = "    stick-table type ip size 1 nopurge\n    stick on src\n"
    with played(*visits(1), servers=table + ONE) as play:
        assert not is_fair(play, Come(2, "127.7.1.1", "alpha"))
        assert is_fair(play, Come(2, "127.7.2.1", "alpha"))
        assert not is_fair(play, Come(1, "127.7.2.1", "alpha")), "a number is that of one client"


def test_those_who_wait_are_not_let_in_together_to_a_server_that_refuses() -> None:
    with played(*visits(3), servers=ONE) as play:
        assert is_fair(play, Go(1))
        play.perform(Kill("s1"))
        assert not is_fair(play, Go(1))
        assert is_fair(play, Revive("s1"))


def test_a_story_becomes_as_short_as_what_it_needs() -> None:
    needed = {Kill("s1"), Weight("alpha/s1", 3)}

    def retell(story: Story) -> Ending:
        return Ending(story, ["different"] if needed <= {*story.events} else [], 0)

    events = (*visits(13), Kill("s1"), *visits(9), Weight("alpha/s1", 3), *visits(2))
    ending = shrunk(Ending(Story(Setup(HEAD + ONE), events), ["different"], 0), retell)
    assert {*ending.story.events} == needed
    assert len(ending.story.events) == 2
    late = shrunk(Ending(Story(Setup(HEAD + ONE), events), ["different"], 0), retell, seconds=0)
    assert late.story.events == events
