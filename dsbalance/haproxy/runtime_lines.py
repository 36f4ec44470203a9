r"""From the bytes that come in at a socket of the runtime API to commands. No I/O.

    newline   ends a line; a carriage return before it does not count
    ;         ends a command within a line
    \         makes the next character an ordinary one, a newline and a ; too
    <<        as the last word of a line: what follows, up to an empty line, belongs to it

Words are what blanks and tabs separate. There are no quotes and no comments. What belongs to a
command by ``<<`` is skipped: none of ours takes any.

Source: the HAProxy 2.6 management guide, 9.3; details were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import re
from collections import deque

MAX_LINE = 16384
"""Bytes of a line with its end: HAProxy's buffer."""

# What ends a line, and the backslash with whatever it stands before.
_NEWLINE = re.compile(rb"\\.|\n", re.DOTALL)
_SEMICOLON = re.compile(r"\\.|;", re.DOTALL)
_WORD = re.compile(r"(?:\\.|[^\s\\]|\\$)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PAYLOAD = re.compile(r"(?:^|[ \t])<<$")


class Lines:
    """What has come in and was not taken yet."""

    __slots__ = ("_commands", "_is_skipping", "_rest", "_seen")

    def __init__(self) -> None:
        self._rest = bytearray()
        # So far there is no end of a line in it.
        self._seen = 0
        self._commands: deque[str] = deque()
        self._is_skipping = False

    @property
    def is_too_long(self) -> bool:
        """Whether a line has begun that may not go on."""
        return len(self._rest) >= MAX_LINE

    def feed(self, data: bytes) -> None:
        """Take what has come in. Not to be called while ``is_too_long``."""
        self._rest += data
        start = 0
        while found := _NEWLINE.search(self._rest, self._seen):
            self._seen = found.end()
            if found[0] == b"\n":
                self._take(bytes(self._rest[start : found.start()]))
                start = self._seen
        del self._rest[:start]
        # A backslash at the end waits for what it stands before.
        self._seen = len(self._rest) - self._rest.endswith(b"\\")

    def take(self) -> str | None:
        """Return the next command; None: no line is complete."""
        return self._commands.popleft() if self._commands else None

    def _take(self, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        if self._is_skipping:
            self._is_skipping = bool(text)
            return
        if _PAYLOAD.search(text):
            self._is_skipping = True
            text = text[:-2]
        start = 0
        for found in _SEMICOLON.finditer(text):
            if found[0] == ";":
                self._commands.append(text[start : found.start()])
                start = found.end()
        self._commands.append(text[start:])


def words(command: str) -> tuple[str, ...]:
    """Return the words of a command, without the backslashes."""
    return tuple(_ESCAPED.sub(r"\1", word) for word in _WORD.findall(command))
