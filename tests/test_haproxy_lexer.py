"""Words, times, sizes and addresses, against what HAProxy 2.6.12 was seen to do."""

from __future__ import annotations

import enum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.errors import ConfigError
from dsbalance.haproxy.lexer import (
    MAX_INTEGER,
    MAX_MILLISECONDS,
    MAX_SIZE,
    Address,
    format_size,
    format_time,
    parse_address,
    parse_choice,
    parse_host,
    parse_integer,
    parse_size,
    parse_time,
    printable,
    quote,
    quoted,
    split,
)

ENVIRONMENT = {"FOO": "foo val", "EMPTY": "", "A_1": "x y", "Q": 'a"b\\c#d', "N": "a\0b"}

anything = st.text() | st.text(st.sampled_from(" \t\r\v\f\"'#\\$x{}[*]-.:0aFO\0\n@%"))


def variable(name: str, default: str | None) -> str:
    if name == ".LINE":
        return "7"
    return ENVIRONMENT.get(name, default or "")


def words(line: str) -> list[str]:
    return split(line, variable)[0]


def no_variable(name: str, default: str | None) -> str:
    raise AssertionError((name, default))


# Each line was given to HAProxy 2.6.12, which names the word in its error.
OBSERVED = [
    (r"foo\qbar", [r"foo\qbar"]),
    (r"foo\x41b", ["fooAb"]),
    (r"foo\ bar", ["foo bar"]),
    ("foo#bar", ["foo"]),
    (r"foo\#bar", ["foo#bar"]),
    (r'"foo\qbar"', [r"foo\qbar"]),
    (r'"foo\nbar"', ["foo\nbar"]),
    (r"'foo\nbar'", [r"foo\nbar"]),
    ('"a"b', ["ab"]),
    ("'a'b'c d'", ["abc d"]),
    ("$FOO", ["$FOO"]),
    ('"$FOO"', ["foo val"]),
    ('"${FOO}x"', ["foo valx"]),
    ('"$FOOx"', [""]),
    ('"${NOPE}x"', ["x"]),
    ('"${NOPE-def}x"', ["defx"]),
    ('"${EMPTY-def}x"', ["x"]),
    ('"x${A_1[*]}y"', ["xx", "yy"]),
    ('"${NOPE[*]}"', [""]),
    (r'"\$FOO"', ["$FOO"]),
    (r"\$FOO", [r"\$FOO"]),
    ("'$FOO'", ["$FOO"]),
    ('"${.LINE}"', ["7"]),
    ('"$.LINE"', ["7"]),
    ('"$Q"', ['a"b\\c#d']),
    ('"" x', ["", "x"]),
    ("foo\\ ", ["foo "]),
    ("foo\\", ["foo\\"]),
    ('"${NOPE-a b}z"', ["a bz"]),
    ('"${NOPE-a}b}z"', ["ab}z"]),
    ('"${NOPE-$FOO}"', ["$FOO"]),
    (r"\t\r", ["\t\r"]),
    (r'"\x22"', ['"']),
    ('"\\\'x"', ["'x"]),
    ("foo\x0bbar\x0cbaz\rbax\r", ["foo", "bar", "baz", "bax"]),
    ("foo\\\tbar", ["foo\\", "bar"]),
    ("é", ["é"]),
]


@pytest.mark.parametrize(("line", "expected"), OBSERVED)
def test_a_line_is_cut_into_the_words_that_haproxy_sees(line: str, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r"foo\xzz", "hexadecimal"),
        (r"foo\x4", "hexadecimal"),
        (r"foo\x00", "hexadecimal"),
        ('a "foo', "quote"),
        ("a 'foo", "quote"),
        ('"$1a"', "variable"),
        ('"${1a}"', "variable"),
        ('"${FOO"', "variable"),
        ('"$"', "variable"),
        ('"$ x"', "variable"),
        ('"${NOPE:-a}"', "variable"),
        ('"${}"', "variable"),
        ('"${FOO.x}"', "variable"),
        ('"${FOO[0]}"', "variable"),
        ("a\0b", "NUL"),
        ("'a\0b'", "NUL"),
        ('"a\0b"', "NUL"),
        ('"$N"', "NUL"),
        ("a " * 65, "64 words"),
        ("'a' " * 65, "64 words"),
    ],
)
def test_a_line_that_haproxy_refuses_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        words(line)


