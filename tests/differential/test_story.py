"""A story can be written down and played again, and a seed gives the same file each time."""

from __future__ import annotations

import doctest
import subprocess
from pathlib import Path

import pytest

from dsbalance.haproxy.config import read

from . import events
from .events import Admin, Come, Event, Go, Health, Kill, Revive, Weight, event_of, line_of
from .files import FEATURES, POLICIES, setup_of
from .haproxy import HAPROXY, lack
from .story import Setup, Story

EVENTS: tuple[Event, ...] = (
    Come(12, "127.3.4.5", "alpha"),
    Go(12),
    Kill("s1"),
    Revive("s1"),
    Admin("alpha/s1", "drain"),
    Health("alpha/s1", "down"),
    Weight("alpha/s1", 20),
)
# Enough for every policy and every feature.
SEEDS = range(1, 41)


@pytest.mark.parametrize("event", EVENTS, ids=line_of)
def test_an_event_is_a_line_and_a_line_is_an_event(event: Event) -> None:
    assert event_of(line_of(event)) == event


@pytest.mark.parametrize("line", ["fly s1", "go", "go 1 2", "go s1"])
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=line.split(maxsplit=1)[0]):
        event_of(line)


def test_the_examples_of_the_event_language_hold() -> None:
    assert doctest.testmod(events).failed == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_printed_story_is_the_story(seed: int) -> None:
    story = Story(setup_of(seed), EVENTS)
    assert Story.parse(str(story)) == story


def test_what_a_file_has_is_read_from_its_text() -> None:
    setup = Setup("""# kind: static-rr stick
backend memory
    stick-table type ip size 10k
listen alpha
    bind DOOR:21001
    server s1 SERVERS:20001 weight 3
    server s2 SERVERS:20002
listen beta
    bind DOOR:21002
    server s2 SERVERS:20002 backup
""")
    assert setup.kind == ("static-rr", "stick")
    assert setup.is_static
    assert setup.doors == {"alpha": 21001, "beta": 21002}
    assert setup.ports == {"s1": 20001, "s2": 20002}
    assert setup.weights == {"s1": 3}
    assert setup.members == ("alpha/s1", "alpha/s2", "beta/s2")
    assert setup.tables == ("memory",)
    real = setup.file(door="127.1.1.1", servers="127.1.1.2", socket="")
    assert "bind 127.1.1.1:21001" in real
    assert "server s1 127.1.1.2:20001 weight 3" in real


def test_a_seed_gives_the_same_file_and_another_one_another() -> None:
    assert [setup_of(seed) for seed in SEEDS] == [setup_of(seed) for seed in SEEDS]
    assert len({setup_of(seed).text for seed in SEEDS}) == len(SEEDS)


def test_every_policy_and_every_feature_is_drawn() -> None:
    kinds = [setup_of(seed).kind for seed in SEEDS]
    assert {kind[0] for kind in kinds} == {*POLICIES}
    assert {word for kind in kinds for word in kind[1:]} == {*FEATURES}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_file_is_read_here_without_a_word_lost(seed: int) -> None:
    text = setup_of(seed).file(door="127.0.0.1", servers="127.0.0.1", socket="s")
    notices = [notice.message for notice in read([("x.cfg", text)]).notices]
    assert [
        notice for notice in notices if "nbthread" not in notice and "stats" not in notice
    ] == []


@pytest.mark.skipif(bool(lack()), reason=lack() or "")
def test_haproxy_takes_the_drawn_files(tmp_path: Path) -> None:
    for seed in SEEDS:
        file = tmp_path / f"{seed}.cfg"
        text = setup_of(seed).file(door="127.0.0.1", servers="127.0.0.1", socket=f"{tmp_path}/s")
        file.write_text(text, encoding="utf-8")
        command = [HAPROXY or "", "-c", "-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
