"""Programs that a test runs beside itself, and the devices that come to them."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from actors import PATIENCE, until
from dsbalance import HashRing

_STANDIN = Path(__file__).with_name("standin.py")
ROOT = Path(__file__).resolve().parent.parent.parent
DSBALANCE = (sys.executable, "-m", "dsbalance")
# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


class Program:
    """A process whose output is read as it comes.

    Args:
        command: Its words; it runs in the folder of the checkout.
    """

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        """What it has printed so far, on both streams."""
        return "".join(tuple(self._lines))

    def until_it_says(self, words: str) -> None:
        self._until(lambda: words in self.output)

    def until_it_listens(self, *addresses: tuple[str, int]) -> None:
        for address in addresses:
            self._until(partial(_listens, address))

    def _until(self, fact: Callable[[], bool]) -> None:
        def came_true() -> bool:
            assert self._process.poll() is None, f"it ended: {self.output}"
            return fact()

        until(came_true)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it: the kernel closes what it had open, and nobody else says a word."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def wait(self) -> int:
        """Return its exit status; all its output has been read then."""
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._reader.join(PATIENCE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


class Standin(Program):
    """A server of its own process, on every port of the suite or on those that are given."""

    def __init__(self, name: str, host: str, ports: Iterable[int]) -> None:
        super().__init__(sys.executable, "-I", "-S", str(_STANDIN), name, host, *map(str, ports))
        self.name = name
        self.host = host
        self.until_it_says("ready")


def devices(count: int, owner: int | None = None) -> list[str]:
    """Return the same addresses of 127.0.0.0/8 each time, from all over it.

    With ``owner``: only those that ``balance source`` gives to the server of this id, out of three
    of the same weight.
    """
    return list(islice(_devices(owner), count))


def _devices(owner: int | None) -> Iterator[str]:
    ring = HashRing([1, 2, 3])
    chance = random.Random("devices")
    while True:
        address = IPv4Address(
            f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        )
        if owner is None or ring.lookup(address) == owner:
            yield str(address)


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True
