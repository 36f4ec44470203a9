"""``show stat`` and ``show info`` as commands: their words, their levels, their ends."""

from __future__ import annotations

import json

import pytest

from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.haproxy.show_info import show_info
from dsbalance.haproxy.show_stat import Question, show_stat
from dsbalance.stats_options import Level
from pretence import Steered


def ask(line: str, level: Level = Level.ADMIN) -> str:
    return "".join(answer(line, Visit(level), Steered(), lambda _line: None))


def test_the_answers_are_those_of_the_codecs_and_an_empty_line() -> None:
    snapshot = Steered().now
    assert ask("show stat") == "".join(show_stat(snapshot)) + "\n"
    assert ask("show info") == "".join(show_info(snapshot)) + "\n"


def test_users_do_not_see_where_servers_are() -> None:
    snapshot = Steered().now
    hidden = "".join(show_stat(snapshot, Question(shows_legends=False)))
    assert ask("show stat", Level.USER) == f"{hidden}\n"
    assert ask("show stat", Level.OPERATOR) != f"{hidden}\n"


@pytest.mark.parametrize("line", ["show stat json", "show info json"])
def test_json_is_whole(line: str) -> None:
    assert json.loads(ask(line))


def test_what_names_no_section_is_refused() -> None:
    assert ask("show stat nope -1 -1") == "No such proxy.\n\n"
