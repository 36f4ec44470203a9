"""Reading from one socket and writing to another where what passes is looked at.

An :class:`Intake` has what a socket sent and nobody has used yet; an :class:`Outlet` has what a
socket does not take yet. :func:`carry` moves a body from one to the other: by copy, and by splice
where many of its bytes need not be looked at.

    an intake's fill     what then
    MORE                 there is something new in ``held``
    DRAINED              there is nothing now
    ENDED, RESET         there will be nothing any more
"""

from __future__ import annotations

import os
from collections.abc import Callable

from dsbalance.bodies import Body, Piece
from dsbalance.http_answers import FilePart
from dsbalance.relay import Progress
from dsbalance.sockets import Stream
from dsbalance.splice import BUFFER_SIZE, PIPE_SIZE, Pipe, PipePool

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress
# Reads or splices in one turn before the others have theirs.
_ROUNDS = 16
# Buffers filled in a row that make a stream, as in dsbalance.splice.
_STREAM_AFTER = 2


class Intake:
    """What a socket sends.

    Attributes:
        sock: Whose bytes these are.
        held: Taken from it and not used yet.
        is_drained: Whether the next byte brings an event of its own.
        is_closing: Whether the socket has ended or failed: then a short read is not the last one.
        filled: How many reads in a row filled the buffer.
        taken: Bytes taken from it so far.
    """

    __slots__ = ("_buffer", "filled", "held", "is_closing", "is_drained", "sock", "taken")

    def __init__(self, sock: Stream, buffer: memoryview) -> None:
        self.sock = sock
        self.held: bytes = b""
        self.is_drained = False
        self.is_closing = False
        self.filled = self.taken = 0
        self._buffer = buffer

    def fill(self) -> Progress:
        """Take what there is, once."""
        try:
            count = self.sock.recv_into(self._buffer)
        except BlockingIOError:
            self.is_drained = True
            return _DRAINED
        except OSError:
            return _RESET
        if not count:
            return _ENDED
        if count < BUFFER_SIZE:
            self.is_drained = not self.is_closing
            self.filled = 0
        else:
            self.filled += 1
        self.taken += count
        taken = self._buffer[:count].tobytes()
        self.held = self.held + taken if self.held else taken
        return _MORE

    def use(self, count: int) -> bytes:
        """Return the first bytes of what is held, and hold them no longer."""
        held = self.held
        if count == len(held):
            self.held = b""
            return held
        self.held = held[count:]
        return held[:count]


class Outlet:
    """What goes to a socket.

    Attributes:
        sock: Where it goes.
        is_blocked: Whether something is kept that the socket does not take: wait until it does.
        is_broken: Whether the socket has refused something: it takes nothing any more.
        sent: Bytes given to it so far, those that are kept among them.
    """

    __slots__ = ("_file", "_kept", "_pipe", "_pool", "is_blocked", "is_broken", "sent", "sock")

    def __init__(self, sock: Stream, pool: PipePool) -> None:
        self.sock = sock
        self.is_blocked = False
        self.is_broken = False
        self.sent = 0
        self._kept: Piece = b""
        self._file: FilePart | None = None
        self._pipe: Pipe | None = None
        self._pool = pool

    def send(self, data: Piece) -> Progress:
        """Send bytes, behind those that are kept; DRAINED, BLOCKED or REFUSED."""
        count = len(data)
        self.sent += count
        if self.is_blocked:
            self._kept = bytes(self._kept) + bytes(data)
            return _BLOCKED
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.is_broken = True
            return _REFUSED
        if sent < count:
            # A copy: the buffer is everybody's.
            self._kept = bytes(data[sent:])
            self.is_blocked = True
            return _BLOCKED
        return _DRAINED

    def send_file(self, part: FilePart) -> Progress:
        """Send a part of a file, behind everything else; as :meth:`send`."""
        self._file = part
        self.sent += part.length
        return _BLOCKED if self.is_blocked else self.flush()

    def flush(self) -> Progress:
        """Send what is kept; DRAINED: nothing is left of it."""
        try:
            if self._pipe is not None and self._pipe.held:
                self._pipe.drain(self.sock.fileno())
            while self._kept:
                self._kept = self._kept[self.sock.send(self._kept) :]
            while self._file is not None:
                self._file = _send_part(self.sock, self._file)
        except BlockingIOError:
            self.is_blocked = True
            return _BLOCKED
        except OSError:
            self.is_broken = True
            return _REFUSED
        self.is_blocked = False
        return _DRAINED

    def splice(self, source: Stream, limit: int) -> int:
        """Move up to so many bytes from ``source`` inside the kernel; return how many left it.

        Some of them may be kept then. 0: the source has ended, or splice(2) cannot go on with it.

        Raises:
            OSError: As splice(2); BlockingIOError: the source is drained. What the sink refuses
                is found by :meth:`flush`.
        """
        pipe = self._pipe
        assert pipe is not None
        count = pipe.fill(source.fileno(), limit)
        self.sent += count
        self.is_blocked = count > 0
        return count

    def borrow(self) -> bool:
        """Get a pipe to splice with; False: there is none, so copy."""
        if self._pipe is None:
            self._pipe = self._pool.take()
        return self._pipe is not None

    def give_back(self) -> None:
        """Return the pipe, so that others may splice; not while something is kept in it."""
        if self._pipe is not None and not self._pipe.held:
            self._pool.give(self._pipe)
            self._pipe = None

    def take_kept(self) -> bytes:
        """Return what is kept, and keep it no longer: somebody else sends it."""
        kept = bytes(self._kept)
        self.drop()
        return kept

    def drop(self) -> None:
        """Forget what is kept."""
        self._kept = b""
        self._file = None
        self.is_blocked = False
        if self._pipe is not None:
            self._pool.give(self._pipe)
            self._pipe = None


