"""Moving bytes from one socket to another: by copy, and by splice once a direction is a stream.

A :class:`Channel` is one direction of a session. It copies through one buffer that all channels of
a loop share; what the sink does not take is kept until it does, and nothing more is read meanwhile.
A direction that fills the buffer several times in a row is a stream: where the system has splice(2)
it borrows a pipe and the bytes stay in the kernel; the pipe goes back as soon as it is empty.

A pipe fills by slots, not by bytes, and EAGAIN does not say which of its ends is to blame. So a
channel never asks how much room there is: it splices in once, splices out everything, and while
something is left in the pipe it waits for the sink alone.

Source: splice(2), pipe(7) on F_SETPIPE_SZ.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable

from dsbalance.relay import Flow, Progress
from dsbalance.sockets import Stream

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Small enough that a thousand clients who stop reading cost 64 MiB, large enough to show a stream.
BUFFER_SIZE = 64 * 1024
# Buffers filled in a row that make a stream: a request or an answer of less is cheaper to copy.
_STREAM_AFTER = 2
# Reads or splices in one turn before the others have theirs.
_ROUNDS = 16
# 1 MiB a splice: 64 KiB costs a third more CPU per GB on loopback.
PIPE_SIZE = 1024 * 1024
# An unprivileged user may hold 64 MiB in pipes (pipe-user-pages-soft).
MAX_PIPES = 64

_HAS_SPLICE = hasattr(os, "splice") and hasattr(os, "pipe2")


# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress


class Pipe:
    """A kernel buffer between two sockets.

    Attributes:
        held: Bytes in it.
    """

    __slots__ = ("held", "reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0

    def fill(self, source: int, limit: int) -> int:
        """Move up to so many bytes from a descriptor into the empty pipe; 0: that has ended.

        Raises:
            OSError: As splice(2).
        """
        self.held = count = os.splice(source, self.writer, limit, flags=_SPLICE_FLAGS)
        return count

    def drain(self, sink: int) -> None:
        """Move all of it to a descriptor.

        Raises:
            OSError: As splice(2); what is left stays in ``held``.
        """
        while self.held:
            self.held -= os.splice(self.reader, sink, self.held, flags=_SPLICE_FLAGS)

    def close(self) -> None:
        """Free both ends, and what is in between."""
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """Empty pipes, made when they are first needed and kept for the next stream.

    Args:
        limit: Pipes at the most, lent ones included; 0: lend none, so that everything is copied.

    Attributes:
        limit: As given; 0 where the system has no splice(2).
        lent: How many are in use.
    """

    __slots__ = ("_free", "lent", "limit")

    def __init__(self, limit: int = MAX_PIPES) -> None:
        self.limit = limit if _HAS_SPLICE else 0
        self.lent = 0
        self._free: list[Pipe] = []

    @property
    def free(self) -> int:
        """How many were made and are not lent."""
        return len(self._free)

    def take(self) -> Pipe | None:
        """Lend an empty pipe, or None: then copy."""
        if self._free:
            self.lent += 1
            return self._free.pop()
        if self.lent >= self.limit:
            return None
        try:
            pipe = Pipe()
        except OSError:
            # No descriptors: copying needs none.
            return None
        _grow(pipe)
        self.lent += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take a pipe back; close one that holds bytes, so that no other session gets them."""
        self.lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Free the pipes that are not lent."""
        while self._free:
            self._free.pop().close()


class Channel:
    """One direction of a session, from ``source`` to ``sink``; both belong to the session.

    Attributes:
        state: For the session's table in :mod:`dsbalance.relay`; closed channels are not pumped.
        moved: Bytes taken from the source so far.
        is_blocked: Whether bytes are kept that the sink does not take: wait until it is writable.
        is_closing: Whether the source has ended or failed: then a short read is not the last one.
    """

    __slots__ = (
        "_buffer",
        "_filled",
        "_kept",
        "_pipe",
        "_pool",
        "is_blocked",
        "is_closing",
        "moved",
        "sink",
        "source",
        "state",
    )

    def __init__(self, source: Stream, sink: Stream, buffer: memoryview, pool: PipePool) -> None:
        self.source = source
        self.sink = sink
        self.state = Flow.OPEN
        self.moved = 0
        self.is_blocked = False
        self.is_closing = False
        self._buffer = buffer
        self._pool = pool
        self._kept: bytes | memoryview = b""
        self._pipe: Pipe | None = None
        self._filled = 0

    def put(self, data: bytes) -> None:
        """Have bytes written before everything that the source is going to send."""
        self._kept = data
        self.is_blocked = bool(data)

    def pump(self) -> Progress:  # noqa: C901, PLR0911, PLR0912 - one call a wake-up, not two
        """Move what can be moved now.

        Everything that the source sent is written before ENDED or RESET is returned.
        """
        if self.is_blocked:
            progress = self._flush()
            if progress is not _DRAINED:
                return progress
        if self._filled >= _STREAM_AFTER and self._borrow():
            return self._splice()
        buffer = self._buffer
        rounds = _ROUNDS
        while rounds:
            try:
                count = self.source.recv_into(buffer)
            except BlockingIOError:
                return _DRAINED
            except OSError:
                return _RESET
            if not count:
                return _ENDED
            self.moved += count
            try:
                sent = self.sink.send(buffer[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                return _REFUSED
            if sent < count:
                self._kept = bytes(buffer[sent:count])
                self.is_blocked = True
                return _BLOCKED
            if count < BUFFER_SIZE:
                self._filled = 0
                if not self.is_closing:
                    # It has drained the source: the next byte brings an event of its own.
                    return _DRAINED
            else:
                self._filled += 1
                if self._filled >= _STREAM_AFTER and self._borrow():
                    return self._splice()
            rounds -= 1
        return _MORE

    def drop(self) -> None:
        """Forget what is kept and give the pipe back."""
        self._kept = b""
        self.is_blocked = False
        if self._pipe is not None:
            self._pool.give(self._pipe)
            self._pipe = None

    def _splice(self) -> Progress:
        pipe = self._pipe
        assert pipe is not None
        source = self.source.fileno()
        taken = 0
        for _ in range(_ROUNDS):
            try:
                count = pipe.fill(source, PIPE_SIZE)
            except BlockingIOError:
                return self._pause(taken)
            except OSError as error:
                if error.errno in _NO_SPLICE:
                    self._unlearn()
                    return self.pump()
                return _RESET
            if not count:
                # The end, or an urgent byte in the way: recv knows which.
                self.drop()
                self._filled = 0
                return self.pump()
            taken += count
            self.moved += count
            progress = self._flush_pipe(pipe)
            if progress is not _DRAINED:
                return progress
        return _MORE

    def _pause(self, taken: int) -> Progress:
        """The source is drained: return the pipe, and copy next time if it is a stream no more."""
        self.drop()
        if self.is_closing:
            # Or it is not: an urgent byte stops splice(2) in the same words, and recv reads on.
            self._filled = 0
            return _MORE
        if taken < BUFFER_SIZE:
            self._filled = 0
        return _DRAINED

    def _flush(self) -> Progress:
        """Write what is kept; DRAINED: nothing is left of it."""
        if self._pipe is not None:
            return self._flush_pipe(self._pipe)
        try:
            sent = self.sink.send(self._kept)
        except BlockingIOError:
            return _BLOCKED
        except OSError:
            return _REFUSED
        if sent < len(self._kept):
            self._kept = self._kept[sent:]
            return _BLOCKED
        self._kept = b""
        self.is_blocked = False
        return _DRAINED

    def _flush_pipe(self, pipe: Pipe) -> Progress:
        try:
            pipe.drain(self.sink.fileno())
        except BlockingIOError:
            self.is_blocked = True
            return _BLOCKED
        except OSError:
            return _REFUSED
        self.is_blocked = False
        return _DRAINED

    def _borrow(self) -> bool:
        if self._pipe is None:
            self._pipe = self._pool.take()
        return self._pipe is not None

    def _unlearn(self) -> None:
        """This source cannot be spliced: copy from here on."""
        self.drop()
        self._filled = -sys.maxsize


def _find_grow() -> Callable[[Pipe], None]:
    if fcntl is None or not hasattr(fcntl, "F_SETPIPE_SZ"):
        return lambda _pipe: None

    def grow(pipe: Pipe) -> None:
        # Over the user's allowance it fails, and a pipe of the default size is a pipe too.
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    return grow


_grow = _find_grow()
_SPLICE_FLAGS = (os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK) if _HAS_SPLICE else 0
# splice(2): EINVAL for a descriptor that has no splice, ENOSYS where a sandbox forbids it.
_NO_SPLICE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
