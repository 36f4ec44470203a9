"""A program in a process of its own, beside the test that talks to it."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from actors import PATIENCE, until

ROOT = Path(__file__).resolve().parent.parent


class Process:
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


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True
