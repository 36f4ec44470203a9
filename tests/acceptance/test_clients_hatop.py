"""hatop, the interactive client of HAProxy's runtime API, shows and steers us as it does that.

It speaks in prompt mode over one connection for as long as it runs. Debian has it; its keys are in
``hatop --help``. What it draws on its terminal is rendered by pyte, <https://pypi.org/project/pyte/>.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from actors import PATIENCE, connect
from steered import PROGRAMS, Steered

HATOP = shutil.which("hatop")
pytestmark = pytest.mark.skipif(HATOP is None, reason="hatop is not installed")
LINES, COLUMNS = 40, 120
# As xterm sends them.
DOWN, F4, F7, F9, F10 = b"\x1bOB", b"\x1bOS", b"\x1b[18~", b"\x1b[20~", b"\x1b[21~"


class Hatop:
    """The program on a terminal of its own."""

    def __init__(self, socket: Path, pyte: Any) -> None:
        # Wherever there is a hatop there are these.
        import fcntl
        import termios

        self._at, of = os.openpty()
        fcntl.ioctl(of, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._process = subprocess.Popen(
            [HATOP or "hatop", "-i", "1", "-s", str(socket)],
            stdin=of,
            stdout=of,
            stderr=of,
            env={**os.environ, "TERM": "xterm", "LINES": str(LINES), "COLUMNS": str(COLUMNS)},
            start_new_session=True,
        )
        os.close(of)
        os.set_blocking(self._at, False)

    @property
    def rows(self) -> list[list[str]]:
        """The words of each line on its screen."""
        return [line.split() for line in self._screen.display]

    def until(self, fact: Callable[[list[list[str]]], bool]) -> None:
        """Wait for something to be seen."""
        deadline = time.monotonic() + PATIENCE
        while not fact(self.rows):
            shown = "\n".join(" ".join(row) for row in self.rows if row)
            assert time.monotonic() < deadline, f"it was never seen:\n{shown}"
            time.sleep(0.02)
            try:
                self._stream.feed(os.read(self._at, 1 << 16))
            except BlockingIOError:
                continue

    def until_it_shows(self, *words: str) -> None:
        """Wait for a row that begins like this."""
        self.until(lambda rows: any(row[: len(words)] == list(words) for row in rows))

    def press(self, keys: bytes) -> None:
        os.write(self._at, keys)

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._at)


@pytest.fixture
def pyte() -> Any:
    return pytest.importorskip("pyte", reason="pyte is not installed")


@pytest.fixture(params=PROGRAMS)
def steered(
    request: pytest.FixtureRequest, pyte: Any, tmp_path: Path, loopback: Callable[[], str]
) -> Iterator[Steered]:
    with ExitStack() as stack:
        yield Steered(request.param, tmp_path, loopback, stack)


def test_it_shows_and_steers(steered: Steered, pyte: Any) -> None:
    info = steered.remote.info()
    with Hatop(steered.socket, pyte) as hatop:
        hatop.until_it_shows("primary-1", "1", "UP", "L4OK")
        assert [">>>", "paragon-http"] in hatop.rows
        assert any(f"PID: {info['Pid']}" in " ".join(row) for row in hatop.rows)
        assert any(info["Version"] in row for row in hatop.rows)
        # Sessions are counted before its eyes.
        with connect((steered.front, 5022)) as client:
            client.take(16)
            hatop.until(
                lambda rows: any(row[:1] == ["FRONTEND"] and row[-1] == "1" for row in rows)
            )
        # The cursor goes from the heading to the frontend, and on to the first server.
        hatop.press(DOWN * 2 + F10)
        hatop.until_it_shows("primary-1", "1", "MAINT")
        assert steered.status("paragon/primary-1") == "MAINT"
        hatop.press(F9)
        hatop.until_it_shows("primary-1", "1", "UP")
        assert steered.status("paragon/primary-1").startswith("UP")
        hatop.press(F7)
        hatop.until_it_shows("primary-1", "2", "UP")
        hatop.press(F4)
        hatop.until(lambda rows: not any(row[:2] == ["primary-1", "2"] for row in rows))
        assert steered.remote.ask("get weight paragon/primary-1") == "1 (initial 1)\n"
        hatop.press(b"q")
        assert hatop.wait() == 0
