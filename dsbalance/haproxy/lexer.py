r"""From a line of haproxy.cfg to words, and from a word to a time, size, number or address. No I/O.

    found           outside quotes       in "..."              in '...'
    space, tab      ends the word        itself                itself
    #               starts a comment     itself                itself
    "               opens "..."          closes it             itself
    '               opens '...'          itself                closes it
    \\ \" \' \#     the second sign      the second sign       both signs
    \ and space     a space              a space               both signs
    \n \r \t \xNN   that character       that character        all signs
    \$              both signs           $                     both signs
    \ and another   both signs           both signs            both signs
    $NAME ${NAME}   itself               the variable's value  itself

``${NAME-text}`` gives ``text`` for a variable that is not set, and ``${NAME[*]}`` a word for each
word of the value. A backslash at the end of a line does not join it to the next one.

Source: HAProxy 2.6 configuration manual, 2.1 to 2.5 and 11; where it and the program differ (``\$``
and an escaped tab outside quotes), what HAProxy 2.6.12 was observed to do.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from dsbalance.errors import ConfigError

# HAProxy takes 64 words of a line and refuses the rest.
MAX_WORDS = 64
# HAProxy's timers end at 2^31 - 1 ms (24.8 days), its counters at 2^31 - 1, a table's size at
# 2^32 - 1.
MAX_MILLISECONDS = 2**31 - 1
MAX_INTEGER = 2**31 - 1
MAX_SIZE = 2**32 - 1

_MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
# More digits than any number here has; longer ones are too large before they are converted.
_MAX_DIGITS = 20

_SPACES = " \t\r\v\f"
_SPECIAL = re.compile(r"""["'#\\\0]""")
_COMMENT = re.compile(r"[ \t\r\v\f]*#(.*)")
_WORD = re.compile(r"[^ \t\r\v\f]+")
_PLAIN = re.compile(r"""[^ \t\r\v\f"'#\\\0]+""")
_WEAK = re.compile(r"""[^"\\$\0]+""")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_ESCAPES = {" ": " ", "\\": "\\", '"': '"', "'": "'", "#": "#", "n": "\n", "r": "\r", "t": "\t"}
_WEAK_ESCAPES = {**_ESCAPES, "$": "$"}
_VARIABLE = re.compile(
    r"\$(?:(?P<bare>\.?[A-Za-z_]\w*)"
    r"|\{(?P<braced>\.?[A-Za-z_]\w*)(?P<all>\[\*\])?(?:-(?P<default>[^}\"\0]*))?\})",
    re.ASCII,
)
_NEEDS_QUOTES = re.compile(r"""[\s"'#\\$\0]""")

