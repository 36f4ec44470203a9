"""The words of ``bind``, ``server`` and ``default-server`` lines. No I/O.

A ``default-server`` line changes what the server lines after it start from. Of a word that is given
twice on a line the last one counts, as in HAProxy, and a notice says so.

Source: HAProxy 2.6 configuration manual, 5.1 and 5.2; where it is silent, HAProxy 2.6.12 was
observed. Three words are of later versions: ``hash-key``, ``guid`` (3.0) and ``init-state`` (3.1).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dsbalance.errors import ConfigError
from dsbalance.haproxy.idle_words import IDLE_BIND_WORDS, IDLE_SERVER_WORDS
from dsbalance.haproxy.keywords import Verdict, Word
from dsbalance.haproxy.lexer import (
    parse_address,
    parse_choice,
    parse_integer,
    parse_time,
    quoted,
)
from dsbalance.haproxy.statement import Arguments, Place
from dsbalance.hashring import MAX_WEIGHT
from dsbalance.model import Bind, Check, Observe, Server
from dsbalance.words import HashKey, InitState, OnError, SendProxy

# A check is frozen, and mostly the same for all servers of a backend.
_check = functools.lru_cache(maxsize=8)(Check)


@dataclass(slots=True)
class ServerWords:
    """What a ``server`` or ``default-server`` line sets; the fields are those of the model."""

    is_checked: bool = False
    check_port: int | None = None
    check_host: str | None = None
    interval: float = 2.0
    fast_interval: float | None = None
    down_interval: float | None = None
    rise: int = 2
    fall: int = 3
    weight: int = 1
    backup: bool = False
    id: int | None = None
    disabled: bool = False
    track: str | None = None
    shutdown_on_down: bool = False
    maxconn: int | None = None
    non_stick: bool = False
    slowstart: float | None = None
    minconn: int | None = None
    maxqueue: int | None = None
    is_observed: bool = False
    error_limit: int = 10
    on_error: OnError = OnError.FAIL_CHECK
    shutdown_backups_on_up: bool = False
    init_state: InitState = InitState.UP
    hash_key: HashKey = HashKey.ID
    guid: str | None = None
    sends_proxy_v1: bool = False
    sends_proxy_v2: bool = False
    checks_send_proxy: bool = False

    def copy(self) -> ServerWords:
        """Return what a line starts from that takes these as its defaults."""
        # Several times faster than `dataclasses.replace`, for files of thousands of servers.
        return ServerWords(*_all_words(self))


_all_words: Callable[[ServerWords], tuple[Any, ...]] = operator.attrgetter(
    *(field.name for field in fields(ServerWords))
)


@dataclass(slots=True)
class BindWords:
    """What a ``bind`` line sets."""

    name: str = ""
    id: int | None = None
    v6only: bool | None = None
    accept_proxy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLine:
    """A ``server`` line; the server is made when its section has ended."""

    name: str
    host: str
    port: int | None
    words: ServerWords
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRules:
    """What a section says of checks, beside the words of its servers.

    Attributes:
        ports: Of each ``tcp-check connect``; None: the server's check port, or its port.
        send_proxy: Whether each of them has ``send-proxy``.
        timeout: ``timeout check``.
    """

    ports: tuple[int | None, ...] = ()
    send_proxy: bool = False
    timeout: float | None = None


def read_binds(args: Arguments) -> list[Bind]:
    """Return the binds of a line: addresses parted by commas, then words for all of them.

    Raises:
        ConfigError: With every problem of the line, up to 20 addresses that are wrong.
    """
    errors: list[ConfigError] = []
    given = args.take("ADDRESS:PORT, such as :5022 or [::]:5014-5019").removesuffix(",").split(",")
    draft = BindWords()
    try:
        if args:
            read_words(args, BIND_WORDS, draft)
    except ConfigError as error:
        errors.append(error)
    binds = []
    for word in given:
        try:
            binds.append(_bind(word, draft))
        except ConfigError as error:
            errors.append(error)
        if len(errors) > 20:  # it may be one of nothing but commas
            break
    if errors:
        raise ConfigError.join(errors)
    return binds


def _bind(word: str, draft: BindWords) -> Bind:
    address = parse_address(word)
    if address.port is None:
        raise ConfigError(f"expects ADDRESS:PORT, not {quoted(word)}")
    return Bind(
        host=address.host,
        port=address.port,
        last_port=address.last_port,
        name=draft.name,
        id=draft.id,
        v6only=draft.v6only,
        accept_proxy=draft.accept_proxy,
    )


def read_server(args: Arguments, defaults: ServerWords) -> ServerLine:
    """Return a ``server`` line whose words start from ``defaults``.

    Raises:
        ConfigError: With every problem of the line.
    """
    name = args.take("NAME ADDRESS")
    args.keyword = f"server {name}"
    errors: list[ConfigError] = []
    host, port = "", None
    try:
        host, port = _server_address(args.take("an address after the name"))
    except ConfigError as error:
        errors.append(error)
    draft = defaults
    if args:
        draft = defaults.copy()
        try:
            read_words(args, SERVER_WORDS, draft)
            _note_no_effect(args, draft, defaults)
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise ConfigError.join(errors)
    return ServerLine(name=name, host=host, port=port, words=draft, place=args.place)


def _server_address(word: str) -> tuple[str, int | None]:
    address = parse_address(word)
    if address.last_port is not None:
        raise ConfigError(f"a server has one port: {quoted(word)}")
    if not address.host:
        raise ConfigError(
            f"{quoted(word)} is the address that the client came to, which is refused: "
            "name the server's own"
        )
    # HAProxy takes port 0 for no port.
    return address.host, address.port or None


def _note_no_effect(args: Arguments, own: ServerWords, inherited: ServerWords) -> None:
    """Add a notice for what a line says beyond its defaults and cannot have, as in HAProxy."""
    found = []
    if not own.is_checked and own.is_observed > inherited.is_observed:
        found.append("observe has no effect without 'check'")
    if not own.is_checked and own.init_state is not inherited.init_state:
        found.append("init-state has no effect without 'check'")
    if not own.is_observed and own.error_limit != inherited.error_limit:
        found.append("error-limit has no effect without 'observe'")
    if not own.is_observed and own.on_error is not inherited.on_error:
        found.append("on-error has no effect without 'observe'")
    limits = own.minconn, own.maxconn
    if limits != (inherited.minconn, inherited.maxconn) and limits != _limits(own):
        found.append(f"minconn needs a higher maxconn; both are taken as {own.minconn}")
    for message in found:
        args.report.notice(args.place, f"{args.keyword}: {message}")


def read_default_server(args: Arguments, defaults: ServerWords) -> ServerWords:
    """Return what the servers after a ``default-server`` line start from.

    Raises:
        ConfigError: With every problem of the line.
    """
    draft = defaults.copy()
    read_words(args, DEFAULT_SERVER_WORDS, draft)
    return draft


def read_words(args: Arguments, rows: Mapping[str, Word], draft: object) -> None:
    """Read the rest of a line into ``draft``.

    Raises:
        ConfigError: With every problem up to the first unknown word: how many of the words after
            that belong to it is not known.
    """
    problems: list[str] = []
    seen: set[str] = set()
    line = args.keyword.partition(" ")[0]
    while args:
        word = args.take("a word")
        if word not in rows:
            problems.append(args.report.unknown(word, f"on a {line} line", rows))
            break
        if word in seen:
            args.report.notice(
                args.place, f"{args.keyword}: {word} is given twice, the last one counts"
            )
        seen.add(word)
        try:
            _read_word(word, rows[word], args, draft)
        except ConfigError as error:
            problems += (f"{word}: {problem}" for problem in error.problems)
    if problems:
        raise ConfigError(*problems)


def _read_word(word: str, row: Word, args: Arguments, draft: object) -> None:
    if row.verdict is Verdict.REFUSED:
        args.skip(row.arguments)
        raise ConfigError(f"refused: {row.reason}")
    if row.verdict is Verdict.NO_EFFECT:
        args.skip(row.arguments)
        line = args.keyword.partition(" ")[0]
        args.report.no_effect(args.place, f"{word} on a {line} line")
    elif row.arguments:
        assert row.parse
        value = row.parse(args.take("a value"))
        if row.field:
            setattr(draft, row.field, value)
    else:
        setattr(draft, row.field, row.value)


def make_server(line: ServerLine, backend: str, rules: CheckRules) -> Server:
    """Return the server of a line in the backend of that name.

    Raises:
        ConfigError: A value is out of its range, or there is no port to check.
    """
    words_ = line.words
    track = words_.track
    if track is not None and "/" not in track:
        track = f"{backend}/{track}"
    minconn, maxconn = _limits(words_)
    return Server(
        name=line.name,
        host=line.host,
        port=line.port,
        weight=words_.weight,
        backup=words_.backup,
        id=words_.id,
        disabled=words_.disabled,
        check=_make_check(line, rules) if words_.is_checked else None,
        track=track,
        shutdown_on_down=words_.shutdown_on_down,
        maxconn=maxconn,
        non_stick=words_.non_stick,
        slowstart=words_.slowstart,
        minconn=minconn,
        maxqueue=words_.maxqueue,
        observe=_observe(words_.error_limit, words_.on_error)
        if words_.is_observed and words_.is_checked
        else None,
        shutdown_backups_on_up=words_.shutdown_backups_on_up,
        init_state=words_.init_state if words_.is_checked else InitState.UP,
        hash_key=words_.hash_key,
        guid=words_.guid,
        send_proxy=_send_proxy(words_),
        check_send_proxy=words_.is_checked and _checks_send_proxy(words_, rules),
    )


def _send_proxy(words_: ServerWords) -> SendProxy | None:
    """Return the header of a server that is told to send one, or both: then the second version."""
    if words_.sends_proxy_v2:
        return SendProxy.V2
    return SendProxy.V1 if words_.sends_proxy_v1 else None


def _checks_send_proxy(words_: ServerWords, rules: CheckRules) -> bool:
    """Return whether checks start with a header: as the rules say, or the server's own words.

    Checks of an address or a port of their own do so only where that is said.
    """
    if rules.ports:
        return rules.send_proxy
    is_elsewhere = words_.check_port is not None or words_.check_host is not None
    return words_.checks_send_proxy or (_send_proxy(words_) is not None and not is_elsewhere)


def _limits(words_: ServerWords) -> tuple[int | None, int | None]:
    """Return minconn and maxconn as HAProxy takes them: a minconn above maxconn replaces it."""
    if words_.minconn is None or words_.minconn <= (words_.maxconn or 0):
        return words_.minconn, words_.maxconn
    return None, words_.minconn


@functools.lru_cache(maxsize=8)
def _observe(error_limit: int, on_error: OnError) -> Observe:
    return Observe(error_limit=error_limit, on_error=on_error)


def _make_check(line: ServerLine, rules: CheckRules) -> Check:
    own = line.words.check_port
    ports: tuple[int, ...] = () if own is None else (own,)
    if any(rules.ports) or len(rules.ports) > 1:
        own = own or line.port
        ports = tuple(port for rule in rules.ports if (port := rule or own))
        if len(ports) < len(rules.ports):
            raise ConfigError(
                f"server {line.name}: it has neither a port nor a check port, "
                "and a 'tcp-check connect' names none"
            )
    return _check(
        ports=ports,
        host=line.words.check_host,
        interval=line.words.interval,
        fast_interval=line.words.fast_interval,
        down_interval=line.words.down_interval,
        rise=line.words.rise,
        fall=line.words.fall,
        timeout=rules.timeout,
    )


def _parse_interval(word: str) -> float:
    if not (seconds := parse_time(word)):
        raise ConfigError("must be longer than 0")
    return seconds


def _parse_streak(word: str) -> int:
    return parse_integer(word, 1)


def _parse_port(word: str) -> int:
    return parse_integer(word, 1, 65535)


def _parse_weight(word: str) -> int:
    return parse_integer(word, 0, MAX_WEIGHT)


def _parse_limit(word: str) -> int | None:
    return parse_integer(word) or None


def _parse_slowstart(word: str) -> float | None:
    return parse_time(word) or None


def _parse_observe(word: str) -> bool:
    if word == "layer7":
        raise ConfigError("layer7: HAProxy has it, this version does not; write layer4")
    if word not in {"none", "layer4"}:
        raise ConfigError(f"expects layer4 or none, not {quoted(word)}")
    return word == "layer4"


def _parse_on_error(word: str) -> OnError:
    return parse_choice(word, OnError)


def _parse_init_state(word: str) -> InitState:
    return parse_choice(word, InitState)


def _parse_hash_key(word: str) -> HashKey:
    return parse_choice(word, HashKey)


def _parse_check_host(word: str) -> str:
    address = parse_address(word)
    if not address.host or address.port is not None:
        raise ConfigError(f"expects an address without a port, not {quoted(word)}; see 'port'")
    return address.host


def _parse_track(word: str) -> str:
    if not all(word.split("/")) or word.count("/") > 1:
        raise ConfigError(f"expects SERVER or BACKEND/SERVER, not {quoted(word)}")
    return word


def _one_of(*accepted: str) -> Callable[[str], bool]:
    def parse(word: str) -> bool:
        if word not in accepted:
            raise ConfigError(f"expects {' or '.join(accepted)}, not {quoted(word)}")
        return True

    return parse


def _valued(field: str, parse: Callable[[str], object]) -> Word:
    return Word(arguments=1, field=field, parse=parse)


def _flag(field: str, value: object) -> Word:
    return Word(field=field, value=value)


BIND_WORDS: Mapping[str, Word] = {
    "accept-proxy": _flag("accept_proxy", value=True),
    "id": _valued("id", _parse_streak),
    "name": _valued("name", str),
    "v4v6": _flag("v6only", value=False),
    "v6only": _flag("v6only", value=True),
    **IDLE_BIND_WORDS,
}

SERVER_WORDS: Mapping[str, Word] = {
    "addr": _valued("check_host", _parse_check_host),
    "backup": _flag("backup", value=True),
    "check": _flag("is_checked", value=True),
    "check-send-proxy": _flag("checks_send_proxy", value=True),
    "disabled": _flag("disabled", value=True),
    "downinter": _valued("down_interval", _parse_interval),
    "enabled": _flag("disabled", value=False),
    "error-limit": _valued("error_limit", _parse_streak),
    "fall": _valued("fall", _parse_streak),
    "fastinter": _valued("fast_interval", _parse_interval),
    "guid": _valued("guid", str),
    "hash-key": _valued("hash_key", _parse_hash_key),
    "id": _valued("id", _parse_streak),
    # What every server does here; another method would start without an address.
    "init-addr": _valued("", _one_of("last,libc", "libc")),
    "init-state": _valued("init_state", _parse_init_state),
    "inter": _valued("interval", _parse_interval),
    "maxconn": _valued("maxconn", _parse_limit),
    "maxqueue": _valued("maxqueue", _parse_limit),
    "minconn": _valued("minconn", _parse_limit),
    "no-backup": _flag("backup", value=False),
    "no-check": _flag("is_checked", value=False),
    "no-check-send-proxy": _flag("checks_send_proxy", value=False),
    "no-send-proxy": _flag("sends_proxy_v1", value=False),
    "no-send-proxy-v2": _flag("sends_proxy_v2", value=False),
    "non-stick": _flag("non_stick", value=True),
    "observe": _valued("is_observed", _parse_observe),
    "on-error": _valued("on_error", _parse_on_error),
    "on-marked-down": _valued("shutdown_on_down", _one_of("shutdown-sessions")),
    "on-marked-up": _valued("shutdown_backups_on_up", _one_of("shutdown-backup-sessions")),
    "port": _valued("check_port", _parse_port),
    "rise": _valued("rise", _parse_streak),
    "send-proxy": _flag("sends_proxy_v1", value=True),
    "send-proxy-v2": _flag("sends_proxy_v2", value=True),
    "slowstart": _valued("slowstart", _parse_slowstart),
    "track": _valued("track", _parse_track),
    "weight": _valued("weight", _parse_weight),
    **IDLE_SERVER_WORDS,
}

DEFAULT_SERVER_WORDS: Mapping[str, Word] = {
    **SERVER_WORDS,
    "guid": Word(arguments=1, verdict=Verdict.REFUSED, reason="a guid belongs on a server line"),
    "id": Word(arguments=1, verdict=Verdict.REFUSED, reason="an id belongs on a server line"),
}
