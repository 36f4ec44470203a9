"""The real program in place of a stage's proxy: a process of its own, with limits of its own."""

from __future__ import annotations

import ctypes
import os
import pathlib
import re
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from actors import Path, Peer, connect
from dsbalance import Bind, Config
from dsbalance.haproxy.writer import write
from dsbalance.poller import EpollPoller
from processes import Process


class Program(Process):
    """``python -m dsbalance`` with a file, from when it listens until the ``with`` ends.

    What ``path`` does without is taken from Python first, as on a system that has not got it.

    Args:
        path: How the bytes go.
        config: What the file says; each port 0 in it becomes a free one.
        folder: For the file.
        descriptors: How many it may open (``ulimit -n``); None: as many as this process.

    Attributes:
        addresses: Where each frontend listens, by its name.
    """

    def __init__(
        self, path: Path, config: Config, folder: pathlib.Path, descriptors: int | None = None
    ) -> None:
        self.addresses: dict[str, tuple[str, int]] = {}
        self._cleanup = ExitStack()
        self._clients: list[Peer] = []
        file = folder / "haproxy.cfg"
        file.write_text(write(self._settle(config)), encoding="utf-8")
        command = [*_python(path), "-f", str(file)]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        super().__init__(*command)

    def _settle(self, config: Config) -> Config:
        """Give each frontend, which has one bind, a port of its own."""
        frontends = []
        for frontend in config.frontends:
            (bind,) = frontend.binds
            port = self._reserve(bind)
            self.addresses[frontend.name] = bind.host, port
            frontends.append(replace(frontend, binds=(replace(bind, port=port),)))
        return replace(config, frontends=tuple(frontends))

    def _reserve(self, bind: Bind) -> int:
        family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
        sock = self._cleanup.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind.host, 0))
        port: int = sock.getsockname()[1]
        if sys.platform != "linux":
            # There nobody else could listen on it; on Linux only who sets the same option can.
            sock.close()
        return port

    def client(self, frontend: str = "front") -> Peer:
        """Return a client that has just connected; it leaves with the program at the latest."""
        client = connect(self.addresses[frontend])
        self._clients.append(client)
        return client

    @property
    def cpu(self) -> float:
        """The seconds of CPU that it has used, to the nanosecond (clock_getcpuclockid(3))."""
        clock = ctypes.c_int()
        ctypes.CDLL(None).clock_getcpuclockid(self._process.pid, ctypes.byref(clock))
        return time.clock_gettime(clock.value)

    @property
    def memory(self) -> int:
        """The bytes of memory that it occupies (proc(5): ``smaps_rollup`` is exact)."""
        lines = pathlib.Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii")
        (size,) = re.findall(r"(?m)^Rss: +(\d+) kB", lines)
        return int(size) * 1024

    @property
    def descriptors(self) -> set[int]:
        """The numbers of its open descriptors."""
        return set(map(int, os.listdir(f"/proc/{self._process.pid}/fd")))

    def leave_descriptors(self, count: int) -> None:
        """Let it open ``count`` more from now on, by its limit; it keeps what it has."""
        import resource

        taken = self.descriptors
        limit = 0
        while count or limit in taken:
            count -= limit not in taken
            limit += 1
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (limit, hard))

    def __enter__(self) -> Self:
        for frontend in self.addresses:
            self.until_it_says(f"Frontend {frontend} listens")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients:
            client.close()
        super().__exit__(kind, error, trace)
        self._cleanup.close()


def _python(path: Path) -> list[str]:
    """Return the command that starts the program without what ``path`` does without."""
    lacks = [] if path.poller is EpollPoller else ["del select.epoll"]
    lacks += [] if path.pipes else ["del os.splice"]
    if not lacks:
        return [sys.executable, "-m", "dsbalance"]
    run = "runpy.run_module('dsbalance', run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", "\n".join(["import os, runpy, select", *lacks, run])]
