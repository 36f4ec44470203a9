"""Bodies whose length is known before, or that last as long as their connection. No I/O.

    body       ends
    Measured   behind so many bytes: Content-Length
    Endless    with its connection: a response without a length

:class:`dsbalance.chunked.Chunked` is the third kind. What is *blind* of a body need not be looked
at, so it may be spliced.

Source: RFC 9112, 6.3.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Protocol

from dsbalance.chunked import Chunked
from dsbalance.http1 import RequestHead

Piece = bytes | memoryview


class Body(Protocol):
    """A body on its way.

    Attributes:
        is_complete: Whether its last byte has been fed or skipped.
        blind: How many of the next bytes belong to it, whatever they are.
    """

    is_complete: bool
    blind: int

    def feed(self, data: Piece) -> tuple[int, list[Piece]]:
        """Return how many of the bytes belong to it, and what to send on for them.

        Raises:
            MessageError: They are not what such a body is made of.
        """

    def skip(self, count: int) -> None:
        """Note that so many of the blind bytes went by unseen."""


class Measured:
    """A body of ``blind`` bytes.

    Args:
        length: At least 1.
    """

    __slots__ = ("blind", "is_complete")

    def __init__(self, length: int) -> None:
        self.blind = length
        self.is_complete = False

    def feed(self, data: Piece) -> tuple[int, list[Piece]]:  # noqa: D102 - as in Body
        count = len(data)
        if count >= self.blind:
            count = self.blind
            self.is_complete = True
            data = data[:count]
        self.blind -= count
        return count, [data]

    def skip(self, count: int) -> None:  # noqa: D102
        self.blind -= count
        self.is_complete = not self.blind


class Endless:
    """A body that the end of its connection ends."""

    __slots__ = ("blind", "is_complete")

    def __init__(self) -> None:
        self.blind = sys.maxsize
        self.is_complete = False

    def feed(self, data: Piece) -> tuple[int, list[Piece]]:  # noqa: D102 - as in Body
        return len(data), [data]

    def skip(self, count: int) -> None:  # noqa: D102
        pass


def body_of(request: RequestHead, drop: Container[bytes] = ()) -> Body:
    """Return the body of a request that has one.

    Args:
        request: Its head.
        drop: Names, in lower case, of trailers that do not go on.
    """
    return Chunked(drop) if request.length is None else Measured(request.length)
