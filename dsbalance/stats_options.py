"""Who may see and steer a proxy, as frozen values: pages and sockets of statistics. No I/O.

Each value is validated where it is made, and raises :class:`ConfigError`. No message, no log line
and no ``repr`` has a password in it.

Source: HAProxy 2.6 configuration manual, 3.1 (``stats socket``) and 4.2 (``stats ...``).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dsbalance.conditions import Condition
from dsbalance.errors import ConfigError
from dsbalance.validation import demand, durations, identifier, repeated, text_line, whole

DEFAULT_URI = "/haproxy?stats"
DEFAULT_REALM = "HAProxy Statistics"
MAX_PATH = 107
"""Bytes of the path of a Unix socket: ``sun_path`` of unix(7) with its end."""

# What a request line has as its target.
_URI = re.compile(r"/[\x21-\x7e]*")
# What HAProxy takes as the name of a machine.
_NODE = re.compile(r"[A-Za-z0-9_.-]*")
_MAX_PORT = 65535
_MAX_ID = 2**32 - 1


class Level(enum.IntEnum):
    """What who asks at a socket may do; each may do what those below it may."""

    USER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsPage:
    """``stats ...`` of a proxy in ``mode http``: where its statistics are shown, and to whom.

    Attributes:
        uri: Each target that begins with it is ours to answer (``stats uri``).
        refresh: After so many seconds the page is loaded anew (``stats refresh``); None: never.
        users: Names and passwords, one of which is to be given (``stats auth``); none: to anybody.
        realm: What the browser shows to who is asked for them (``stats realm``).
        admin: Who may change something (``stats admin``): True: everybody, a condition: whoever it
            holds for; False: nobody.
        hides_version: Whether the version is kept to ourselves (``stats hide-version``).
        node: The name to show (``stats show-node``); None: none, empty: that of the machine.
        description: Likewise (``stats show-desc``); empty: that of the configuration.
        shows_legends: Whether addresses and the like are shown (``stats show-legends``).
        scope: The sections to show (``stats scope``), ``.`` is this one; none: all of them.
    """

    uri: str = DEFAULT_URI
    refresh: float | None = None
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    realm: str = DEFAULT_REALM
    admin: bool | Condition = False
    hides_version: bool = False
    node: str | None = None
    description: str | None = None
    shows_legends: bool = False
    scope: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        demand(
            None
            if _URI.fullmatch(self.uri)
            else f"the uri begins with / and has no spaces, not {self.uri!r}",
            *durations(self, "refresh"),
            *_users(self.users),
            text_line("the realm", self.realm),
            node_name(self.node or ""),
            text_line("the description", self.description or None),
            *(identifier(name, "a scope") for name in self.scope),
        )

    @property
    def condition(self) -> Condition | None:
        """On whom it depends whether he may change something; None: on nobody."""
        return self.admin if isinstance(self.admin, Condition) else None


def _users(users: tuple[tuple[str, str], ...]) -> Iterator[str | None]:
    """Yield what is wrong with names and passwords, and no password."""
    for name, password in users:
        if not name or ":" in name:
            # Basic authentication takes what is before the first colon as the name: RFC 7617, 2.
            yield f"the name of a user is not empty and has no colon, not {name!r}"
        yield text_line("the name of a user", name or None)
        if text_line("a password", password or None) is not None:
            yield f"the password of {name!r} has a control character, or is no text"
    yield from repeated("user", [name for name, _ in users])


def node_name(name: str) -> str | None:
    """Return what is wrong with the name of a machine."""
    if _NODE.fullmatch(name):
        return None
    return f"a node is made of letters, digits and '-_.', not {name!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSocket:
    """``stats socket``: where the runtime API is spoken.

    Attributes:
        path: Of a Unix socket; None: it is a TCP port.
        host: Of the TCP port: an address; empty: every IPv4 address.
        port: The TCP port; 0 lets the system choose.
        mode: Permissions of the Unix socket.
        user: Who is to own it, a name or a number; None: whoever runs us.
        group: Likewise.
        level: What may be done there.
    """

    path: str | None = None
    host: str = ""
    port: int | None = None
    mode: int = 0o600
    user: str | int | None = None
    group: str | int | None = None
    level: Level = Level.OPERATOR

    def __post_init__(self) -> None:
        if not isinstance(self.level, Level):
            raise ConfigError(f"level must be one of {_LEVELS}, not {self.level!r}")
        demand(
            "it has a path or a port, one of them"
            if (self.path is None) is (self.port is None)
            else None,
            None if self.path is None else socket_path(self.path),
            whole("port", self.port, 0, _MAX_PORT, is_optional=True),
            whole("mode", self.mode, 0, 0o7777),
            _owner("user", self.user),
            _owner("group", self.group),
            subject="stats socket",
            name=self,
        )

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_LEVELS = ", ".join(level.name.lower() for level in Level)


def socket_path(path: str) -> str | None:
    """Return what is wrong with the path of a Unix socket."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "a path is text"
    if not path or "\0" in path:
        return f"a path is not empty and has no NUL character, not {path!r}"
    if size > MAX_PATH:
        return f"the path of a socket has at most {MAX_PATH} bytes, this one {size}"
    return None


def _owner(word: str, owner: str | int | None) -> str | None:
    if isinstance(owner, str):
        return text_line(f"the {word}", owner)
    return whole(word, owner, 0, _MAX_ID, is_optional=True)