def carry(body: Body, intake: Intake, outlet: Outlet) -> Progress:
    """Move a body on as far as it goes now.

    Returns:
        DRAINED: It is complete, or the intake has nothing more of it. BLOCKED: the outlet takes no
        more. MORE: others want their turn. ENDED, RESET: of the intake; REFUSED: of the outlet.

    Raises:
        MessageError: What came is not what such a body is made of.
    """
    if outlet.is_blocked and (progress := outlet.flush()) is not _DRAINED:
        return progress
    for _ in range(_ROUNDS):
        if body.is_complete:
            break
        progress = _carry_once(body, intake, outlet)
        if progress is not _MORE:
            return progress
    if not body.is_complete:
        return _MORE
    outlet.give_back()
    return _DRAINED


def _carry_once(body: Body, intake: Intake, outlet: Outlet) -> Progress:
    """Move one buffer or one pipe; MORE: that went well."""
    if not intake.held:
        if intake.is_drained:
            outlet.give_back()
            return _DRAINED
        if intake.filled >= _STREAM_AFTER and body.blind >= BUFFER_SIZE and outlet.borrow():
            return _splice(body, intake, outlet)
        progress = intake.fill()
        if progress is not _MORE:
            return progress
    held = intake.held
    used, pieces = body.feed(held)
    intake.held = held[used:] if used < len(held) else b""
    if not pieces:
        return _MORE
    progress = outlet.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
    return _MORE if progress is _DRAINED else progress


def _splice(body: Body, intake: Intake, outlet: Outlet) -> Progress:
    try:
        count = outlet.splice(intake.sock, min(PIPE_SIZE, body.blind))
    except BlockingIOError:
        outlet.give_back()
        # A stream is one still when it is drained for a moment: the next bytes are spliced at once.
        # But an urgent byte stops splice(2) in the same words, and recv reads on.
        is_stream = intake.filled > _STREAM_AFTER and not intake.is_closing
        intake.filled = _STREAM_AFTER if is_stream else 0
        intake.is_drained = not intake.is_closing
        return _MORE
    except OSError:
        count = 0
    if not count:
        # The end, or a socket that has no splice: recv knows which.
        outlet.give_back()
        intake.filled = 0
        return _MORE
    body.skip(count)
    intake.taken += count
    if count >= BUFFER_SIZE:
        intake.filled = _STREAM_AFTER + 1
    progress = outlet.flush()
    return _MORE if progress is _DRAINED else progress


def _find_send_part() -> Callable[[Stream, FilePart], FilePart | None]:
    if hasattr(os, "sendfile"):

        def send_file(sock: Stream, part: FilePart) -> FilePart | None:
            return _rest(part, os.sendfile(sock.fileno(), part.fd, part.offset, part.length))

        return send_file

    def send_copy(sock: Stream, part: FilePart) -> FilePart | None:  # Windows
        os.lseek(part.fd, part.offset, os.SEEK_SET)
        return _rest(part, sock.send(os.read(part.fd, min(part.length, BUFFER_SIZE))))

    return send_copy


def _rest(part: FilePart, sent: int) -> FilePart | None:
    """Return what is left of a part; a file that has become shorter has nothing left."""
    if not sent or sent == part.length:
        return None
    return FilePart(part.fd, part.offset + sent, part.length - sent)


_send_part = _find_send_part()
