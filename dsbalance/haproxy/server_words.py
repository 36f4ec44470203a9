"""The words of ``bind``, ``server`` and ``default-server`` lines. No I/O.

A ``default-server`` line changes what the server lines after it start from. Of a word that is given
twice on a line the last one counts, as in HAProxy, and a notice says so.

Source: HAProxy 2.6 configuration manual, 5.1 and 5.2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dsbalance.errors import ConfigError
from dsbalance.haproxy.keywords import Verdict, Word, words
from dsbalance.haproxy.lexer import parse_address, parse_integer, parse_time, quoted
from dsbalance.haproxy.statement import Arguments, Place
from dsbalance.hashring import MAX_WEIGHT
from dsbalance.model import Bind, Check, Server

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


@dataclass(slots=True)
class BindWords:
    """What a ``bind`` line sets."""

    name: str = ""
    v6only: bool | None = None


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
        timeout: ``timeout check``.
    """

    ports: tuple[int | None, ...] = ()
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
        v6only=draft.v6only,
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
        draft = replace(defaults)
        try:
            read_words(args, SERVER_WORDS, draft)
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


def read_default_server(args: Arguments, defaults: ServerWords) -> ServerWords:
    """Return what the servers after a ``default-server`` line start from.

    Raises:
        ConfigError: With every problem of the line.
    """
    draft = replace(defaults)
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
        maxconn=words_.maxconn,
        non_stick=words_.non_stick,
    )


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


def _parse_maxconn(word: str) -> int | None:
    return parse_integer(word) or None


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
    "name": _valued("name", str),
    "v4v6": _flag("v6only", value=False),
    "v6only": _flag("v6only", value=True),
    **words("""
        accept-netscaler-cip   1  proxy
        accept-proxy           0  proxy
        allow-0rtt             0  tls
        alpn                   1  tls
        backlog                1  none
        ca-file                1  tls
        ca-ignore-err          1  tls
        ca-sign-file           1  tls
        ca-sign-pass           1  tls
        ca-verify-file         1  tls
        ciphers                1  tls
        ciphersuites           1  tls
        crl-file               1  tls
        crt                    1  tls
        crt-ignore-err         1  tls
        crt-list               1  tls
        curves                 1  tls
        defer-accept           0  none
        ecdhe                  1  tls
        expose-fd              1  none
        force-sslv3            0  tls
        force-tlsv10           0  tls
        force-tlsv11           0  tls
        force-tlsv12           0  tls
        force-tlsv13           0  tls
        generate-certificates  0  tls
        gid                    1  none
        group                  1  none
        id                     1  none
        interface              1  lack  write the address of the interface
        level                  1  none
        maxconn                1  lack  write 'maxconn' in the section
        mode                   1  none
        mss                    1  lack
        namespace              1  lack
        nice                   1  none
        no-ca-names            0  tls
        no-sslv3               0  tls
        no-tls-tickets         0  tls
        no-tlsv10              0  tls
        no-tlsv11              0  tls
        no-tlsv12              0  tls
        no-tlsv13              0  tls
        npn                    1  tls
        prefer-client-ciphers  0  tls
        process                1  none
        proto                  1  http
        quic-cc-algo           1  http
        quic-force-retry       0  http
        severity-output        1  none
        shards                 1  none
        ssl                    0  tls
        ssl-max-ver            1  tls
        ssl-min-ver            1  tls
        strict-sni             0  tls
        tcp-ut                 1  lack  'option clitcpka' finds the dead
        tfo                    0  none
        thread                 1  none
        tls-ticket-keys        1  tls
        transparent            0  lack
        uid                    1  none
        user                   1  none
        verify                 1  tls
    """),
}