@pytest.mark.parametrize(
    ("line", "comment"),
    [
        ("# dsbalance: x # y", " dsbalance: x # y"),
        ("  \t#", ""),
        ("bind :80 # of 'the\0 lobby", " of 'the\0 lobby"),
        ("bind :80", ""),
    ],
)
def test_a_comment_is_kept_apart(line: str, comment: str) -> None:
    assert split(line, no_variable)[1] == comment


@given(anything)
@example('"${' * 3)
@example("\\x0")
def test_any_line_gives_words_or_a_config_error(line: str) -> None:
    try:
        found, comment = split(line, variable)
    except ConfigError:
        return
    assert "\0" not in "".join(found)
    assert line.endswith(comment)


@given(
    st.lists(anything.map(lambda word: word.replace("\0", "")), max_size=64),
    st.text(st.characters(exclude_characters="\n")),
)
def test_quoted_words_are_cut_where_they_were_joined(given_words: list[str], comment: str) -> None:
    line = " ".join(map(quote, given_words))
    assert "\n" not in line
    assert split(f"{line} #{comment}", no_variable) == (given_words, comment)


def test_a_word_with_nul_cannot_be_written() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        quote("a\0b")


@given(st.text())
def test_a_word_in_a_message_is_short_and_on_one_line(word: str) -> None:
    assert "\n" not in quoted(word)
    assert len(quoted("x" * 100_000)) < 70


@given(st.text(), st.none() | st.integers(3, 20))
def test_what_goes_to_a_terminal_stays_on_its_line(text: str, limit: int | None) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    if text.isprintable():
        assert len(shown) == min(len(text), limit or len(text))
        assert shown[: len(shown) - 3] == text[: len(shown) - 3]


def test_what_is_cut_says_so() -> None:
    assert printable("x" * 100, 7) == "xxxx..."
    assert printable("x" * 7, 7) == "x" * 7
    assert printable("a\nb\x1b[2J\udcff é") == r"a\nb\x1b[2J\udcff é"


# --- times, sizes, numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("0", 0.0),
        ("1", 0.001),
        ("1us", 0.000001),
        ("1ms", 0.001),
        ("010", 0.01),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("1h", 3600.0),
        ("24d", 24 * 86400.0),
        ("2147483647", 2147483.647),
        ("2147483647000us", 2147483.647),
        ("0" * 5000 + "5s", 5.0),
    ],
)
def test_a_time_is_read_with_its_unit(word: str, seconds: float) -> None:
    assert parse_time(word) == seconds


def test_keepalive_times_are_seconds_when_they_name_no_unit() -> None:
    assert parse_time("60", "s") == 60.0
    assert parse_time("60ms", "s") == 0.06


@pytest.mark.parametrize(
    "word",
    [
        *("", "s", "-1", "+1", "1.5s", "1h30m", "1x", "0x10", "1sec", "1u", "1ss", "1S", "1 s"),
        *("\u0661", "2147483648", "25d", "2147484s", "2147483647001us", "9" * 100_000),
    ],
)
def test_what_is_no_time_of_haproxys_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="a time is"):
        parse_time(word)


@given(st.integers(1, MAX_MILLISECONDS * 1000))
def test_a_time_is_written_as_it_reads_back_to_the_microsecond(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_time(format_time(seconds)) == seconds


@given(st.floats(1e-9, 2**31 / 1000, exclude_max=True))
def test_any_time_of_the_model_can_be_written(seconds: float) -> None:
    # To the microsecond, and HAProxy's longest is a millisecond short of the model's bound.
    assert abs(parse_time(format_time(seconds)) - seconds) <= 0.001


@pytest.mark.parametrize(
    ("word", "size"),
    [
        *(("0", 0), ("1", 1), ("1k", 1024), ("200K", 204800), ("1m", 2**20), ("2g", 2**31)),
        ("4294967295", MAX_SIZE),
    ],
)
def test_a_size_is_read_with_its_suffix(word: str, size: int) -> None:
    assert parse_size(word) == size


@pytest.mark.parametrize("word", ["", "k", "-1", "1kb", "1t", "1.5k", "0x10", "4g", "4294967296"])
def test_what_is_no_size_of_haproxys_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="a size is"):
        parse_size(word)