_TIME = re.compile(r"([0-9]+)(us|ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]+)([kmgKMG]?)")
_INTEGER = re.compile(r"-?[0-9]+")
_PORT = re.compile(r"[0-9]{1,5}")
_NUMERIC = re.compile(r"[0-9.]+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# RFC 1035, 2.3.4: 255 bytes on the wire.
_MAX_HOST_NAME = 253
_PREFIX = re.compile(r"(?:/|[a-z]+[46]?@)")

Choice = TypeVar("Choice", bound=enum.StrEnum)


class Address(NamedTuple):
    """What ``bind``, ``server`` and ``addr`` take.

    Attributes:
        host: An IPv4 or IPv6 address or a name; empty: every IPv4 address.
        port: 0 to 65535; None: it was not given.
        last_port: The last one of a range; None: there is one port.
    """

    host: str
    port: int | None = None
    last_port: int | None = None


def split(line: str, variable: Callable[[str, str | None], str]) -> tuple[list[str], str]:
    """Return the words of ``line``, and its comment without the ``#``.

    Args:
        line: Without its line end; a carriage return counts as a space.
        variable: Gives the value of an environment variable, from its name and the text that
            stands in for one that is not set, None if there is none. Pseudo-variables come with
            their dot: ``.LINE``.

    Raises:
        ConfigError: A quote is not closed, a variable or an escape is malformed, there is a NUL
            character, or there are more than 64 words.
    """
    if found := _COMMENT.match(line):
        return [], found[1]
    if _SPECIAL.search(line):
        words, comment = _Cutter(line, variable).cut()
    else:
        words, comment = _WORD.findall(line), ""
    if len(words) > MAX_WORDS:
        raise ConfigError(f"a line has at most {MAX_WORDS} words, this one has {len(words)}")
    return words, comment


class _Cutter:
    """One line while it is cut. Linear in its length."""

    __slots__ = ("_at", "_line", "_pieces", "_variable", "_words")

    def __init__(self, line: str, variable: Callable[[str, str | None], str]) -> None:
        self._line = line
        self._variable = variable
        self._at = 0
        self._words: list[str] = []
        # None between two words; a list, perhaps of nothing ("" is a word), inside one.
        self._pieces: list[str] | None = None

    def cut(self) -> tuple[list[str], str]:
        line = self._line
        comment = ""
        while self._at < len(line):
            char = line[self._at]
            if char in _SPACES:
                self._end_word()
                self._at += 1
            elif char == "#":
                comment = line[self._at + 1 :]
                break
            elif char == '"':
                self._weak()
            elif char == "'":
                self._strong()
            elif char == "\\":
                self._escape(_ESCAPES)
            else:
                self._plain(_PLAIN)
        self._end_word()
        return self._words, comment

    def _end_word(self) -> None:
        if self._pieces is not None:
            self._words.append("".join(self._pieces))
            self._pieces = None

    def _add(self, text: str) -> None:
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(text)

    def _plain(self, pattern: re.Pattern[str]) -> None:
        """Take a run of characters that stand for themselves."""
        run = pattern.match(self._line, self._at)
        if run is None:
            raise ConfigError("a NUL character is not text")
        self._add(run[0])
        self._at = run.end()

    def _strong(self) -> None:
        end = self._line.find("'", self._at + 1)
        if end < 0:
            raise self._unclosed(self._at)
        text = self._line[self._at + 1 : end]
        if "\0" in text:
            raise ConfigError("a NUL character is not text")
        self._add(text)
        self._at = end + 1

    def _weak(self) -> None:
        opened = self._at
        self._at += 1
        self._add("")
        while (char := self._line[self._at : self._at + 1]) != '"':
            if not char:
                raise self._unclosed(opened)
            if char == "\\":
                self._escape(_WEAK_ESCAPES)
            elif char == "$":
                self._expand()
            else:
                self._plain(_WEAK)
        self._at += 1

    def _escape(self, meanings: dict[str, str]) -> None:
        sign = self._line[self._at + 1 : self._at + 2]
        if sign == "x":
            code = _HEX.match(self._line, self._at + 2)
            if code is None or code[0] == "00":
                shown = self._line[self._at : self._at + 4]
                raise ConfigError(rf"\x wants two hexadecimal digits and not 00, found {shown!r}")
            self._add(chr(int(code[0], 16)))
            self._at = code.end()
        elif sign in meanings:
            self._add(meanings[sign])
            self._at += 2
        else:
            self._add("\\")
            self._at += 1

    def _expand(self) -> None:
        """Put a variable's value in its place."""
        found = _VARIABLE.match(self._line, self._at)
        if found is None:
            shown = quoted(self._line[self._at : self._at + 20])
            raise ConfigError(
                f'a variable is written $NAME or ${{NAME}}, not {shown}; \\$ in "..." is a dollar'
            )
        value = self._variable(found["bare"] or found["braced"], found["default"])
        if "\0" in value:
            raise ConfigError("a NUL character is not text")
        pieces = _WORD.findall(value) if found["all"] else [value]
        for number, piece in enumerate(pieces):
            if number:
                self._end_word()
            self._add(piece)
        self._at = found.end()

    def _unclosed(self, opened: int) -> ConfigError:
        shown = quoted(self._line[opened : opened + 20])
        return ConfigError(f"a quote is opened and not closed: {shown}")


def quoted(word: str) -> str:
    """Return ``word`` for a message: in quotes, on one line, cut when it is long."""
    return repr(word if len(word) <= 60 else word[:57] + "...")


def printable(text: str, limit: int | None = None) -> str:
    r"""Return ``text`` as it may go to a terminal, on one line: a name can hold anything.

    Args:
        text: What to show.
        limit: Characters of it at the most; None: all.

    >>> print(printable("a\nb"), printable("a long story", 9))
    a\nb a long...
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 3] + "..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def quote(word: str) -> str:
    r"""Return ``word`` as it is written in a file, so that :func:`split` gives it back.

    >>> print(quote("lobby"), quote("2nd floor"), quote('a "b"'))
    lobby "2nd floor" "a \"b\""

    Raises:
        ConfigError: It has a NUL character, which HAProxy's files cannot hold.
    """
    if word and not _NEEDS_QUOTES.search(word):
        return word
    if "\0" in word:
        raise ConfigError("a NUL character cannot be written")
    text = re.sub(r'(["\\$])', r"\\\1", word)
    return '"' + text.replace("\n", r"\n").replace("\r", r"\r") + '"'


def parse_time(word: str, default_unit: str = "ms") -> float:
    """Return the seconds, 0 or more, that a time such as ``30s`` or ``5000`` stands for.

    Args:
        word: A whole number, and perhaps one of us, ms, s, m, h, d.
        default_unit: The unit of a number without one: ``ms`` for all but TCP keepalive.

    >>> parse_time("30m"), parse_time("250"), parse_time("60", "s")
    (1800.0, 0.25, 60.0)

    Raises:
        ConfigError: It is something else, or longer than HAProxy's timers (24.8 days).
    """
    match = _TIME.fullmatch(word)
    if match is None:
        raise ConfigError(
            f"a time is a whole number and us, ms, s, m, h or d, such as 90s, not {quoted(word)}"
        )
    number = _bounded(match[1])
    limit = MAX_MILLISECONDS * _MICROSECONDS["ms"]
    if number is None or (time := number * _MICROSECONDS[match[2] or default_unit]) > limit:
        raise ConfigError(f"a time is at most {MAX_MILLISECONDS}ms (24.8 days), not {quoted(word)}")
    return time / 1_000_000


def format_time(seconds: float) -> str:
    """Return ``seconds`` as it is written in a file, to the microsecond, in the largest unit.

    >>> format_time(1800.0), format_time(90.0), format_time(0.25)
    ('30m', '90s', '250ms')
    """
    limit = MAX_MILLISECONDS * _MICROSECONDS["ms"]
    time = min(max(round(seconds * 1_000_000), 1), limit)
    unit = [name for name, length in _MICROSECONDS.items() if time % length == 0][-1]
    return f"{time // _MICROSECONDS[unit]}{unit}"


def format_size(size: int) -> str:
    """Return ``size`` as it is written in a file.

    >>> format_size(204800), format_size(1000)
    ('200k', '1000')
    """
    suffix = [name for name, factor in _FACTORS.items() if size % factor == 0][-1]
    return f"{size // _FACTORS[suffix]}{suffix}"


def parse_size(word: str) -> int:
    """Return the number that a size such as ``200k`` stands for: k, m and g are powers of 1024.

    Raises:
        ConfigError: It is something else, or 2^32 or more.
    """
    match = _SIZE.fullmatch(word)
    if match is None:
        raise ConfigError(
            f"a size is a whole number and perhaps k, m or g, such as 200k, not {quoted(word)}"
        )
    number = _bounded(match[1])
    if number is None or (size := number * _FACTORS[match[2].lower()]) > MAX_SIZE:
        raise ConfigError(f"a size is at most {MAX_SIZE}, not {quoted(word)}")
    return size


def parse_integer(word: str, low: int = 0, high: int = MAX_INTEGER) -> int:
    """Return the number that ``word`` stands for.

    HAProxy reads ``5x`` as 5 and ``x`` as 0 in most places; that is refused here.

    Raises:
        ConfigError: It is not a whole number of ``low`` to ``high``.
    """
    number = None
    if _INTEGER.fullmatch(word):
        digits = _bounded(word.lstrip("-"))
        number = None if digits is None else -digits if word[0] == "-" else digits
    if number is None or not low <= number <= high:
        raise ConfigError(f"expects a whole number of {low} to {high}, not {quoted(word)}")
    return number


def parse_choice(word: str, kind: type[Choice]) -> Choice:
    """Return the member of ``kind`` that ``word`` names.

    Raises:
        ConfigError: It names none.
    """
    try:
        return kind(word)
    except ValueError:
        choices = " or ".join(kind) if len(kind) == 2 else f"one of {', '.join(kind)}"
        raise ConfigError(f"expects {choices}, not {quoted(word)}") from None


def _bounded(digits: str) -> int | None:
    """Return the number, or None when it is larger than anything here."""
    digits = digits.lstrip("0")
    return None if len(digits) > _MAX_DIGITS else int(digits or "0")


def parse_address(word: str) -> Address:
    """Return the parts of ``host``, ``host:port`` or ``host:first-last``.

    The last colon parts the host from the port, so an IPv6 address without a port needs brackets.
    ``*`` and nothing as a host are every IPv4 address.

    >>> parse_address(":5014-5019")
    Address(host='', port=5014, last_port=5019)
    >>> parse_address("[::1]:443")
    Address(host='::1', port=443, last_port=None)

    Raises:
        ConfigError: It is something else, such as the path of a UNIX socket.
    """
    if _PREFIX.match(word):
        raise ConfigError(
            f"{quoted(word)} is refused: this version knows IPv4 and IPv6 addresses and names, "
            "without a prefix"
        )
    host, colon, ports = word.rpartition(":")
    if not colon or "]" in ports:
        host, ports = word, ""
    host = "" if host in {"", "*"} else parse_host(host)
    if not ports:
        return Address(host)
    first, dash, last = ports.partition("-")
    if first[:1] in {"", "+"}:
        raise ConfigError(f"a port offset is not supported: {quoted(word)}")
    address = Address(host, _parse_port(first, word), _parse_port(last, word) if dash else None)
    if address.last_port is not None and not 0 < (address.port or 0) <= address.last_port:
        raise ConfigError(f"the port range is empty or starts at 0: {quoted(word)}")
    return address


def _parse_port(port: str, word: str) -> int:
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ConfigError(
            f"a port is a number of 0 to 65535, not {quoted(port)}: {quoted(word)}"
            + ("; write an IPv6 address in brackets" if word.count(":") > 1 else "")
        )
    return int(port)


def parse_host(word: str) -> str:
    """Return an IPv4 or IPv6 address or a host name, without the brackets that IPv6 may have.

    Raises:
        ConfigError: It is something else. A zone (``%eth0``) is, as it is for HAProxy.
    """
    bare = word[1:-1] if word[:1] == "[" and word[-1:] == "]" else word
    if bare is not word or ":" in word:
        if "%" in bare or not _is(ipaddress.IPv6Address, bare):
            raise ConfigError(
                f"{quoted(word)} is not an IPv6 address; with or without a port it is written "
                "in brackets, such as [2001:db8::1]:80"
            )
        return bare
    if _NUMERIC.fullmatch(word):
        if not _is(ipaddress.IPv4Address, word):
            raise ConfigError(f"{quoted(word)} is not an IPv4 address")
    elif len(word) > _MAX_HOST_NAME or not _HOST_NAME.fullmatch(word):
        raise ConfigError(f"{quoted(word)} is neither an address nor a host name")
    return word


def _is(family: Callable[[str], object], address: str) -> bool:
    try:
        family(address)
    except ValueError:
        return False
    return True
