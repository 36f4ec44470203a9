"""What the demo shows: the picture, the plain lines, and that a picture is drawn over the last."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from dsbalance.demo_screen import (
    WIDTH,
    LiveScreen,
    PlainScreen,
    PrinterColumn,
    ServerRow,
    View,
    event_lines,
    in_words,
    make_screen,
    picture,
)

VIEW = View(
    elapsed=7.25,
    groups=("Paragon", "Phoenix"),
    servers=(
        ServerRow(
            name="primary-1",
            address="127.204.0.11",
            process="running 4194303",
            states=("UP", "UP"),
            answers=123456,
        ),
        ServerRow(
            name="primary-2",
            address="127.204.0.12",
            process="KILLED",
            states=("DOWN 1/12", "DRAIN 2/3"),
            answers=98,
        ),
    ),
    printers=(
        PrinterColumn(number=1, servers=("primary-1", "primary-1"), has_moved=(True, False)),
        PrinterColumn(number=2, servers=("primary-2", None), has_moved=(False, False)),
        *(
            PrinterColumn(number=n, servers=("primary-1", "primary-1"), has_moved=(True, True))
            for n in range(3, 15)
        ),
    ),
    answered=1234,
    failed=0,
    slowest=0.0312,
)


class Terminal(io.StringIO):
    """A terminal that understands what LiveScreen says, and nothing else.

    Attributes:
        lines: What is to be read there, from the top.
        highest: The furthest up that a picture began, as a number of lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        self.highest = 0
        self._row = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for number, letter, end, plain in re.findall(
            r"\x1b\[([\d;]*)([A-Za-z])|(\n)|([^\x1b\n]+)", text
        ):
            if letter == "F":
                self.highest = max(self.highest, int(number))
                self._row -= int(number)
                assert self._row >= 0
            elif letter == "J":
                del self.lines[self._row + 1 :]
                self.lines[self._row] = ""
            elif end:
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append("")
                self._column = 0
            elif plain:
                self.lines[self._row] = plain if not self._column else self._more(plain)
                self._column += len(plain)
            else:
                assert letter in ("K", "m"), (number, letter)
        return super().write(text)

    _column = 0

    def _more(self, plain: str) -> str:
        return self.lines[self._row][: self._column] + plain


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def test_no_line_of_the_picture_is_wider_than_a_small_terminal() -> None:
    assert max(map(len, picture(VIEW))) < WIDTH


def test_the_picture_says_everything_in_words() -> None:
    lines = picture(VIEW)
    assert [line.split() for line in lines[3:5]] == [
        ["primary-1", "127.204.0.11", "running", "4194303", "UP", "UP", "123456"],
        ["primary-2", "127.204.0.12", "KILLED", "DOWN", "1/12", "DRAIN", "2/3", "98"],
    ]
    assert lines[7].split()[:4] == ["Paragon", "1*", "2", "1*"]
    assert lines[8].split()[:4] == ["Phoenix", "1", ".", "1*"]
    assert " 1234 answered, 0 failed, slowest 31 ms" in lines


def test_the_columns_of_the_printers_stand_below_their_numbers() -> None:
    lines = picture(VIEW)
    assert lines[6].index(" 14") == lines[7].rindex("1*") - 2


@pytest.mark.parametrize(
    ("duration", "words"), [(0.0, "0 ms"), (0.0416, "42 ms"), (1.0, "1.0 s"), (61.25, "61.2 s")]
)
def test_a_duration_is_said_in_the_unit_that_suits_it(duration: float, words: str) -> None:
    assert in_words(duration) == words


def test_a_long_event_is_indented_below_its_time() -> None:
    first, *others = event_lines(12.34, "word " * 40)
    assert first.startswith("  12.3 s  word")
    assert others
    assert all(line.startswith(" " * 10 + "word") for line in others)


