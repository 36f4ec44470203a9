"""State files between us and a HAProxy that runs beside the test, in both directions."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from actors import PATIENCE, Peer, until
from dsbalance import Proxy
from dsbalance.haproxy.config import read
from dsbalance.haproxy.server_state import ServerRecord, parse, write
from dsbalance.model import Config
from processes import Process

# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

# What is asked of the one, and comes to the other by its file.
ASKED = (
    "set server be/drained state drain",
    "set server be/resting state maint",
    "set server be/down health down",
    "set server be/ending health stopping",
    "set server be/heavy weight 77",
    "set server be/moved addr 127.0.0.1 port 4444",
)
NAMES = ("drained", "resting", "down", "ending", "heavy", "moved", "plain")


def configuration(folder: Path, host: str) -> str:
    return "\n".join(
        [
            *("global", f"stats socket {folder}/api.sock level admin"),
            f"server-state-file {folder}/state",
            *("defaults", "mode tcp", "timeout connect 1s", "timeout client 9s"),
            *("timeout server 9s", "load-server-state-from-file global"),
            *("listen be", f"bind {host}:9001"),
            *(f"server {name} 127.0.0.1:4000 weight 10" for name in NAMES),
            "server off 127.0.0.1:4001 disabled",
            "server checked 127.0.0.1:4002 check inter 1h",
            "server follows 127.0.0.1:4003 track be/checked",
            "",
        ]
    )


def ask(folder: Path, line: str) -> str:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(f"{folder}/api.sock")
    with Peer(sock) as peer:
        return peer.say(f"{line}\n".encode()).take(1 << 20).decode()


def state_of_haproxy(folder: Path, text: str, *asked: str) -> str:
    """Run a HAProxy until it has done what is asked, and return what its servers are like."""
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    with Process(HAPROXY or "", "-db", "-f", str(file)):
        until((folder / "api.sock").exists)
        # The first check has ended: nothing else is going to happen.
        until(lambda: "L4CON" in ask(folder, "show stat"))
        for line in asked:
            assert "o such" not in ask(folder, line)
        return ask(folder, "show servers state")


def state_of_ours(text: str, change: Callable[[Proxy], None]) -> str:
    """Run a proxy of ours likewise; it needs no socket."""
    config = read([("x.cfg", text)]).config
    with Proxy(Config(frontends=config.frontends, backends=config.backends)) as proxy:
        change(proxy)
        return "".join(write(proxy.snapshot().backends))


def told(text: str) -> dict[str, tuple[object, ...]]:
    """Return what of each server is to come over, by its name."""
    found = parse(text)
    assert found.problems == ()
    return {record.name: told_of(record) for record in found.servers}


def told_of(record: ServerRecord) -> tuple[object, ...]:
    weights = record.weight, record.initial_weight
    return (record.op, record.admin, *weights, record.host, record.port)


def test_what_haproxy_has_written_is_read_and_written_the_same(
    tmp_path: Path, loopback: Callable[[], str]
) -> None:
    text = state_of_haproxy(tmp_path, configuration(tmp_path, loopback()), *ASKED)
    found = parse(text)
    assert found.problems == ()
    assert [str(record) for record in found.servers] == text.splitlines()[2:-1]
    assert len(found.servers) == len(NAMES) + 3


def test_what_we_have_written_is_what_a_haproxy_begins_with(
    tmp_path: Path, loopback: Callable[[], str]
) -> None:
    text = configuration(tmp_path, loopback())

    def change(proxy: Proxy) -> None:
        proxy.drain("be/drained")
        proxy.maint("be/resting")
        proxy.set_health("be/down", "down")
        proxy.set_health("be/ending", "stopping")
        proxy.set_weight("be/heavy", 77)
        until(lambda: proxy.snapshot().backends[0].servers[-1].op == 0)

    ours = state_of_ours(text, change)
    (tmp_path / "state").write_text(ours, encoding="utf-8")
    assert told(state_of_haproxy(tmp_path, text)) == told(ours)


def test_both_write_the_same_of_the_same(tmp_path: Path, loopback: Callable[[], str]) -> None:
    text = configuration(tmp_path, loopback())
    asked = [line for line in ASKED if "addr" not in line]
    theirs = state_of_haproxy(tmp_path, text, *asked)

    def change(proxy: Proxy) -> None:
        proxy.drain("be/drained")
        proxy.maint("be/resting")
        proxy.set_health("be/down", "down")
        proxy.set_health("be/ending", "stopping")
        proxy.set_weight("be/heavy", 77)
        until(lambda: proxy.snapshot().backends[0].servers[-1].op == 0)

    ours = state_of_ours(text, change)
    assert [_without_age(record) for record in parse(ours).servers] == [
        _without_age(record) for record in parse(theirs).servers
    ]


def _without_age(record: ServerRecord) -> str:
    return str(record._replace(seconds_in_state=0))
