"""A terminal: whether it can be drawn on, a picture that is drawn over itself, and keys.

Colours only repeat what words say, and are left out where NO_COLOR is set (https://no-color.org).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

RESET = "\x1b[0m"
# Windows cannot wait for a key and for a time at once, so it is asked so often.
_GLANCE = 0.05


def can_draw(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether ``out`` is a terminal that understands ANSI sequences."""
    return out.isatty() and environ.get("TERM") != "dumb" and _enable_sequences()


class Drawing:
    """A picture that is drawn over itself. Needs no state of the terminal that would outlive it.

    Args:
        out: The terminal.
        paint: What gives a line its colours; they take no room.
    """

    def __init__(self, out: TextIO, paint: Callable[[str], str]) -> None:
        self._out = out
        self._paint = paint
        # Lines of the last picture, so that the cursor stands behind the last of them.
        self._height = 0

    def draw(self, lines: Sequence[str], width: int) -> None:
        """Draw lines over those of the last time, each clipped to ``width``.

        There may be one less than the terminal has: nothing may scroll, or the next picture would
        begin too far up.
        """
        # CPL: up to the first line of the old picture. EL behind each line, ED below the last.
        parts = [f"\x1b[{self._height}F" if self._height else ""]
        parts += [f"{self._paint(line[:width])}\x1b[K\n" for line in lines]
        parts.append("\x1b[J")
        self._out.write("".join(parts))
        self._out.flush()
        self._height = len(lines)

    def leave(self) -> None:
        """Let the picture stand: the next one comes below it."""
        self._height = 0


class Keys:
    """What is typed, key by key, while :func:`reading_keys` lasts."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, timeout: float) -> str:
        """Return the next key, or an empty text if none comes within ``timeout`` seconds."""
        if self._descriptor is not None:
            return self._wait_for(self._descriptor, timeout)
        if sys.platform == "win32":
            return _wait_on_windows(timeout)
        time.sleep(timeout)
        return ""

    def _wait_for(self, descriptor: int, timeout: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], timeout)
        if not ready:
            return ""
        try:
            typed = os.read(descriptor, 1)
        except OSError:
            typed = b""
        if not typed:
            # The terminal has gone; nothing more will come, and it would be ready for ever.
            self._descriptor = None
        return typed.decode("ascii", "replace")


@contextlib.contextmanager
def reading_keys(source: TextIO | None) -> Iterator[Keys]:
    """Let each key be read when it is typed, and not be shown; undo that at the end.

    Args:
        source: Where they are typed. If it is no terminal, there are none.
    """
    try:
        import termios  # noqa: PLC0415 - not on Windows
        import tty  # noqa: PLC0415
    except ImportError:
        yield Keys(None)
        return
    if source is None or not source.isatty():
        yield Keys(None)
        return
    descriptor = source.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        # Ctrl-C is still a signal.
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _wait_on_windows(timeout: float) -> str:
    import msvcrt  # noqa: PLC0415 - for Windows alone

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
            return str(msvcrt.getwch())  # type: ignore[attr-defined,unused-ignore]
        time.sleep(_GLANCE)
    return ""


def _enable_sequences() -> bool:
    """Let a Windows console understand ANSI sequences; return whether the terminal does."""
    if sys.platform != "win32":
        return True
    import ctypes  # noqa: PLC0415 - for Windows alone

    kernel = ctypes.windll.kernel32
    handle = kernel.GetStdHandle(-11)
    mode = ctypes.c_uint32()
    # ENABLE_VIRTUAL_TERMINAL_PROCESSING, 4; a console before Windows 10 refuses it.
    return bool(
        kernel.GetConsoleMode(handle, ctypes.byref(mode))
        and kernel.SetConsoleMode(handle, mode.value | 4)
    )
