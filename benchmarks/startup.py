"""Claim: ``import dsbalance`` takes less than 60 ms, and a proxy accepts 250 ms after its start.

Unit: one new process, one after the other, with the files in the system's cache. For imports it
runs from start to end; a proxy runs until a client is accepted, and ``ms`` is that time. CPU is the
whole process's, the system's share of making it included; ``over_bare_ms`` is the time beyond that
of an interpreter that does nothing, in the same round.
Command: ``.venv/bin/python benchmarks/startup.py``
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contest import Bars, Contest, Figures, options, per_unit
from rivals import free_port, haproxy

PATIENCE = 20.0
CONFIG = """\
listen paragon
    bind 127.0.0.1:{port}
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    balance source
    hash-type consistent
    stick-table type ip size 200k expire 30m
    stick on src
    server primary-1 127.0.0.1:{server}
"""


@dataclass(frozen=True)
class Rival:
    """A program that starts; ``command`` is given the path of a configuration."""

    name: str
    package: str
    command: Callable[[str], list[str]]


def python(*words: str) -> Callable[[str], list[str]]:
    return lambda path: [sys.executable, *words, *([path] if "-f" in words else [])]


BARE = "python, nothing"
IMPORTS = (
    Rival(BARE, "python", python("-c", "pass")),
    Rival("python, asyncio", "python", python("-c", "import asyncio")),
    Rival("dsbalance", "dsbalance", python("-c", "import dsbalance")),
)
PROXIES = (
    Rival("dsbalance", "dsbalance", python("-m", "dsbalance", "-f")),
    Rival("haproxy", "haproxy", lambda path: [haproxy() or "", "-db", "-f", path]),
)


def run_to_the_end(rival: Rival) -> Figures:
    """Return what a process costs that ends by itself."""
    began = time.perf_counter()
    process = subprocess.Popen(rival.command(""))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"it ended with {process.returncode}")
    return {**per_unit(1, seconds, usage.ru_utime, usage.ru_stime), "ms": 1e3 * seconds}


class Imports:
    """Processes that end by themselves, beside the bare interpreter of the same round."""

    def __init__(self) -> None:
        self._bare_ms = 0.0

    def measure(self, rival: Rival) -> Figures:
        """Return the figures of one process; the bare interpreter is the first of a round."""
        figures = run_to_the_end(rival)
        if rival.name == BARE:
            self._bare_ms = figures["ms"]
        return {**figures, "over_bare_ms": figures["ms"] - self._bare_ms}


def until_it_accepts(rival: Rival) -> Figures:
    """Return how long a proxy takes from its start to its first client."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "haproxy.cfg"
        # Nobody listens there: the first client is accepted all the same.
        path.write_text(CONFIG.format(port=port, server=free_port()), encoding="ascii")
        began = time.perf_counter()
        with subprocess.Popen(rival.command(str(path)), stderr=subprocess.DEVNULL) as process:
            try:
                while not is_open(port):
                    if process.poll() is not None or time.perf_counter() > began + PATIENCE:
                        raise ValueError("it did not start")
                    time.sleep(0.001)
                seconds = time.perf_counter() - began
            finally:
                process.kill()
    return {"rate": 1 / seconds, "ms": 1e3 * seconds}


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    args = options(__doc__, rounds=15, count=1, small=1)
    wanted = args.rivals or ("dsbalance", "python", "haproxy")
    bars: dict[str, Bars] = {"dsbalance": {"over_bare_ms": (None, 60.0)}}
    contest = Contest("import", "process", bars=bars)
    rivals = [rival for rival in IMPORTS if rival.package in (*wanted, "python")]
    contest.run(rivals, args.rounds, Imports().measure)

    absent = {} if haproxy() else {"haproxy": "not installed"}
    bars = {"dsbalance": {"ms": (None, 250.0)}}
    contest = Contest("start of a proxy", "process", bars=bars, absent=absent)
    rivals = [rival for rival in PROXIES if rival.package in wanted and rival.name not in absent]
    contest.run(rivals, args.rounds, until_it_accepts)


if __name__ == "__main__":
    main()
