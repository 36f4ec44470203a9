"""The event loop: who is ready, what is due, who called. The only clock of the package.

A *watcher* is told when its descriptor is ready, a *timed* object when its deadline has passed.
Both run on the loop's thread, one at a time, and must not block.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Protocol, TypeVar

from dsbalance.poller import BOTH, READABLE, Poller, best_poller
from dsbalance.sockets import Stream
from dsbalance.timers import Timed, Timers

T = TypeVar("T")
_log = logging.getLogger("dsbalance.loop")


class Watcher(Protocol):
    """What waits for a descriptor."""

    def on_events(self, events: int) -> None:
        """Act on readiness; ``events`` is a union of the constants of dsbalance.poller."""

    def on_crash(self, error: Exception) -> None:
        """End whatever this is: ``on_events`` or ``on_due`` raised ``error``, already logged."""


class Alarm:
    """A callback that waits for its time. Made by :meth:`Loop.after`."""

    __slots__ = ("_callback", "due_tick")

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self.due_tick = 0

    def on_due(self, now: float) -> None:  # noqa: D102 - as in Timed
        self._callback()

    def on_crash(self, error: Exception) -> None:
        """Nothing is left to end."""


class Loop:
    """Run watchers, timers and calls on one thread.

    Everything but :meth:`call`, :meth:`ask`, :meth:`start`, :meth:`stop` and :meth:`join` belongs
    to the loop's thread, or to the one thread that builds things before the loop runs.

    Args:
        poller: Its own from here on; None: the fastest of this system.

    Attributes:
        now: The monotonic instant of this turn, in seconds.
        timers: The deadlines.
        poller: The readiness.
    """

    __slots__ = (
        "_again",
        "_calls",
        "_closing",
        "_is_stopping",
        "_poll",
        "_runner",
        "_thread",
        "_waker",
        "_waking",
        "_watchers",
        "now",
        "poller",
        "timers",
    )

    def __init__(self, poller: Poller | None = None) -> None:
        self.poller = best_poller() if poller is None else poller
        self._poll = self.poller.poll
        self.timers = Timers()
        self.now = monotonic()
        self._watchers: dict[int, Watcher] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._again: dict[int, Watcher] = {}
        self._closing: list[Stream] = []
        self._is_stopping = False
        # The thread whose calls need no detour; None before the loop runs and after it ended.
        self._thread: threading.Thread | None = None
        self._runner: threading.Thread | None = None
        self._waker, self._waking = socket.socketpair()
        self._waker.setblocking(False)
        self._waking.setblocking(False)
        self.poller.add_listener(self._waker.fileno())

    @property
    def wakeup_fd(self) -> int:
        """What a byte may be written to, without blocking, to end the poller's wait."""
        return self._waking.fileno()

    def watch_stream(self, sock: Stream, watcher: Watcher, events: int = BOTH) -> None:
        """Tell ``watcher`` of everything that happens to a non-blocking connection.

        It may be one that is being made. ``events``: what it waits for at first, BOTH or READABLE.
        """
        fd = sock.fileno()
        self.poller.add_stream(fd, events)
        self._watchers[fd] = watcher

    def watch_listener(self, sock: Stream, watcher: Watcher) -> None:
        """Tell ``watcher`` as long as ``sock`` has something to take."""
        fd = sock.fileno()
        self.poller.add_listener(fd)
        self._watchers[fd] = watcher

    def hand_over(self, sock: Stream, watcher: Watcher) -> None:
        """Let another watcher have a descriptor that is watched already."""
        self._watchers[sock.fileno()] = watcher

    def unwatch(self, sock: Stream) -> None:
        """Forget a descriptor, and leave it open. Nothing happens if it is not watched."""
        fd = sock.fileno()
        if self._watchers.pop(fd, None) is not None:
            self.poller.remove(fd)

    def close(self, sock: Stream) -> None:
        """Forget a descriptor at once and close it at the end of this turn.

        Not now: events of this turn may still name its number, and must not reach a new owner.
        """
        fd = sock.fileno()
        # epoll forgets what is closed by itself, and two calls a session are saved (epoll(7), Q6).
        if self._watchers.pop(fd, None) is not None and not self.poller.is_edge:
            self.poller.remove(fd)
        self._closing.append(sock)

    def again(self, sock: Stream) -> None:
        """Tell the watcher of ``sock`` in the next turn that it can read: it has more to do."""
        fd = sock.fileno()
        self._again[fd] = self._watchers[fd]

    def after(self, delay: float, callback: Callable[[], None]) -> Alarm:
        """Run ``callback`` in ``delay`` seconds, unless ``timers.cancel`` is told of the alarm."""
        alarm = Alarm(callback)
        self.timers.set(alarm, self.now + delay, self.now)
        return alarm

    def soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` after this turn's events: what would else call itself without end."""
        self._calls.append(callback)

    def call(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the loop's thread soon. Any thread, and signal handlers.

        A signal alone does not end the poller's wait when the kernel gives it to another thread;
        :func:`signal.set_wakeup_fd` with :attr:`wakeup_fd` does.
        """
        self._calls.append(callback)
        # A full pipe: the loop is going to wake anyway. A closed one: there is no loop to wake.
        with contextlib.suppress(OSError):
            self._waking.send(b"\0")

    def ask(self, question: Callable[[], T]) -> T:
        """Run ``question`` on the loop's thread and return its answer, or raise what it raised.

        Any thread. While the loop does not run, and on the loop's own thread, it is run at once.
        """
        if self._thread is None or self._thread is threading.current_thread():
            return question()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                result = question()
                # Who asked for a port to be closed finds it closed; no event of this turn is left.
                self._close_doomed()
                answer.set_result(result)
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked
                answer.set_exception(error)

        self.call(run)
        if self._thread is None:
            # The loop ended between the two: it may have seen the call, or nobody ever will.
            self._answer_all()
        return answer.result()

    def start(self, name: str, at_end: Callable[[], None] | None = None) -> None:
        """Run the loop on a daemon thread of its own. Any thread, once. See :meth:`run`."""
        # Known before it runs, so that a question asked at once already goes to it.
        self._thread = self._runner = threading.Thread(
            target=self.run, args=(at_end,), name=name, daemon=True
        )
        self._runner.start()

    def stop(self) -> None:
        """Let :meth:`run` return after this turn. Any thread, and signal handlers."""
        self.call(self._stop)

    def join(self) -> None:
        """Wait until the thread of :meth:`start` has ended. Any thread but the loop's."""
        if self._runner is not None:
            self._runner.join()

    def run(self, at_end: Callable[[], None] | None = None) -> None:
        """Run on the calling thread until :meth:`stop`, then free the loop's descriptors.

        Args:
            at_end: Called when the loop ends, also by an interrupt, before it frees anything.
        """
        self._thread = threading.current_thread()
        self.now = monotonic()
        try:
            while not self._is_stopping:
                self._turn()
        finally:
            try:
                if at_end is not None:
                    at_end()
            finally:
                self.free()

    def free(self) -> None:
        """Free the loop's descriptors. Called by :meth:`run`; needed for a loop that never ran."""
        self._thread = None
        self._answer_all()
        self._close_doomed()
        self._waker.close()
        self._waking.close()
        self.poller.close()

    def _stop(self) -> None:
        self._is_stopping = True

    def _turn(self) -> None:
        timers = self.timers
        # By the clock of the last turn: what is due may wait for as long as that turn took.
        left = 0.0 if self._again or self._calls else timers.due_at - self.now
        ready = self._poll(None if left == math.inf else left if left > 0.0 else 0.0)
        self.now = now = monotonic()
        watchers = self._watchers
        if self._again:
            # Once a turn, and not if the number has another owner by now.
            told = {fd for fd, _ in ready}
            ready += [
                (fd, READABLE)
                for fd, watcher in self._again.items()
                if fd not in told and watchers.get(fd) is watcher
            ]
            self._again = {}
        for fd, events in ready:
            watcher = watchers.get(fd)
            if watcher is not None:
                try:
                    watcher.on_events(events)
                except Exception as error:  # noqa: BLE001 - the guard: one session must not end all
                    _end(watcher, error)
            elif fd == self._waker.fileno():
                self._waker.recv(4096)
        if now >= timers.due_at:
            self._tell_due(now)
        if self._calls:
            # Those that are called meanwhile wait for the next turn: traffic comes first.
            self._answer(len(self._calls))
        if self._closing:
            self._close_doomed()

    def _tell_due(self, now: float) -> None:
        for timed in self.timers.take(now):
            try:
                timed.on_due(now)
            except Exception as error:  # noqa: BLE001 - as in _turn
                _end(timed, error)

    def _answer(self, count: int) -> None:
        for _ in range(count):
            try:
                callback = self._calls.popleft()
            except IndexError:
                # After the end two threads may answer at once.
                return
            try:
                callback()
            except Exception:  # noqa: BLE001 - the guard, for calls
                _log.exception("a call on the loop raised")

    def _answer_all(self) -> None:
        while self._calls:
            self._answer(len(self._calls))

    def _close_doomed(self) -> None:
        for sock in self._closing:
            sock.close()
        self._closing.clear()


def _end(owner: Watcher | Timed, error: Exception) -> None:
    """End what raised, and keep everything else running."""
    _log.error("%r raised", owner, exc_info=error)
    try:
        owner.on_crash(error)
    except Exception:  # noqa: BLE001 - the guard, once more
        _log.exception("%r raised again while it was ended", owner)