def test_what_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(make_screen(io.StringIO(), {}), PlainScreen)
    assert isinstance(make_screen(Terminal(), {"TERM": "dumb"}), PlainScreen)
    assert isinstance(make_screen(Terminal(), {"TERM": "xterm"}), LiveScreen)


def test_plain_lines_come_for_each_event_and_after_a_second_of_silence() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.update(replace(VIEW, elapsed=0.0, printers=()))
    screen.event(1.0, "It begins.")
    for tenth in range(10, 31):
        screen.update(replace(VIEW, elapsed=tenth / 10))
    screen.close("The end.\nReally.")
    assert out.getvalue().splitlines() == [
        "   1.0 s  It begins.",
        "   2.0 s    1234 answered, 0 failed. Who serves whom: primary-1: 1 3 4 5 6 7 8",
        "          9 10 11 12 13 14, primary-2: 2",
        "   3.0 s    1234 answered, 0 failed",
        "",
        "The end.",
        "Really.",
    ]


def test_plain_lines_say_who_serves_nobody() -> None:
    out = io.StringIO()
    PlainScreen(out).update(replace(VIEW, printers=VIEW.printers[:1]))
    assert "primary-2: nobody" in " ".join(out.getvalue().split())


def test_a_picture_is_drawn_over_the_last_one() -> None:
    terminal = Terminal()
    screen = LiveScreen(terminal, is_coloured=True)
    screen.event(0.0, "Nothing is drawn before there is a view.")
    assert terminal.getvalue() == ""
    screen.update(VIEW)
    screen.event(1.0, "It begins.")
    later = replace(VIEW, elapsed=99.0, printers=VIEW.printers[:2])
    screen.update(later)
    drawn = ["   0.0 s  Nothing is drawn before there is a view.", "   1.0 s  It begins."]
    assert terminal.lines == [*picture(later), *drawn, ""]


def test_a_screenful_of_events_never_scrolls() -> None:
    terminal = Terminal()
    screen = LiveScreen(terminal, is_coloured=False)
    for number in range(30):
        screen.event(number, f"event {number}")
        screen.update(VIEW)
    assert terminal.highest <= 23
    assert "event 29" in terminal.lines[-2]


def test_a_tiny_terminal_shows_the_upper_left_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "6")
    terminal = Terminal()
    screen = LiveScreen(terminal, is_coloured=True)
    screen.event(0.0, "unseen")
    screen.update(VIEW)
    screen.update(VIEW)
    assert terminal.lines == [*(line[:29] for line in picture(VIEW)[:5]), ""]


def test_the_last_words_stand_below_every_event() -> None:
    terminal = Terminal()
    screen = LiveScreen(terminal, is_coloured=True)
    for number in range(30):
        screen.event(number, f"event {number}")
        screen.update(VIEW)
    screen.close("The end.")
    assert terminal.lines[len(picture(VIEW)) :][0].endswith("event 0")
    assert [line.split()[-1:] for line in terminal.lines[-5:]] == [["28"], ["29"], [], ["end."], []]


def test_last_words_can_be_said_before_anything_was_shown() -> None:
    terminal = Terminal()
    LiveScreen(terminal, is_coloured=True).close("The end.")
    assert terminal.lines == ["", "The end.", ""]


def test_colours_repeat_the_words_and_can_be_left_out() -> None:
    painted, plain = Terminal(), Terminal()
    make_screen(painted, {"TERM": "xterm"}).update(replace(VIEW, failed=3))
    make_screen(plain, {"TERM": "xterm", "NO_COLOR": "1"}).update(replace(VIEW, failed=3))
    assert plain.lines == painted.lines
    assert "m" not in set(re.findall(r"\x1b\[[\d;]*(\w)", plain.getvalue()))
    for word in ("UP", "KILLED", "DOWN", "DRAIN", "3 failed"):
        assert re.search(rf"\x1b\[[\d;]+m{word}\x1b\[0m", painted.getvalue())
