"""The same commands to a HAProxy and to us: the same answers, but for those that are listed.

What differs from one moment to the next is masked: addresses in memory, dates, ages.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from actors import PATIENCE, Greeter, Peer, until
from dsbalance import Proxy
from dsbalance.haproxy.config import read
from processes import Process

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

CONFIGURATION = """\
global
    stats socket {folder}/{name}.sock level admin
    stats socket {folder}/{name}-operator.sock level operator
    stats socket {folder}/{name}-user.sock level user
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout client 20s
    timeout server 20s
frontend fe
    bind {host}:9001
    default_backend be
frontend gone
    bind {host}:9002
    default_backend other
listen li
    bind {host}:9003
    balance leastconn
    server l1 {server} check inter 1s
    server l2 127.0.0.1:9 backup disabled weight 7 maxconn 11
backend be
    stick-table type ip size 5 expire 60s
    stick on src
    server s1 {server} check inter 1s
    server s2 127.0.0.1:9 weight 10
    server s3 127.0.0.1:9 disabled
backend other
    balance source
    server o1 127.0.0.1:9
    server o2 [::1]:9 weight 20
    server t1 127.0.0.1:9 track be/s1
backend ring
    balance source
    hash-type consistent
    stick-table type ipv6 size 5k
    stick on src
    server h1 127.0.0.1:9 weight 20
    server hn 127.0.0.1
backend empty
"""


class Side(NamedTuple):
    """One of the two."""

    path: str

    def ask(self, data: str, level: str = "") -> str:
        """Return everything that comes back."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(f"{self.path}{level}.sock")
        with Peer(sock) as peer:
            return peer.say(data.encode()).take(1 << 24).decode()


@pytest.fixture
def greeter(loopback: Callable[[], str]) -> Iterator[Greeter]:
    """The server that is checked."""
    greeter = Greeter("a", loopback())
    yield greeter
    greeter.close()


@pytest.fixture
def sides(
    tmp_path: Path, loopback: Callable[[], str], greeter: Greeter
) -> Iterator[tuple[Side, Side]]:
    """HAProxy and us, with the same configuration, all servers in a settled state."""
    files = {}
    for name in ("theirs", "ours"):
        files[name] = tmp_path / f"{name}.cfg"
        text = CONFIGURATION.format(
            folder=tmp_path,
            name=name,
            host=loopback(),
            server=f"{greeter.host}:{greeter.port}",
        )
        files[name].write_text(text, encoding="utf-8")
    theirs, ours = Side(str(tmp_path / "theirs")), Side(str(tmp_path / "ours"))
    reading = read([("ours.cfg", files["ours"].read_text(encoding="utf-8"))])
    with (
        Process(HAPROXY or "", "-db", "-f", str(files["theirs"])),
        Proxy(reading.config),
    ):
        until(lambda: Path(f"{theirs.path}-user.sock").exists())
        for side in (theirs, ours):
            until(lambda side=side: side.ask("show stat\n").count("L4OK") == 2)  # type: ignore[misc]
        yield theirs, ours


# --- the script --------------------------------------------------------------------------------

SCRIPT = Path(__file__).parent / "data" / "runtime-script.json"

PASSING = (
    (r"0x[0-9a-f]+: ", "PTR: "),
    (r"exp=\d+", "exp=N"),
    (r"\[\d\d/\w+/\d{4}:[\d:.]+\]", "[date]"),
    (r"idle_per_thr\[\d+\]", "idle_per_thr[N]"),
    # How long each server is what it is, and the connections of checks, which we do not count.
    (r"(?m)^(\d+ \w+ \d+ \w+ \S+ \d \d+ \d+ \d+) \d+ ", r"\1 SINCE "),
    (r"(?m)( - 5000 \d+) \d+ \d+( 0 0 -1 \d+)( \d+)+$", r"\1 MAX EST\2"),
    # Who writes an id writes a name, here.
    (r"server_key=\S+", "server_key=NAME"),
    (r"unix@\S+/(theirs|ours)", "unix@"),
)


def masked(text: str) -> str:
    """Return an answer without what nobody could have foreseen."""
    for pattern, plain in PASSING:
        text = re.sub(pattern, plain, text)
    return text


def test_the_same_commands_have_the_same_answers(
    sides: tuple[Side, Side], greeter: Greeter
) -> None:
    theirs, ours = sides
    script = json.loads(SCRIPT.read_text(encoding="utf-8"))["commands"]
    wrong = []
    for line, reason in script:
        command = line.replace("PORT", str(greeter.port)) + "\n"
        expected, told = masked(theirs.ask(command)), masked(ours.ask(command))
        if (told == expected) is (reason is not None):
            wrong.append((line, reason, expected, told))
    assert wrong == []


# --- how it is said ------------------------------------------------------------------------------


SAID = [
    "show cli level;show peers\n",
    "show cli level\nshow peers\n",
    "show cli level\r\n",
    "get weight be\\/s1\n",
    "show env a\\;b\n",
    'show env "HOME"\n',
    "show\tcli  level\n",
    "quit;show cli level\n",
    "show cli level;quit;show cli level\n",
    "user;show cli level;operator;set weight be/s1 1\n",
    "operator;show cli level;operator;user;operator;show cli level\n",
    "prompt\nshow cli level\nquit\n",
    "prompt;show cli level;show peers\nquit\n",
    "prompt\nshow cli level\nprompt\n",
    "prompt\nshow cli level\nprompt\nshow peers\n",
    "prompt\nget weight foo\nset weight be/s1 abc\nset weight be/s1 1\nquit\n",
    "show cli level <<\nfoo\nbar\n\nshow peers\n",
    "show cli level\n" * 2000,
    "show env " + "a" * 15000 + "\n",
]


def test_it_is_said_and_heard_in_the_same_way(sides: tuple[Side, Side]) -> None:
    theirs, ours = sides
    told = {data: (theirs.ask(data), ours.ask(data)) for data in SAID}
    assert [data for data, (their, our) in told.items() if their != our] == []


def test_the_levels_allow_the_same(sides: tuple[Side, Side]) -> None:
    theirs, ours = sides
    script = json.loads(SCRIPT.read_text(encoding="utf-8"))["commands"]
    lines = dict.fromkeys(line for line, reason in script if reason is None)
    unequal = []
    for level in ("-operator", "-user"):
        for line in lines:
            answers = [side.ask(f"{line}\n", level) for side in (theirs, ours)]
            denied = ["Permission denied" in answer for answer in answers]
            # HAProxy looks first whether a user could write a table if he might.
            if denied[0] != denied[1] and not line.startswith(("set table", "clear table")):
                unequal.append((level, line))
    assert unequal == []
