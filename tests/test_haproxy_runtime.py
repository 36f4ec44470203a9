"""The runtime API as a whole: what HAProxy answered, levels, prompting, whatever may be said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.runtime import COMMANDS, Dialogue, answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.stats_options import Level, StatsSocket
from dsbalance.sticky import Entry
from pretence import Steered, check, server

GOLDEN = Path(__file__).parent / "data" / "haproxy-runtime-answers.json"


def ask(line: str, level: Level = Level.ADMIN, steered: Steered | None = None) -> str:
    return "".join(answer(line, Visit(level), steered or Steered(), lambda _line: None))


class Conversation:
    """A client, as bytes."""

    def __init__(self, level: Level = Level.ADMIN) -> None:
        self.visit = Visit(level, 10.0)
        self.steered = Steered()
        self.changes: list[str] = []
        self.dialogue = Dialogue(self.visit, self.steered, self.changes.append)

    def say(self, data: bytes) -> bytes:
        """Say something and return all that comes back."""
        if data:
            self.dialogue.hear(data)
        return b"".join(iter(self.dialogue.say, None))


# --- HAProxy's answers -------------------------------------------------------------------------

KEYS = (b"\1\1\1\1", b"\1\1\1\2", b"\2\2\2\2")

# Which answers are others here, in order, and why.
DIFFERENT = (
    ("show table be data.conn_cnt gt 5", "counters are not stored"),
    ("set table be key 9.9.9.9 data.gpc0 7 data.server_id 1", "counters are not stored"),
    ("set table be key zz data.gpc0 1", "a bad key is not taken for 0.0.0.0"),
    ("show table be", "that key is not there, and who writes an id writes a name"),
    ("show table be", "that key is not there"),
    ("show foo", "there are other commands"),
    ("show sess", "who asks is not a session"),
    ("show version", "it is another one"),
)


def golden_stage() -> Steered:
    steered = Steered()
    be, static = steered.now.backends
    be = replace(
        be,
        id=3,
        servers=(
            server("s1", 1, port=42777, address="127.0.0.1:42777", peak=1, check=check()),
            server("s2", 2, port=41239, peak=1, weight=10, asked_weight=10, initial_weight=10),
            server("s3", 3, port=39555),
        ),
    )
    other = replace(
        static, name="other", id=4, servers=(server("o1", 1, port=1), server("o2", 2, port=1))
    )
    heavy = server("h1", 1, port=1, weight=20, asked_weight=20, initial_weight=20)
    hmap = replace(static, name="hmap", id=5, servers=(heavy,))
    tables = (replace(steered.now.tables[0], used=3),)
    steered.now = replace(steered.now, backends=(be, other, hmap), tables=tables)
    steered.stored = {"be": [Entry(key=key, server="s2", remaining=60) for key in KEYS]}
    return steered


def masked(text: str) -> str:
    """Return an answer without what differs from one moment to the next, or is not stored here."""
    for pattern, plain in (
        (r"0x[0-9a-f]+: ", "PTR: "),
        (r"exp=\d+", "exp=N"),
        (r" (gpc0|conn_cnt)=\d+", ""),
        (r"used:\d+", "used:N"),
        (r"\[\d\d/.*?\]", "[date]"),
        (r"idle_per_thr\[\d+\]", "idle_per_thr[N]"),
        (r"(?m)^(\d+ \w+ \d+ \w+ \S+ \d \d+ \d+ \d+) \d+ ", r"\1 SINCE "),
    ):
        text = re.sub(pattern, plain, text)
    return text


def rows() -> list[tuple[str, str]]:
    return [tuple(row) for row in json.loads(GOLDEN.read_text(encoding="utf-8"))["answers"]]


def test_haproxys_answers_are_ours() -> None:
    steered = golden_stage()
    sockets = (StatsSocket(path="/run/haproxy.sock", level=Level.ADMIN),)
    unequal = []
    for line, theirs in rows():
        visit = Visit(Level.ADMIN, 10.0, sockets)
        ours = b"".join(_all_of(Dialogue(visit, steered, lambda _line: None), line)).decode()
        if masked(ours) != masked(theirs):
            unequal.append(line)
    assert unequal == [line for line, _ in DIFFERENT]


def _all_of(dialogue: Dialogue, line: str) -> list[bytes]:
    dialogue.hear(f"{line}\n".encode())
    return [*iter(dialogue.say, None)]


# --- who may do what ---------------------------------------------------------------------------

# As it was observed on HAProxy 2.6.12.
LEVELS = {
    "show sess": Level.OPERATOR,
    "show errors": Level.OPERATOR,
    "show env": Level.OPERATOR,
    "show info": Level.USER,
    "show stat": Level.USER,
    "show servers state": Level.USER,
    "show servers conn": Level.USER,
    "show table": Level.USER,
    "show cli sockets": Level.USER,
    "show cli level": Level.USER,
    "show peers": Level.USER,
    "show backend": Level.USER,
    "show version": Level.USER,
    "get weight be/s1": Level.USER,
    "set weight be/s1 1": Level.ADMIN,
    "set server be/s1 state ready": Level.ADMIN,
    "set server": Level.ADMIN,
    "disable server be/s2": Level.ADMIN,
    "enable server be/s2": Level.ADMIN,
    "disable frontend fe": Level.ADMIN,
    "disable health be/s1": Level.ADMIN,
    "enable agent be/s1": Level.ADMIN,
    "clear counters": Level.OPERATOR,
    "clear counters all": Level.ADMIN,
    "set table be key 1.1.1.1": Level.OPERATOR,
    "set maxconn global 400": Level.ADMIN,
    "set maxconn frontend fe 20": Level.ADMIN,
    "set maxconn server be/s1 5": Level.ADMIN,
    "set timeout cli 5": Level.USER,
    "set rate-limit connections global 0": Level.ADMIN,
    "shutdown session 0x1": Level.ADMIN,
    "shutdown sessions server be/s1": Level.ADMIN,
    "shutdown frontend fe": Level.ADMIN,
    "help": Level.USER,
    "operator": Level.OPERATOR,
    "user": Level.USER,
}


@pytest.mark.parametrize("line", LEVELS)
@pytest.mark.parametrize("level", Level)
def test_a_command_is_for_whom_it_is_for_in_haproxy(line: str, level: Level) -> None:
    steered = Steered()
    is_denied = ask(line, level, steered) == "Permission denied\n\n"
    assert is_denied is (level < LEVELS[line])
    if is_denied:
        assert steered.done == []


def test_a_level_can_be_lowered_and_never_rises() -> None:
    conversation = Conversation()
    told = conversation.say(
        b"operator;show cli level;operator;user;show cli level;operator;set weight be/s1 1\n"
    )
    assert told == b"\noperator\n\n\n\nuser\n\nPermission denied\n\nPermission denied\n\n"
    assert conversation.steered.done == []
    assert conversation.visit.level is Level.USER


@given(st.lists(st.sampled_from(["operator", "user", "admin", "prompt", "set timeout cli 5"])))
def test_no_order_of_commands_raises_a_level(lines: list[str]) -> None:
    conversation = Conversation(Level.OPERATOR)
    highest = conversation.visit.level
    for line in lines:
        conversation.say(f"{line}\n".encode())
        assert conversation.visit.level <= highest
        highest = conversation.visit.level


# --- what is told of changes ---------------------------------------------------------------------


def test_who_listens_is_told_of_what_was_changed_and_of_nothing_else() -> None:
    conversation = Conversation()
    conversation.say(b"show info;set weight be/s1 5;set weight be/s1 x;get weight be/s1\n")
    conversation.say(b"set weight zz/s1 5;clear table be;user;disable server be/s1\n")
    assert conversation.changes == ["set weight be/s1 5", "clear table be"]


# --- the conversation ----------------------------------------------------------------------------


def test_all_that_came_is_answered_and_then_it_may_end() -> None:
    conversation = Conversation()
    assert not conversation.dialogue.is_answered
    assert conversation.say(b"show cli level;show peers\nshow cli level\nshow") == (
        b"admin\n\n\nadmin\n\n"
    )
    assert conversation.dialogue.is_answered
    assert not conversation.dialogue.is_over


def test_a_line_that_is_not_complete_is_not_answered() -> None:
    conversation = Conversation()
    assert conversation.say(b"show cli") == b""
    assert not conversation.dialogue.is_answered
    assert conversation.say(b" level\n") == b"admin\n\n"


def test_who_is_prompted_gets_a_prompt_behind_each_answer() -> None:
    conversation = Conversation()
    assert conversation.say(b"prompt\n") == b"\n> "
    assert conversation.say(b"show cli level\n") == b"admin\n\n> "
    assert conversation.say(b"set weight be/s1 x;show peers\n") == (
        b"Empty weight string empty or preceded by garbage\n> \n> "
    )
    assert not conversation.dialogue.is_answered
    assert conversation.say(b"prompt\n") == b"\n"
    assert conversation.dialogue.is_answered


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"quit\n", b""),
        (b"show cli level;quit;show peers\n", b"admin\n\n"),
        (b"prompt;quit\n", b"\n> "),
        (b"quit foo\n", b""),
    ],
)
def test_who_quits_is_not_answered_any_more(data: bytes, told: bytes) -> None:
    conversation = Conversation()
    assert conversation.say(data) == told
    assert conversation.dialogue.is_over
    assert conversation.say(b"") == b""


@pytest.mark.parametrize(
    "request_line", [b"POST / HTTP/1.1", b"GET /;quiet;x HTTP/1.0", b"PRI * HTTP/2.0"]
)
def test_what_a_browser_sends_is_no_command(request_line: bytes) -> None:
    conversation = Conversation()
    form = b"%b\r\nHost: 127.0.0.1:9999\r\n\r\nset server be/s1 state maint\n" % request_line
    assert conversation.say(form).endswith(b"This is no web server.\n")
    assert conversation.dialogue.is_over
    assert conversation.changes == []


def test_a_line_without_an_end_is_the_end() -> None:
    conversation = Conversation()
    assert conversation.say(b"show cli level\n" + b"a" * 16384) == b"admin\n\n"
    assert conversation.dialogue.is_over


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("cli 60", 60),
        ("cli 5s", 5),
        ("cli 500ms", 0.5),
        ("cli 2m", 120),
        ("cli 1h", 3600),
        ("cli 1d more", 86400),
    ],
)
def test_the_time_of_silence_can_be_set(words: str, seconds: float) -> None:
    conversation = Conversation()
    assert conversation.say(f"set timeout {words}\n".encode()) == b"\n"
    assert conversation.visit.timeout == seconds


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "'set timeout' only supports 'cli'.\n\n"),
        ("foo 5", "'set timeout' only supports 'cli'.\n\n"),
        ("cli", "Expects an integer value.\n\n"),
        ("cli x", "Invalid timeout value.\n\n"),
        ("cli xs", "Invalid timeout value.\n\n"),
        ("cli 0", "Invalid timeout value.\n\n"),
        ("cli -1", "Invalid timeout value.\n\n"),
        ("cli 99999999999", "Invalid timeout value.\n\n"),
    ],
)
def test_a_time_that_is_none_changes_nothing(words: str, text: str) -> None:
    conversation = Conversation()
    assert conversation.say(f"set timeout {words}\n".encode()).decode() == text
    assert conversation.visit.timeout == 10.0


# --- help ----------------------------------------------------------------------------------------

BASICS = ["help", "prompt", "quit"]


def listed(text: str) -> list[str]:
    """Return the usages that a list of commands has."""
    lines = text.splitlines()[1:-1]
    assert all(re.fullmatch(r"  \S.{39}: \S.*", line) for line in lines)
    return [line[2:].split(": ")[0].rstrip() for line in lines]


def test_help_lists_every_command_in_order() -> None:
    text = ask("help")
    assert text.startswith("The following commands are valid at this level:\n")
    usages = listed(text)
    assert usages == [each.usage for each in COMMANDS] + ["help [<words>]", *BASICS[1:]]
    assert usages[:-3] == sorted(usages[:-3])
    assert max(map(len, usages)) <= 40


@pytest.mark.parametrize(
    ("line", "usages"),
    [
        ("help get", ["get weight <bk>/<srv>"]),
        ("help show cli", ["show cli level", "show cli sockets"]),
        ("show cli", ["show cli level", "show cli sockets"]),
        ("show cli foo", ["show cli level", "show cli sockets"]),
        ("shutdown sessions", ["shutdown sessions server <bk>/<srv>"]),
        ("SHOW VERSION", ["show peers", "show version"]),
    ],
)
def test_who_is_nearly_right_sees_what_may_have_been_meant(line: str, usages: list[str]) -> None:
    text = ask(line)
    assert set(usages) <= {*listed(text)}
    assert len(listed(text)) < 12
    begin = "The following commands are valid" if line.startswith("help") else "Unknown command, "
    assert text.startswith(begin)


@pytest.mark.parametrize("line", ["", "   ", "zzzzzzzzzz", "\u00e9" * 9000])
def test_who_is_quite_wrong_sees_everything(line: str) -> None:
    text = ask(line)
    assert text.startswith("Unknown command. Please enter one of the following commands only:\n")
    assert len(listed(text)) == len(COMMANDS) + 3


@pytest.mark.parametrize("line", ["show activity", "add acl x y", "set ssl cert a b", "trace"])
def test_what_haproxy_has_and_we_lack_is_said_in_a_line(line: str) -> None:
    text = ask(line)
    assert text.endswith(" does not exist here.\n\n")
    assert text.count("\n") == 2


def test_the_words_of_every_command_lead_to_it() -> None:
    for each in COMMANDS:
        assert not ask(" ".join(each.words)).startswith("Unknown command")


# --- whatever may be said ------------------------------------------------------------------------

WORDS = sorted(
    {word for each in COMMANDS for word in each.words}
    | {"be", "be/s1", "be/s3", "static/h1", "fe", "#2", "/", "key", "1.1.1.1", "::1", "all"}
    | {"data.server_id", "data.gpc0", "eq", "ready", "5", "-1", "50%", "0x1", "port", "<<", "\\;"}
    | {"", "\x00", "\udcff", "\n", "9" * 5000, "addr", "state", "cli", "global", "typed", "help"}
)
lines = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join) | st.text(max_size=60)


@given(lines, st.sampled_from(Level))
def test_whatever_is_said_is_answered_and_never_changes_too_much(line: str, level: Level) -> None:
    steered = Steered()
    changes: list[str] = []
    text = "".join(answer(line, Visit(level), steered, changes.append))
    assert text.endswith("\n") or line.split()[:1] == ["quit"]
    assert len(steered.done) <= 1
    assert len(changes) <= 1
    if level is Level.USER:
        assert not steered.done
    if text == "Permission denied\n\n":
        assert not steered.done


@given(st.lists(st.binary(max_size=300) | lines.map(lambda line: line.encode("utf-8", "ignore"))))
def test_no_bytes_break_the_conversation(parts: list[bytes]) -> None:
    conversation = Conversation()
    for part in parts:
        if conversation.dialogue.is_over:
            break
        conversation.say(part)
        assert conversation.say(b"") == b""


def test_an_error_of_the_proxy_is_one_line() -> None:
    steered = Steered()
    assert ask("set table be key 8.8.8.8", Level.ADMIN, steered) == "there is no such entry\n\n"
