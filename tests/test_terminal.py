"""What is drawn, and what is typed; the latter on a terminal of its own where there are such."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from actors import PATIENCE
from dsbalance.terminal import Drawing, Keys, can_draw, reading_keys


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_that_is_not_dumb_can_be_drawn_on() -> None:
    assert can_draw(Terminal(), {"TERM": "xterm"})
    assert can_draw(Terminal(), {})
    assert not can_draw(Terminal(), {"TERM": "dumb"})
    assert not can_draw(io.StringIO(), {"TERM": "xterm"})


def test_a_picture_is_drawn_over_the_last_one_and_clipped() -> None:
    out = Terminal()
    drawing = Drawing(out, str)
    drawing.draw(["first line", "second"], 5)
    drawing.draw(["third"], 5)
    assert out.getvalue() == "first\x1b[K\nsecon\x1b[K\n\x1b[J" + "\x1b[2Fthird\x1b[K\n\x1b[J"


def test_paint_takes_no_room() -> None:
    out = Terminal()
    Drawing(out, lambda line: f"<{line}>").draw(["abcdef"], 3)
    assert "<abc>" in out.getvalue()


def test_a_picture_that_is_left_stands() -> None:
    out = Terminal()
    drawing = Drawing(out, str)
    drawing.draw(["first"], 5)
    drawing.leave()
    drawing.draw(["second"], 6)
    assert "F" not in out.getvalue()


# -- keys


@pytest.fixture
def typed() -> Iterator[tuple[TextIO, int]]:
    """A terminal to read from, and the descriptor to type at."""
    pty: Any = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    at, of = pty.openpty()
    with open(of, encoding="ascii") as source:
        yield source, at
    os.close(at)


def test_a_key_is_read_when_it_is_typed_and_not_shown(typed: tuple[TextIO, int]) -> None:
    source, at = typed
    with reading_keys(source) as keys:
        os.write(at, b"xq")
        assert keys.wait(PATIENCE) == "x"
        assert keys.wait(PATIENCE) == "q"
        assert keys.wait(0.0) == ""
        os.set_blocking(at, False)
        with pytest.raises(BlockingIOError):
            os.read(at, 1)


def test_the_terminal_is_left_as_it_was(typed: tuple[TextIO, int]) -> None:
    import termios

    source, _ = typed
    before = termios.tcgetattr(source)
    with pytest.raises(KeyboardInterrupt), reading_keys(source):
        assert termios.tcgetattr(source) != before
        raise KeyboardInterrupt
    assert termios.tcgetattr(source) == before


def test_what_is_no_terminal_has_no_keys() -> None:
    for source in (None, io.StringIO("q")):
        with reading_keys(source) as keys:
            assert keys.wait(0.001) == ""


def test_an_end_of_input_is_no_key() -> None:
    if os.name != "posix":
        pytest.skip("a pipe cannot be waited for here")
    end, other = os.pipe()
    os.close(other)
    keys = Keys(end)
    assert [keys.wait(0.001) for _ in range(3)] == [""] * 3
    os.close(end)
    assert keys.wait(0.001) == ""
