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
    "as a network": ("listen a\nacl a src ", "\n"),
    "in a field": ("listen a\nmode http\nhttp-request set-header a ", "\n"),
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
    "lines of one acl": ("listen a\n", "acl a src ::1\n"),
    "networks of an acl": ("listen a\n", "acl a src" + " ::1" * 61 + "\n"),
    "numbers of an acl": ("listen a\n", "acl a dst_port" + " :1" * 61 + "\n"),
    "terms": ("listen a\n", "use_backend b if" + " TRUE" * 60 + "\n"),
    "terms turned round": ("listen a\n", "use_backend b if" + " !!! TRUE" * 30 + "\n"),
    "alternatives": ("listen a\n", "use_backend b if TRUE" + " or TRUE" * 30 + "\n"),
    "tests": ("listen a\n", "use_backend b if" + " { src ::1 }" * 15 + "\n"),
    "counters": ("listen a\nstick-table type ip size 1 store ", "conn_cur,"),
    "samples": ("listen a\nmode http\nhttp-request set-header a ", "%[src]%%"),
    "redirects": ("listen a\nmode http\n", "redirect scheme a\n"),
    "pages": ("listen a\nmode http\n", "errorfile 503 a\n"),
    "words of another mode": ("listen a\n", "option forwardfor\nstats a\n"),
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
    "acls": ("listen a\n", "acl a{} src ::1\n"),
    "acls and their use": ("listen a\n", "acl a{0} src ::1\nuse_backend a if a{0}\n"),
    "acls that are not there": ("listen a\n", "use_backend a if a{}\n"),
    "networks": (
        "listen a\n",
        "acl a src" + "".join(f" {n:x}::{{0:x}}" for n in range(30)) + "\n",
    ),
    "counted backends": ("listen a\nbind :1\n", "acl a nbsrv(b{}) 1\n"),
    "routes": ("listen a\nbind :1\n", "use_backend b{}\n"),
    "doors": (
        "",
        "frontend {}\nbind :1\ndefault_backend b\ntcp-request connection track-sc0 src\n",
    ),
    "rules of heads": (
        "listen a\nmode http\n",
        "http-request set-header a{} %[src]%%%[dst] if TRUE\n",
    ),
    "heads": (
        "defaults\nmode http\noption forwardfor\noption originalto\nmonitor-uri /\nredirect a\n"
        + "".join(f"option http-{word}\n" for word in ("keep-alive", "server-close"))
        + "".join(f"timeout http-{word} 1s\n" for word in ("request", "keep-alive"))
        + "".join(f"errorfile {status} a\n" for status in (400, 403, 408, 500, 502, 503, 504)),
        "listen {}\nbind :1\noption httpclose\n",
    ),
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


def long_acl(size: int) -> str:
    """Return one ACL of many lines, and as many conditions that have it."""
    half = repeated("listen a\n", "acl a src ::1\n")(size // 2)
    return half[: half.rindex("\n") + 1] + repeated("", "use_backend b if a !a\n")(size // 2)


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
        "one long acl": long_acl,
        "backends that track the last": last_is_tracked,
    },
    "chance": {"words and signs": chance},
}
