"""A balancer, ours or HAProxy, with a runtime API and statistics, in front of two servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors import PATIENCE, until
from dsbalance.remote import Remote, RemoteError
from processes import Process
from programs import DSBALANCE, HAPROXY, Standin

COMMANDS = {"dsbalance": DSBALANCE, "haproxy": (HAPROXY or "haproxy", "-db")}
# HAProxy is the control: what holds of both is a property of the client.
PROGRAMS = (
    "dsbalance",
    pytest.param(
        "haproxy",
        marks=pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed"),
    ),
)

_FILE = """\
global
    stats socket {socket} mode 600 level admin
    log {syslog} local0
defaults
    mode tcp
    log global
    option tcplog
    timeout client 1m
    timeout connect 3s
    timeout server 1m
    balance roundrobin
listen paragon
    bind {front}:5022
    stick-table type ip size 1k expire 30m
    stick on src
    default-server check inter 200ms fall 2 rise 2
    server primary-1 {first}:5022
    server primary-2 {second}:5022
listen paragon-http
    mode http
    option httplog
    bind {front}:5012
    server primary-1 {first}:5012 track paragon/primary-1
    server primary-2 {second}:5012 track paragon/primary-2
listen stats
    mode http
    bind {front}:8404
    http-request use-service prometheus-exporter if {{ path /metrics }}
    stats enable
    stats uri /haproxy?stats
"""


class Steered:
    """One of the two at work.

    Args:
        program: Which.
        folder: For its file and its socket.
        loopback: The fixture.
        stack: What ends the programs.
        syslog: Where its log goes; by default nobody hears it.

    Attributes:
        program: Which.
        front: Its address.
        socket: The path of its runtime API.
        remote: The same to be asked.
        process: It.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        loopback: Callable[[], str],
        stack: ExitStack,
        syslog: tuple[str, int] = ("127.0.0.1", 1),
    ) -> None:
        self.program = program
        self.front = loopback()
        self.socket = folder / f"{program}.sock"
        self.remote = Remote(str(self.socket), PATIENCE)
        servers = [
            stack.enter_context(Standin(f"primary-{number}", loopback(), (5022, 5012)))
            for number in (1, 2)
        ]
        file = folder / f"{program}.cfg"
        file.write_text(
            _FILE.format(
                socket=self.socket,
                front=self.front,
                syslog="{}:{}".format(*syslog),
                first=servers[0].host,
                second=servers[1].host,
            ),
            encoding="utf-8",
        )
        self.process = stack.enter_context(Process(*COMMANDS[program], "-f", str(file)))
        self.process.until_it_listens((self.front, 8404))
        until(self._answers)
        # Before its first check a server is but one failure from being down.
        self.until_it_is("paragon/primary-1", "UP")
        self.until_it_is("paragon/primary-2", "UP")

    def _answers(self) -> bool:
        try:
            self.remote.info()
        except RemoteError:
            return False
        return True

    def status(self, path: str) -> str:
        return next(row["status"] for row in self.remote.stat() if row.path == path)

    def until_it_is(self, path: str, status: str) -> None:
        until(lambda: self.status(path) == status)
