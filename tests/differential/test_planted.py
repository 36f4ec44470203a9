"""The harness finds what differs, tells it as a short story, and the story can be played again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dsbalance import Client, Config, Server
from dsbalance.policy import Candidates

from .__main__ import main
from .events import Admin, Come, Go, Operation, Weight
from .haproxy import HaproxySide
from .ours import OurSide
from .play import Maker, lack
from .shrinking import shrunk
from .side import View
from .story import Setup, Story
from .telling import Ending, performed, replay

pytestmark = pytest.mark.skipif(bool(lack()), reason=lack() or "")

SETUP = Setup("""# kind: source-consistent stick queue
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
    balance source
    hash-type consistent
    option redispatch
    stick-table type ip size 10k expire 1h
    stick on src
    server s1 SERVERS:20001 maxconn 2
    server s2 SERVERS:20002
    server s3 SERVERS:20003 backup
""")
VISITS = tuple(Come(number, f"127.9.{number}.1", "alpha") for number in range(1, 9))


class Last:
    """Choose whoever stands last."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.servers[-1]


class ChoosingOtherwise(OurSide):
    def configured(self, config: Config) -> Config:
        return replace(
            config, backends=tuple(replace(backend, policy=Last()) for backend in config.backends)
        )


class Unlimited(OurSide):
    def configured(self, config: Config) -> Config:
        (backend,) = config.backends
        servers = tuple(replace(server, maxconn=None) for server in backend.servers)
        return replace(config, backends=(replace(backend, servers=servers),))


class Forgetful(OurSide):
    def configured(self, config: Config) -> Config:
        return replace(config, backends=tuple(replace(b, stick=()) for b in config.backends))


class Deaf(OurSide):
    def operate(self, event: Operation) -> None:
        if not isinstance(event, Admin):
            super().operate(event)


class Unweighable(OurSide):
    def operate(self, event: Operation) -> None:
        if not isinstance(event, Weight):
            super().operate(event)


class Miscounting(OurSide):
    def view(self) -> View:
        view = super().view()
        servers = {
            name: {**facts, "wretr": int(facts["wretr"]) + int(facts["stot"] == 2)}
            for name, facts in view.servers.items()
        }
        return replace(view, servers=servers)


PLANTED = [ChoosingOtherwise, Unlimited, Forgetful, Deaf, Unweighable, Miscounting]


def beside(planted: type[OurSide]) -> tuple[Maker, Maker]:
    return HaproxySide, planted


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_a_planted_difference_is_found_and_told_in_few_events(planted: type[OurSide]) -> None:
    makers = beside(planted)
    ending = performed(3, SETUP, 200, makers)
    assert ending.found
    short = shrunk(ending, lambda story: replay(story, makers))
    assert short.found
    assert 1 <= len(short.story.events) <= 6
    assert replay(short.story, makers) == short
    assert replay(short.story).found == [], "without the planted bug there is nothing to find"


def test_what_differs_is_said() -> None:
    story = Story(SETUP, (*VISITS, Admin("alpha/s2", "maint")))
    assert replay(story, beside(Deaf)).found[:2] == [
        "alpha act: HAProxy 1, here 2",
        "alpha weight: HAProxy 1, here 2",
    ]


def test_a_difference_is_printed_and_can_be_played_from_what_was_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "story.cfg"
    file.write_text(str(Story(SETUP, (*VISITS, Go(1)))), encoding="utf-8")
    assert main(["--replay", str(file)]) == 0
    assert "# no difference" in capsys.readouterr().out
    assert main(["--replay", str(file)], beside(ChoosingOtherwise)) == 1
    assert "client 4: HAProxy s1, here s2" in capsys.readouterr().out


def test_the_command_tells_how_much_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2-3", "--decisions", "5"]) == 0
    together = capsys.readouterr().out.splitlines()[-1].split()
    assert together[:2] == ["together", "2"]
    assert int(together[2]) >= 10
    assert together[3] == "0"


def test_what_never_comes_to_rest_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(OurSide):
        def view(self) -> View:
            view = super().view()
            return replace(view, clients=min(view.clients, 1))

    monkeypatch.setattr("differential.play._PATIENCE", 0.3)
    ending: Ending = replay(Story(SETUP, VISITS), beside(Blind))
    assert len(ending.story.events) == 2
    assert ending.found[0].startswith("it does not come to rest: HAProxy 2 of 2 clients")


def test_what_is_not_fair_is_left_out_of_a_story() -> None:
    visits = VISITS[:2]
    story = Story(SETUP, (Go(7), *visits, visits[0], Go(1), Go(1)))
    assert replay(story).story.events == (*visits, Go(1))