SERVER_WORDS: Mapping[str, Word] = {
    "addr": _valued("check_host", _parse_check_host),
    "backup": _flag("backup", value=True),
    "check": _flag("is_checked", value=True),
    "disabled": _flag("disabled", value=True),
    "downinter": _valued("down_interval", _parse_interval),
    "enabled": _flag("disabled", value=False),
    "fall": _valued("fall", _parse_streak),
    "fastinter": _valued("fast_interval", _parse_interval),
    "id": _valued("id", _parse_streak),
    # What every server does here; another method would start without an address.
    "init-addr": _valued("", _one_of("last,libc", "libc")),
    "inter": _valued("interval", _parse_interval),
    "maxconn": _valued("maxconn", _parse_maxconn),
    "no-backup": _flag("backup", value=False),
    "no-check": _flag("is_checked", value=False),
    "non-stick": _flag("non_stick", value=True),
    "on-marked-down": _valued("shutdown_on_down", _one_of("shutdown-sessions")),
    "port": _valued("check_port", _parse_port),
    "rise": _valued("rise", _parse_streak),
    "track": _valued("track", _parse_track),
    "weight": _valued("weight", _parse_weight),
    **words("""
        agent-addr            1  agent
        agent-check           0  agent
        agent-inter           1  agent
        agent-port            1  agent
        agent-send            1  agent
        allow-0rtt            0  tls
        alpn                  1  tls
        ca-file               1  tls
        check-alpn            1  tls
        check-proto           1  check
        check-send-proxy      0  proxy
        check-sni             1  tls
        check-ssl             0  tls
        check-via-socks4      0  lack
        ciphers               1  tls
        ciphersuites          1  tls
        cookie                1  http  clients stick by their address: 'stick on src'
        crl-file              1  tls
        crt                   1  tls
        error-limit           1  none
        force-sslv3           0  tls
        force-tlsv10          0  tls
        force-tlsv11          0  tls
        force-tlsv12          0  tls
        force-tlsv13          0  tls
        interface             1  lack
        log-proto             1  none
        max-reuse             1  none
        maxqueue              1  lack
        minconn               1  lack  write 'maxconn' alone
        namespace             1  lack
        no-agent-check        0  none
        no-check-send-proxy   0  none
        no-check-ssl          0  none
        no-send-proxy         0  none
        no-send-proxy-v2      0  none
        no-send-proxy-v2-ssl  0  none
        no-send-proxy-v2-ssl-cn  0  none
        no-ssl                0  none
        no-ssl-reuse          0  none
        no-sslv3              0  none
        no-tfo                0  none
        no-tls-tickets        0  none
        no-tlsv10             0  none
        no-tlsv11             0  none
        no-tlsv12             0  none
        no-tlsv13             0  none
        no-verifyhost         0  none
        npn                   1  tls
        observe               1  lack
        on-error              1  none
        on-marked-up          1  lack
        pool-low-conn         1  none
        pool-max-conn         1  none
        pool-purge-delay      1  none
        proto                 1  http
        proxy-v2-options      1  proxy
        redir                 1  http
        resolve-net           1  name
        resolve-opts          1  name
        resolve-prefer        1  name
        resolvers             1  name
        send-proxy            0  proxy
        send-proxy-v2         0  proxy
        send-proxy-v2-ssl     0  proxy
        send-proxy-v2-ssl-cn  0  proxy
        slowstart             1  lack  'rise' and 'inter' say how long a server must be well first
        sni                   1  tls
        socks4                1  lack
        source                1  lack
        ssl                   0  tls
        ssl-max-ver           1  tls
        ssl-min-ver           1  tls
        ssl-reuse             0  none
        stick                 0  none
        tcp-ut                1  lack  'option srvtcpka' finds the dead
        tfo                   0  none
        tls-tickets           0  none
        usesrc                1  lack
        verify                1  tls
        verifyhost            1  tls
        ws                    1  http
    """),
}

DEFAULT_SERVER_WORDS: Mapping[str, Word] = {
    **SERVER_WORDS,
    "id": Word(arguments=1, verdict=Verdict.REFUSED, reason="an id belongs on a server line"),
}
