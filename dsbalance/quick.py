"""A proxy for any TCP service: from addresses on a command line to a Config. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsbalance.errors import ConfigError
from dsbalance.haproxy.lexer import parse_address
from dsbalance.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Config,
    Frontend,
    HashKind,
    HashType,
    Server,
    StickRule,
    Table,
)

# Idle cuts are the first complaint about balancers in front of devices: an hour, as for the suite.
IDLE_TIMEOUT = 3600.0
# The size of the suite's table: a source address costs some 130 bytes.
TABLE_SIZE = 200 * 1024

_NAME = "quick"


def quick(  # noqa: PLR0913 - the options of a command
    *,
    listen: Sequence[str],
    servers: Sequence[str],
    backups: Sequence[str] = (),
    balance: Balance = Balance.ROUNDROBIN,
    stick: float | None = None,
    policy: object | None = None,
    is_checked: bool = True,
    maxconn: int | None = None,
) -> Config:
    """Return a proxy with one frontend and one backend, both called ``quick``.

    A server that does not answer is left for another one within the same connection.

    Args:
        listen: ``host:port`` or ``host:first-last`` to accept on; no host: every IPv4 address.
        servers: ``host:port``, or a host alone for the port that the client came to.
        backups: The same, for when no server is left.
        balance: How to choose; ``source`` hashes consistently.
        stick: Seconds that a client without sessions is sent to its server again; None: no table.
        policy: One of the user's own, in place of ``balance``.
        is_checked: Whether servers are watched: every 2 s, down after 3 failures, up after 2.
        maxconn: Sessions at a time; None: what the descriptors allow.

    >>> config = quick(listen=[":9100"], servers=["10.0.0.11:9100", "10.0.0.12:9100"])
    >>> [server.name for server in config.backends[0].servers]
    ['server-1', 'server-2']

    Raises:
        ConfigError: An address is wrong, or something else that a configuration refuses.
    """
    check = Check() if is_checked else None
    return Config(
        frontends=(
            Frontend(
                name=_NAME,
                binds=tuple(map(_bind, listen)),
                backend=_NAME,
                timeout_client=IDLE_TIMEOUT,
            ),
        ),
        backends=(
            Backend(
                name=_NAME,
                servers=(
                    *_servers("server", servers, check),
                    *_servers("backup", backups, check),
                ),
                balance=balance,
                hash_type=HashType(kind=HashKind.CONSISTENT),
                policy=policy,
                table=None if stick is None else Table(size=TABLE_SIZE, expire=stick),
                stick=() if stick is None else (StickRule(),),
                redispatch=1,
                timeout_server=IDLE_TIMEOUT,
            ),
        ),
        maxconn=maxconn,
    )


def _bind(text: str) -> Bind:
    host, port, last_port = parse_address(text)
    if port is None:
        raise ConfigError(f"an address to listen on is host:port or :port, not {text!r}")
    return Bind(host=host, port=port, last_port=last_port)


def _servers(word: str, texts: Sequence[str], check: Check | None) -> Iterator[Server]:
    for number, text in enumerate(texts, 1):
        host, port, last_port = parse_address(text)
        if last_port is not None:
            raise ConfigError(f"a server has one port or none, not {text!r}")
        if check is not None and port is None:
            raise ConfigError(f"{text!r} has no port, so it cannot be checked: give it one")
        yield Server(
            name=f"{word}-{number}",
            host=host,
            port=port,
            check=check,
            backup=word == "backup",
        )
