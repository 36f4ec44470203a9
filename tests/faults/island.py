"""A process in a network of its own, for faults that would be everybody's: no ports, no neighbour.

Linux lets anybody have such a network, unless the administrator has forbidden it (unshare(2),
user_namespaces(7)). Nothing leaves it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from actors import Path as Way
from faults.clock import Clock
from faults.stage import Stage

Case = Callable[[Stage, Clock], None]

_PATIENCE = 60.0
# <linux/sched.h>
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# Networks for examples: RFC 5737, RFC 3849. By the path's host.
NEIGHBOUR = {"127.0.0.1": "192.0.2.9", "::1": "2001:db8::9"}
NOWHERE = {"127.0.0.1": "198.51.100.9", "::1": "2001:db8:1::9"}
# So many descriptors are taken in no time.
_FEW = 256
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SETUP = """
    link set lo up
    link add near type veth peer name far
    addr add 192.0.2.1/24 dev near
    addr add 2001:db8::1/64 dev near nodad
    link set near up
    link set far up
"""

_cases: dict[tuple[str, str], Case] = {}


class Island:
    """A process in a network of its own, where nobody answers but itself.

    It has a neighbour, :data:`NEIGHBOUR`, who is switched off, and no way to :data:`NOWHERE`.
    """

    def __init__(self) -> None:
        # Spawned, for a user namespace is only for a process that has one thread.
        self._pool = ProcessPoolExecutor(1, get_context("spawn"))

    def reach(self) -> str | None:
        """Go there; return why that cannot be done, None if it is."""
        if not sys.platform.startswith("linux"):
            return "only Linux gives a process a network of its own"
        if shutil.which("ip") is None:
            return "there is no ip(8) here to set a network up"
        return self._pool.submit(_leave).result()

    def play(self, case: Case, way: Way) -> None:
        """Play a case of :func:`on_an_island` there, or raise what it raised."""
        self._pool.submit(_play, case.__module__, case.__name__, way).result()

    def close(self) -> None:
        """Sink."""
        self._pool.shutdown()


def on_an_island(case: Case) -> Callable[[Way, Island], None]:
    """Let a case be played on an :class:`Island`, with stage and clock."""
    _cases[case.__module__, case.__name__] = case

    def test(path: Way, island: Island) -> None:
        island.play(case, path)

    # Not functools.wraps, which would let pytest ask for what the case wants.
    test.__module__, test.__name__, test.__doc__ = case.__module__, case.__name__, case.__doc__
    return test


@contextmanager
def local_ports(count: int) -> Iterator[None]:
    """Let this island have ``count`` ports for connections that it makes."""
    usual = _PORT_RANGE.read_text(encoding="ascii")
    # Below the usual range, where a listener of the case may have a port.
    _PORT_RANGE.write_text(f"20000 {20000 + count - 1}", encoding="ascii")
    try:
        yield
    finally:
        _PORT_RANGE.write_text(usual, encoding="ascii")


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this island's process have no descriptor left."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FEW, limits[1]))
    with ExitStack() as taken:
        with suppress(OSError):
            while True:
                taken.enter_context(socket.socket())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _leave() -> str | None:
    """Have a network of one's own from here on; return why not."""
    ids = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        return f"no network of one's own: {os.strerror(ctypes.get_errno())}"
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        for name, own in zip(("uid_map", "gid_map"), ids, strict=True):
            Path(f"/proc/self/{name}").write_text(f"0 {own} 1", encoding="ascii")
        for line in _SETUP.strip().splitlines():
            subprocess.run(["ip", *line.split()], check=True)
        # Who asks for the neighbour's address waits for a 20th of a second, not for three.
        for family in ("ipv4", "ipv6"):
            folder = Path(f"/proc/sys/net/{family}/neigh/near")
            (folder / "mcast_solicit").write_text("1", encoding="ascii")
            (folder / "retrans_time_ms").write_text("50", encoding="ascii")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network of one's own: {error}"
    return None


def _play(module: str, name: str, way: Way) -> None:
    # A process that hangs says where, and ends; whoever waits for it learns that it has.
    faulthandler.dump_traceback_later(_PATIENCE, exit=True)
    importlib.import_module(module)
    stage = Stage(way, lambda: pytest.fail("an island has one address"))
    has_passed = False
    try:
        _cases[module, name](stage, stage.hold_clock())
        has_passed = True
    finally:
        stage.leave(has_passed=has_passed)
        faulthandler.cancel_dump_traceback_later()
