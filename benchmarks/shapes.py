"""Texts of any size that are made to take long to read, each in its own way.

One sign over and over, wherever it may stand; as many sections, lines, words or names as there is
room for; nothing but mistakes; and what chance makes of the words that there are. The tests count
the work that they are, and ``parsing.py`` times it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

Shape = Callable[[int], str]

SIGNS = {
    "newlines": "\n",
    "carriage returns": "\r",
    "spaces": " ",
    "quotes": '"',
    "apostrophes": "'",
    "backslashes": "\\",
    "hashes": "#",
    "dollars": "$",
    "braces": "${",
    "digits": "9",
    "letters": "a",
    "dots": ".",
    "colons": ":",
    "commas": ",",
    "slashes": "/",
    "brackets": "[",
    "NUL": "\0",
    "surrogates": "\udcff",
}
# What stands before so many signs, and behind them.
PLACES = {
    "alone": ("", ""),
    "in a word": ("listen a\nserver s ", "\n"),
    "in quotes": ('listen a\nserver "', '"\n'),
    "as a time": ("listen a\ntimeout connect ", "\n"),
    "as a number": ("listen a\nmaxconn ", "\n"),
    "as an address": ("listen a\nbind ", "\n"),
}
# What stands first, and what is repeated behind it.
REPEATED = {
    "line ends and signs": ("listen a\n", "#\n'\n\"\n\\\n"),
    "words": ("listen a\n", "a "),
    "empty words": ("listen a\n", '"" '),
    "escapes": ("listen a\n", "\\x41\\ \\"),
    "variables": ('listen a\n"', "$A"),
    "unset variables": ('listen a\n"', "$B"),
    "variables of many words": ('listen a\n"', "${A[*]}"),
    "defaults in defaults": ('listen a\n"', "${B-"),
    "one section": ("", "listen a\n"),
    "one defaults": ("", "defaults a\n"),
    "defaults and its user": ("", "defaults a\nlisten b from a\n"),
    "one server": ("listen a\n", "server s h\n"),
    "one bind": ("listen a\n", "bind :1\n"),
    "addresses of one bind": ("listen a\nbind ", ":1,"),
    "words of a server": ("listen a\n", "server s h" + " disabled" * 60 + "\n"),
    "wrong words of a server": ("listen a\n", "server s h" + " weight x" * 30 + "\n"),
    "an option": ("listen a\n", "retries 1\n"),
    "checks": ("listen a\n", "tcp-check connect\n"),
    "sticks": ("listen a\nstick-table type ip size 1\n", "stick on src\n"),
    "what has no effect": ("global\n", "daemon\n"),
    "unknown words": ("listen a\n", "x\n"),
    "nearly known words": ("listen a\n", "option http-restrict-req-hdr-namez\n"),
    "our words": ("listen a\n", "#dsbalance: bounded-clients 101\n"),
    "our policies": ("listen a\n", "#dsbalance: policy a:b\n"),
}
# Likewise, with a running number.
NUMBERED = {
    "backends": ("", "backend {}\n"),
    "listens": ("", "listen {}\n"),
    "frontends": ("", "frontend {}\n"),
    "listens with a bind": ("", "listen {}\nbind :1\n"),
    "backends with a server": ("", "backend {}\nserver s h\n"),
    "backends without a table": ("", "backend {}\nstick on src\n"),
    "frontends of nothing": ("", "frontend {}\ndefault_backend z\n"),
    "disabled sections": ("", "listen {}\ndisabled\n"),
    "chain of defaults": ("defaults 0\n", "defaults d{0}\nlisten {0} from d{0}\n"),
    "binds": ("listen a\n", "bind :{}\n"),
    "servers": ("listen a\n", "server {} h\n"),
    "checked servers": (
        "listen a\noption tcp-check\n" + "tcp-check connect port 1\n" * 16,
        "server {} h:1 check\n",
    ),
    "servers of one id": ("listen a\n", "server {} h id 1\n"),
    "servers that track one": ("listen a\nserver s h:1 check\n", "server {} h track s\n"),
    "servers that track each other": ("listen a\n", "server {0} h track {0}\n"),
    "servers that track nothing": ("listen a\n", "server {0} h track b{0}/s\n"),
    "unset variables of many names": ('listen a\n"', "$B{}"),
    "policies": ("listen a\n", "#dsbalance: policy a{}:b\n"),
}


def repeated(head: str, unit: str, tail: str = "") -> Shape:
    """Return what makes a text of ``head`` and of ``unit`` over and over."""
    return lambda size: head + (unit * (size // len(unit) + 1))[: size - len(head)] + tail


def numbered(head: str, line: str) -> Shape:
    """Return what makes a text of ``head`` and of lines, each with its number."""

    def shape(size: int) -> str:
        parts = [head]
        left = size - len(head)
        for number in itertools.count():
            part = line.format(number)
            if len(part) > left:
                return "".join(parts)
            parts.append(part)
            left -= len(part)
        raise AssertionError

    return shape


def near_names(size: int) -> str:
    """Return many backends, and frontends that miss them by a letter that is misplaced."""
    frontends = "".join(
        f"frontend {number}\nbind :1\ndefault_backend gfedcba{number}\n" for number in range(20)
    )
    return numbered("", "backend abcdefg{}\n")(size - len(frontends)) + frontends


def last_is_tracked(size: int) -> str:
    """Return backends of one server each, which tracks the last one of all."""
    leader = "backend z\nserver s h:1 check\n"
    return numbered("", "backend {}\nserver s h track z/s\n")(size - len(leader)) + leader


def chance(size: int) -> str:
    """Return words and signs as chance has them, the same each time."""
    random_words = random.Random(size)
    words = [*" \n\n\n", *SIGNS.values()]
    for head, unit in (*REPEATED.values(), *NUMBERED.values()):
        words += f"{head} {unit}".replace("{}", "7").replace("{0}", "7").split(" ")[:20]
    parts = random_words.choices(words, k=size)
    return " ".join(parts)[:size]


FAMILIES: dict[str, dict[str, Shape]] = {
    "one sign": {
        f"{name} {place}": repeated(head, sign, tail)
        for name, sign in SIGNS.items()
        for place, (head, tail) in PLACES.items()
    },
    "the same again": {name: repeated(*shape) for name, shape in REPEATED.items()},
    "always another": {
        **{name: numbered(*shape) for name, shape in NUMBERED.items()},
        "near names": near_names,
        "backends that track the last": last_is_tracked,
    },
    "chance": {"words and signs": chance},
}
