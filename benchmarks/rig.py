"""What the forwarder's benchmarks share: rivals beside us, one echo server, CPU by process.

Rivals run one after the other in each round, and rounds follow each other, so that a noisy minute
hits them all. CPU is read from /proc, so this runs on Linux alone. Results are JSON lines: median,
least and most of the rounds, what went wrong in those that do not count, and all versions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dsbalance import VERSION

_TICKS = os.sysconf("SC_CLK_TCK")
_HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"

_CONFIG = """\
global
    maxconn 5000
{tuning}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
{splice}
listen bench
    bind 127.0.0.1:{port}
    balance source
    hash-type consistent
    stick-table type ip size 200k expire 30m
    stick on src
    server s 127.0.0.1:{server}
"""
_TUNED = "    nbthread 1\n    tune.bufsize 65536\n    tune.pipesize 1048576\n"
_SPLICE = "    option splice-request\n    option splice-response\n"


@dataclass(frozen=True)
class Rival:
    """A program that forwards, and how it is started."""

    name: str
    command: Callable[[str], list[str]]
    tuning: str = ""
    splice: str = ""


RIVALS = (
    Rival("dsbalance", lambda path: [sys.executable, "-m", "dsbalance", "-f", path]),
    Rival("haproxy", lambda path: [_HAPROXY, "-db", "-f", path], tuning="    nbthread 1\n"),
    Rival(
        "haproxy-tuned", lambda path: [_HAPROXY, "-db", "-f", path], tuning=_TUNED, splice=_SPLICE
    ),
)


@dataclass(frozen=True)
class Sample:
    """What one round cost one rival."""

    units: float
    seconds: float
    user: float
    system: float


def cpu(pid: int) -> tuple[float, float]:
    """Return the user and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(rival: Rival, server: int) -> Iterator[tuple[int, int]]:
    """Run a rival in front of the server's port; yield its process and its port."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(
            _CONFIG.format(tuning=rival.tuning, splice=rival.splice, port=port, server=server)
        )
        file.flush()
        with subprocess.Popen(rival.command(file.name), stderr=subprocess.DEVNULL) as process:
            try:
                _await(port)
                yield process.pid, port
            finally:
                process.terminate()


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on {port}")
        time.sleep(0.02)


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    """Run a server process that repeats what it hears and ends when its client does."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = multiprocessing.get_context("fork").Process(target=_echo, args=(sock,), daemon=True)
    process.start()
    port = sock.getsockname()[1]
    sock.close()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def _echo(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _address = listener.accept()
                peers[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                continue
            try:
                part = peers[fd].recv(1 << 20)
                if part:
                    peers[fd].sendall(part)
                    continue
            except OSError:
                pass
            peers.pop(fd).close()


def compare(claim: str, unit: str, work: Callable[[int, argparse.Namespace], float]) -> None:
    """Run ``work`` (port, arguments -> units) against every rival and print the result lines."""
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=0, help="units a round, 0: as the file says")
    args = parser.parse_args()
    samples: dict[str, list[Sample]] = {rival.name: [] for rival in RIVALS}
    failed: dict[str, list[str]] = {rival.name: [] for rival in RIVALS}
    with echo_server() as server, contextlib.ExitStack() as stack:
        started = {rival.name: stack.enter_context(running(rival, server)) for rival in RIVALS}
        for _ in range(args.rounds):
            for name, (pid, port) in started.items():
                before, start = cpu(pid), time.monotonic()
                try:
                    units = work(port, args)
                except (OSError, ValueError) as error:
                    # It has not done the work: no figure of this round would be worth anything.
                    failed[name].append(str(error))
                    continue
                seconds, after = time.monotonic() - start, cpu(pid)
                samples[name].append(
                    Sample(units, seconds, after[0] - before[0], after[1] - before[1])
                )
    for name, taken in samples.items():
        head = {"claim": claim, "unit": unit, "rival": name, "failed": failed[name]}
        print(json.dumps(head | _summary(taken)))


def _summary(samples: list[Sample]) -> dict[str, object]:
    def spread(values: list[float]) -> dict[str, float]:
        return {
            "min": round(min(values), 3),
            "median": round(statistics.median(values), 3),
            "max": round(max(values), 3),
        }

    return {
        "n": len(samples),
        "rate": spread([sample.units / sample.seconds for sample in samples]),
        "user_us": spread([1e6 * sample.user / sample.units for sample in samples]),
        "system_us": spread([1e6 * sample.system / sample.units for sample in samples]),
        "cpu_us": spread([1e6 * (s.user + s.system) / s.units for s in samples]),
        "versions": {
            "dsbalance": VERSION,
            "python": platform.python_version(),
            "kernel": platform.release(),
            "haproxy": _haproxy_version(),
        },
    }


def _haproxy_version() -> str:
    run = subprocess.run([_HAPROXY, "-v"], capture_output=True, text=True, check=True)
    return run.stdout.split()[2]
