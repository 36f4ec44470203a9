"""The file that ships runs unchanged under HAProxy and here, and both decide alike.

To run both at once each gets an address of its own: ``bind :5022`` becomes ``bind 127.x.y.z:5022``,
and the servers' addresses become those of three servers on this machine. Nothing else of the file
is touched, but in one test the interval of the checks, so that no check notices what is lost.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors import greeted_by
from processes import ROOT, Process
from programs import DSBALANCE, HAPROXY, Standin, answered_by, devices

SUITE = ROOT / "examples" / "suite.cfg"
# Those of the file, and the second port that Paragon's servers are checked on.
PORTS = (5012, *range(5014, 5020), 5022, 5555, 50808, 50809)

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
PROGRAMS = {
    "dsbalance": DSBALANCE,
    "haproxy": (HAPROXY or "haproxy",),
}


@pytest.mark.parametrize("program", ["dsbalance", pytest.param("haproxy", marks=needs_haproxy)])
def test_the_file_is_accepted_unchanged(program: str) -> None:
    command = [*PROGRAMS[program], "-c", "-f", str(SUITE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Configuration file is valid" in done.stdout
    assert "WARNING" not in done.stderr
    assert program == "haproxy" or done.stderr == ""


class Pair:
    """HAProxy and dsbalance in front of the same three servers.

    Args:
        text: The file.
        folder: For the two files that are made of it.
        loopback: The fixture.
        stack: What ends the programs.

    Attributes:
        fronts: Where each of them listens: HAProxy, then dsbalance.
        servers: In the order of the file.
    """

    def __init__(
        self, text: str, folder: Path, loopback: Callable[[], str], stack: ExitStack
    ) -> None:
        hosts = [loopback() for _ in range(3)]
        self.servers = [
            stack.enter_context(Standin(f"primary-{number}", host, PORTS))
            for number, host in enumerate(hosts, 1)
        ]
        self.fronts: list[str] = []
        for command in ((HAPROXY or "haproxy", "-db"), DSBALANCE):
            front = loopback()
            file = folder / f"{front}.cfg"
            file.write_text(moved(text, front, hosts), encoding="utf-8")
            program = stack.enter_context(Process(*command, "-f", str(file)))
            program.until_it_listens((front, 5022), (front, 50808))
            self.fronts.append(front)

    def greet(self, port: int, source: str) -> tuple[str, str]:
        """Return the server that ``source`` gets from HAProxy, and the one that it gets here."""
        theirs, ours = (greeted_by((front, port), source) for front in self.fronts)
        return theirs, ours

    def ask(self, port: int, source: str) -> tuple[str, str]:
        """Return what the server says that ``source`` gets from HAProxy by plain HTTP, and here."""
        theirs, ours = (answered_by((front, port), source) for front in self.fronts)
        return theirs, ours


def moved(text: str, front: str, hosts: list[str]) -> str:
    """Return the file with other addresses, and demand that it had those that were expected.

    Without the one word of ours by which a device may be sent elsewhere than HAProxy sends it.
    """
    text, count = re.subn(r"(?m)^ +# dsbalance: bounded-clients .*\n", "", text)
    assert count == 4
    text, binds = re.subn(r"(?m)^( +bind ):", rf"\g<1>{front}:", text)
    assert binds == 5
    for number, host in enumerate(hosts, 1):
        text, count = re.subn(rf"\b10\.0\.0\.1{number}\b", host, text)
        assert count >= 2
    return text


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@needs_haproxy
def test_the_same_device_lands_on_the_same_server(
    tmp_path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    pair = Pair(SUITE.read_text(encoding="utf-8"), tmp_path, loopback, stack)
    # Paragon has three servers and Phoenix two.
    for port, servers in ((5022, 3), (50809, 2)):
        found = {source: pair.greet(port, source) for source in devices(200)}
        assert len(found) == 200
        assert {source: both for source, both in found.items() if both[0] != both[1]} == {}
        assert len(set(found.values())) == servers, "the hash uses them all"


@needs_haproxy
def test_a_server_of_plain_http_is_told_the_device_that_haproxy_tells_it(
    tmp_path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    pair = Pair(SUITE.read_text(encoding="utf-8"), tmp_path, loopback, stack)
    for port, secure in ((5012, 5022), (50808, 50809)):
        for source in devices(20):
            theirs, ours = pair.ask(port, source)
            assert theirs == ours
            # One affinity for all ports; what the device claims stands before what is so.
            assert ours == f"{pair.greet(secure, source)[1]} 192.0.2.1 {source}"


@needs_haproxy
def test_those_who_lose_their_server_are_sent_to_the_same_other_one(
    tmp_path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    text = SUITE.read_text(encoding="utf-8").replace("inter 5s", "inter 1h")
    pair = Pair(text, tmp_path, loopback, stack)
    lost = "primary-2"
    before = {source: pair.greet(5022, source)[1] for source in devices(200)}
    pair.servers[1].kill()
    heirs = set()
    for source, owner in before.items():
        theirs, ours = pair.greet(5022, source)
        assert theirs == ours
        if owner == lost:
            heirs.add(ours)
        else:
            assert ours == owner
    assert heirs == {"primary-1", "primary-3"}
