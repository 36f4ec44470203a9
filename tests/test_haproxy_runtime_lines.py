"""From bytes to commands: ends of lines, what is escaped, what is skipped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.runtime_lines import MAX_LINE, Lines, words


def commands(*parts: bytes) -> list[str]:
    lines = Lines()
    found = []
    for part in parts:
        if not lines.is_too_long:
            lines.feed(part)
        while (command := lines.take()) is not None:
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"show info", []),
        (b"show info\n", ["show info"]),
        (b"show info\r\n", ["show info"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a;b\n", ["a", "b"]),
        (b"a ; ; b\n", ["a ", " ", " b"]),
        (b"a;\n", ["a", ""]),
        (b"\n", [""]),
        (rb"show env a\;b" + b"\n", [r"show env a\;b"]),
        (rb"a\\;b" + b"\n", [r"a\\", "b"]),
        (b"a\\\nb\n", ["a\\\nb"]),
        (b"a\\\\\nb\n", ["a\\\\", "b"]),
        (b"show \xff\n", ["show \udcff"]),
        (b"a\0b\n", ["a\0b"]),
        (b"set x <<\nfoo\nbar;baz\n\nb\n", ["set x ", "b"]),
        (b"set x <<\nfoo\r\n\r\nb\n", ["set x ", "b"]),
        (b"<<\nfoo\n\n", [""]),
        (b"set x<<\nfoo\n", ["set x<<", "foo"]),
        (b"set x << y\nfoo\n", ["set x << y", "foo"]),
    ],
)
def test_commands_end_with_lines_and_semicolons(data: bytes, expected: list[str]) -> None:
    assert commands(data) == expected


@given(
    st.lists(
        st.sampled_from([b"a", b"show x", b";", b"\\", b"\n", b"\r\n", b" <<", b"\xff", b"\0"])
    )
)
def test_it_does_not_matter_in_which_parts_it_comes(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert commands(*(whole[i : i + 1] for i in range(len(whole)))) == commands(whole)
    assert commands(*parts) == commands(whole)


@given(st.binary(max_size=200))
def test_whatever_comes_ends_in_commands(data: bytes) -> None:
    # A backslash makes the newline behind it an ordinary character.
    ends = data + (b"\\" if (len(data) - len(data.rstrip(b"\\"))) % 2 else b"") + b"\n\n"
    assert commands(ends)
    for command in commands(ends):
        assert "" not in words(command)


def test_a_line_may_be_as_long_as_haproxys_buffer() -> None:
    assert commands(b"a" * (MAX_LINE - 1) + b"\n") == ["a" * (MAX_LINE - 1)]
    assert commands(b"a" * MAX_LINE, b"\n") == []
    lines = Lines()
    lines.feed(b"a" * (MAX_LINE - 1))
    assert not lines.is_too_long
    lines.feed(b"a")
    assert lines.is_too_long


def test_many_short_lines_are_not_a_long_one() -> None:
    lines = Lines()
    for _ in range(3):
        lines.feed(b"show info\n" * 2000)
        assert not lines.is_too_long
    assert len(list(iter(lines.take, None))) == 6000


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("show info", ("show", "info")),
        ("  show \t info  ", ("show", "info")),
        ("", ()),
        (" \t ", ()),
        (r"get weight be\/s1", ("get", "weight", "be/s1")),
        (r"show env a\ b", ("show", "env", "a b")),
        (r"a\\ b", ("a\\", "b")),
        (r"a\;b", ("a;b",)),
        ('show env "HOME"', ("show", "env", '"HOME"')),
        ("# show", ("#", "show")),
        ("a\\", ("a\\",)),
    ],
)
def test_words_are_what_blanks_separate(command: str, expected: tuple[str, ...]) -> None:
    assert words(command) == expected


@given(st.lists(st.text(st.characters(categories=("L", "N", "P")), min_size=1)))
def test_words_survive_when_all_in_them_is_escaped(said: list[str]) -> None:
    line = " ".join("".join(f"\\{letter}" for letter in word) for word in said)
    assert words(line) == tuple(said)