@given(st.integers(1, MAX_SIZE))
def test_a_size_is_written_as_it_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(-MAX_INTEGER, MAX_INTEGER))
def test_a_whole_number_is_read(number: int) -> None:
    assert parse_integer(str(number), -MAX_INTEGER) == number


@pytest.mark.parametrize("word", ["", "-", "x", "5x", "+5", "1_0", "²", "-1", "11", "9" * 100_000])
def test_what_is_no_whole_number_in_the_bounds_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="whole number of 0 to 10"):
        parse_integer(word, 0, 10)


class Fruit(enum.StrEnum):
    APPLE = "apple"
    PEAR = "pear"


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


def test_a_word_names_a_member() -> None:
    assert parse_choice("pear", Fruit) is Fruit.PEAR
    assert parse_choice("blue", Colour) is Colour.BLUE


@pytest.mark.parametrize("word", ["", "Pear", "PEAR", "pear ", "plum"])
def test_a_word_that_names_no_member_is_refused_with_those_that_do(word: str) -> None:
    with pytest.raises(ConfigError, match="expects apple or pear, not"):
        parse_choice(word, Fruit)
    with pytest.raises(ConfigError, match="expects one of red, green, blue, not"):
        parse_choice(word, Colour)


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "address"),
    [
        (":80", Address("", 80)),
        ("*:80", Address("", 80)),
        ("*", Address("")),
        ("", Address("")),
        (":::80", Address("::", 80)),
        ("[::]:80", Address("::", 80)),
        ("::1:80", Address("::1", 80)),
        ("[::1]", Address("::1")),
        ("[::1]:", Address("::1")),
        ("::ffff:1.2.3.4:80", Address("::ffff:1.2.3.4", 80)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("10.0.0.11", Address("10.0.0.11")),
        ("10.0.0.11:", Address("10.0.0.11")),
        ("10.0.0.11:0", Address("10.0.0.11", 0)),
        ("10.0.0.11:0080", Address("10.0.0.11", 80)),
        ("srv1.example.org:80", Address("srv1.example.org", 80)),
        ("srv_1.example.org.", Address("srv_1.example.org.")),
        (":5014-5019", Address("", 5014, 5019)),
        (":80-80", Address("", 80, 80)),
    ],
)
def test_an_address_is_parted_at_its_last_colon(word: str, address: Address) -> None:
    assert parse_address(word) == address


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("::1", "IPv6"),
        ("2001:db8::1", "IPv6"),
        ("[::1", "IPv6"),
        ("[::1]80", "IPv6"),
        ("[10.0.0.1]:80", "IPv6"),
        ("[]:80", "IPv6"),
        ("[fe80::1%lo]:80", "IPv6"),
        ("fe80::1%lo:80", "IPv6"),
        ("1.2.3.4:80:90", "IPv6"),
        ("1.2.3:80", "IPv4"),
        ("300.1.1.1", "IPv4"),
        ("1234", "IPv4"),
        ("ex ample", "neither"),
        ("-a", "neither"),
        ("a..b", "neither"),
        ("a" * 64, "neither"),
        ("a." * 127 + "a", "neither"),
        (":65536", "port is a number"),
        (":8O", "port is a number"),
        (":80-", "port is a number"),
        (":*", "port is a number"),
        ("2001:db8::x", "in brackets"),
        (":+80", "offset"),
        (":-80", "offset"),
        (":85-80", "empty"),
        (":0-80", "starts at 0"),
        ("/run/x.sock", "without a prefix"),
        ("unix@x", "without a prefix"),
        ("ipv6@:80", "without a prefix"),
        ("fd@3", "without a prefix"),
    ],
)
def test_an_address_of_another_kind_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_address(word)


@given(st.ip_addresses(), st.none() | st.integers(0, 65535))
def test_every_numeric_address_is_read(ip: object, port: int | None) -> None:
    host = str(ip)
    text = f"[{host}]" if ":" in host else host
    word = text if port is None else f"{text}:{port}"
    assert parse_address(word) == Address(host, port)
    assert parse_host(text) == parse_host(host) == host


@given(anything)
def test_any_word_is_read_or_refused_with_a_config_error(word: str) -> None:
    for parse in (parse_time, parse_size, parse_integer, parse_address, parse_host):
        try:
            parse(word)
        except ConfigError:
            continue
