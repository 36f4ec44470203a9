"""The words of statistics: pages, the runtime API, and the state that servers begin with. No I/O.

    written                                      where statistics are shown
    stats ...                                    a page of the section, in ``mode http``
    http-request use-service prometheus-exporter the same numbers for Prometheus, at a path
    stats socket ...                             the runtime API, of the whole process

Any ``stats`` word of a section switches its page on, and the first one of a section forgets all
that its ``defaults`` have said of it: observed on HAProxy 2.6.12, as the rest is where the manual
is silent.

Source: HAProxy 2.6 configuration manual, 3.1, 4.2 and 5.1.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dsbalance.conditions import Condition
from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import PREDEFINED, read_condition
from dsbalance.haproxy.idle_words import IDLE_BIND_WORDS
from dsbalance.haproxy.keywords import Keyword, Verdict, Word, words
from dsbalance.haproxy.lexer import parse_address, parse_integer, parse_time, quoted
from dsbalance.haproxy.sections import GlobalSection, Section, StateSource
from dsbalance.haproxy.server_words import read_words
from dsbalance.haproxy.statement import Arguments
from dsbalance.stats_options import Level, StatsPage, StatsSocket, node_name
from dsbalance.validation import demand

_MODE = re.compile(r"0*[0-7]{1,4}")
_MAX_ID = 2**32 - 1
_NO_AUTH = "write 'stats auth', or 'http-request deny' with a condition on src"
_EVERYBODY = Condition(alternatives=((PREDEFINED["TRUE"],),))


# -- pages


def _page(section: Section) -> StatsPage:
    """Return what the section has said of its page so far."""
    http = section.own_http()
    if not section.has_own_stats or http.stats is None:
        section.has_own_stats = True
        http.stats = StatsPage()
    return http.stats


def _set(section: Section, **changes: object) -> None:
    page = _page(section)
    section.own_http().stats = replace(page, **changes)  # type: ignore[arg-type]


def _enable(section: Section, args: Arguments) -> None:
    args.end()
    _page(section)


def _text(field: str, expected: str) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        _set(section, **{field: args.only(expected)})

    return parse


def _flag(field: str) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        args.end()
        _set(section, **{field: True})

    return parse


def _refresh(section: Section, args: Arguments) -> None:
    _set(section, refresh=parse_time(args.only("a time, such as 5s"), "s") or None)


def _auth(section: Section, args: Arguments) -> None:
    # A password may not get into a message, and what has no colon may be one.
    name, colon, password = args.take("USER:PASSWORD").partition(":")
    if args or not (name and colon):
        raise ConfigError("expects USER:PASSWORD, in one word: a space in it is written '\\ '")
    users = _page(section).users
    if name in dict(users):
        args.report.notice(args.place, f"{args.keyword}: {name} is there, the first one counts")
    else:
        _set(section, users=(*users, (name, password)))


def _admin(section: Section, args: Arguments) -> None:
    condition = read_condition(args, section)
    if condition is None:
        raise ConfigError("expects if or unless, and a condition: 'if TRUE' is everybody")
    page = _page(section)
    admin: bool | Condition = True
    if page.admin is not True and condition != _EVERYBODY:
        admin = _either(page.admin, condition)
    _set(section, admin=admin)


def _either(before: Condition | bool, condition: Condition) -> Condition:
    """Return what holds when one of the two does."""
    if isinstance(before, bool):
        return condition
    if before.is_unless or condition.is_unless:
        raise ConfigError("of several lines none has unless; write '!' before the ACL")
    return Condition(alternatives=before.alternatives + condition.alternatives)


def _scope(section: Section, args: Arguments) -> None:
    name = args.only("the name of a section, or . for this one")
    scope = _page(section).scope
    if name not in scope:
        _set(section, scope=(*scope, name))


def _rest(args: Arguments) -> str:
    """Return all words that are left, at least one, with a space between them."""
    found = [args.take("a text")]
    while args:
        found.append(args.take("a text"))
    return " ".join(found)


def _show_node(section: Section, args: Arguments) -> None:
    _set(section, node=args.only("the name of this machine") if args else "")


def _show_desc(section: Section, args: Arguments) -> None:
    _set(section, description=_rest(args) if args else "")


def _id(section: Section, args: Arguments) -> None:
    section.id = parse_integer(args.only("a number"), 1)


def _description(section: Section, args: Arguments) -> None:
    section.description = _rest(args)


def _socket_stats(section: Section, args: Arguments) -> None:
    args.end()
    section.settings.counts_listeners = not args.is_negated


# -- the state of servers


def _state_source(section: Section, args: Arguments) -> None:
    word = args.only("global, local or none")
    if word not in set(StateSource):
        raise ConfigError(f"expects global, local or none, not {quoted(word)}")
    section.settings.state_source = StateSource(word)


def _state_file_name(section: Section, args: Arguments) -> None:
    word = args.take("a file") if args else "use-backend-name"
    args.end()
    section.settings.state_file_name = None if word == "use-backend-name" else word


def _page_row(
    sections: str, parse: Callable[[Section, Arguments], None], *, repeats: bool = False
) -> Keyword:
    return Keyword(sections=sections, parse=parse, repeats=repeats, is_http=True)


STATS_WORDS: Mapping[str, Keyword] = {
    "description": Keyword(sections="FLB", parse=_description),
    "id": Keyword(sections="FLB", parse=_id),
    "load-server-state-from-file": Keyword(sections="DLB", parse=_state_source),
    "option socket-stats": Keyword(sections="DFL", is_option=True, parse=_socket_stats),
    "server-state-file-name": Keyword(sections="DLB", parse=_state_file_name),
    "stats admin": _page_row("FLB", _admin, repeats=True),
    "stats auth": _page_row("DFLB", _auth, repeats=True),
    "stats enable": _page_row("DFLB", _enable),
    "stats hide-version": _page_row("DFLB", _flag("hides_version")),
    "stats http-request": Keyword(
        sections="FLB",
        verdict=Verdict.REFUSED,
        reason=f"HAProxy has it, this version does not; {_NO_AUTH}",
        is_http=True,
    ),
    "stats realm": _page_row("DFLB", _text("realm", "a text")),
    "stats refresh": _page_row("DFLB", _refresh),
    "stats scope": _page_row("DFLB", _scope, repeats=True),
    "stats show-desc": _page_row("DFLB", _show_desc),
    "stats show-legends": _page_row("DFLB", _flag("shows_legends")),
    "stats show-modules": Keyword(sections="DFLB", verdict=Verdict.NO_EFFECT),
    "stats show-node": _page_row("DFLB", _show_node),
    "stats uri": _page_row("DFLB", _text("uri", "a target, such as /stats")),
}


# -- the whole process


@dataclass(slots=True)
class _SocketWords:
    """What a ``stats socket`` line sets; the fields are those of the model."""

    mode: int = 0o600
    user: str | int | None = None
    group: str | int | None = None
    level: Level = Level.OPERATOR


def _stats_socket(section: GlobalSection, args: Arguments) -> None:
    address = args.take("the path of a socket, or ADDRESS:PORT")
    draft = _SocketWords()
    if args:
        read_words(args, SOCKET_WORDS, draft)
    socket = StatsSocket(
        **_socket_address(address),  # type: ignore[arg-type]
        mode=draft.mode,
        user=draft.user,
        group=draft.group,
        level=draft.level,
    )
    if any(str(socket) == str(other) for other in section.sockets):
        raise ConfigError(f"{quoted(str(socket))} is given twice")
    section.sockets[socket] = args.place
    if socket.path is None and not _is_loopback(socket.host):
        message = f"{socket}: other machines reach it, and nobody is asked for a password"
        args.report.notice(args.place, f"{args.keyword}: {message}")


def _socket_address(word: str) -> dict[str, object]:
    """Return where a socket is, as the fields of the model."""
    # As HAProxy: what has no colon is a path, relative to the directory in which we start.
    if word.startswith("/") or not (":" in word or "@" in word or word.isdecimal()):
        return {"path": word}
    prefix, at, rest = word.rpartition("@")
    if at and prefix == "unix":
        return {"path": rest}
    if at and prefix not in {"ipv4", "ipv6"}:
        raise ConfigError(f"expects a path, unix@PATH or ADDRESS:PORT, not {quoted(word)}")
    address = parse_address(rest)
    if not address.port or address.last_port is not None:
        raise ConfigError(f"expects a path or ADDRESS:PORT, not {quoted(word)}")
    return {"host": address.host, "port": address.port}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_mode(word: str) -> int:
    if not _MODE.fullmatch(word):
        raise ConfigError(f"expects an octal number such as 660, not {quoted(word)}")
    return int(word, 8)


def _parse_level(word: str) -> Level:
    if word not in _LEVELS:
        raise ConfigError(f"expects one of {', '.join(_LEVELS)}, not {quoted(word)}")
    return _LEVELS[word]


def _parse_id(word: str) -> int:
    return parse_integer(word, 0, _MAX_ID)


_LEVELS = {level.name.lower(): level for level in Level}

# What a `bind` line may have, a socket line may have too; only these mean something there.
SOCKET_WORDS: Mapping[str, Word] = {
    **IDLE_BIND_WORDS,
    **words("""
        accept-proxy     0  lack
        id               1  none
        name             1  none
        severity-output  1  lack
        v4v6             0  none
        v6only           0  none
    """),
    "gid": Word(arguments=1, field="group", parse=_parse_id),
    "group": Word(arguments=1, field="group", parse=str),
    "level": Word(arguments=1, field="level", parse=_parse_level),
    "mode": Word(arguments=1, field="mode", parse=_parse_mode),
    "uid": Word(arguments=1, field="user", parse=_parse_id),
    "user": Word(arguments=1, field="user", parse=str),
}


def _stats_timeout(section: GlobalSection, args: Arguments) -> None:
    seconds = parse_time(args.only("a time, such as 30s"))
    if not seconds:
        raise ConfigError("must be longer than 0")
    section.timeout_stats = seconds


def _stats_maxconn(section: GlobalSection, args: Arguments) -> None:
    section.maxconn_stats = parse_integer(args.only("a number of connections"), 1)


def _node(section: GlobalSection, args: Arguments) -> None:
    name = args.only("the name of this machine")
    demand(node_name(name))
    section.node = name


def _global_description(section: GlobalSection, args: Arguments) -> None:
    section.description = _rest(args)


def _state_file(section: GlobalSection, args: Arguments) -> None:
    path = args.only("a file")
    # Of this word HAProxy keeps the first.
    if section.state_file is None:
        section.state_file = path
    else:
        args.report.notice(args.place, f"{args.keyword}: given before, the first one counts")


def _state_base(section: GlobalSection, args: Arguments) -> None:
    section.state_base = args.only("a directory")


STATS_PROCESS_WORDS: Mapping[str, Keyword] = {
    "description": Keyword(sections="G", parse=_global_description),
    "node": Keyword(sections="G", parse=_node),
    "server-state-base": Keyword(sections="G", parse=_state_base),
    "server-state-file": Keyword(sections="G", parse=_state_file),
    "stats bind-process": Keyword(sections="G", verdict=Verdict.NO_EFFECT),
    "stats maxconn": Keyword(sections="G", parse=_stats_maxconn),
    "stats socket": Keyword(sections="G", parse=_stats_socket),
    "stats timeout": Keyword(sections="G", parse=_stats_timeout),
}
