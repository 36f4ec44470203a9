"""The loop with real sockets, once for each poller; its timers with instants of the test's own."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from dsbalance.loop import Loop
from dsbalance.poller import (
    CLOSING,
    READABLE,
    WRITABLE,
    EpollPoller,
    Poller,
    SelectorPoller,
    best_poller,
)

LINUX = sys.platform.startswith("linux")
POLLERS = [SelectorPoller, *([EpollPoller] if LINUX else [])]
# How long something that happens at once may take on a machine that is busy.
PATIENCE = 60.0

Pair = Callable[[], tuple[socket.socket, socket.socket]]


class Recorder:
    """A watcher and timed object that notes what it is told, and then does what the test says."""

    def __init__(self, action: Callable[[], object] | None = None) -> None:
        self.events: list[int] = []
        self.dues: list[float] = []
        self.errors: list[Exception] = []
        self.due_tick = 0
        self._action = action

    def __repr__(self) -> str:
        return "<recorder>"

    def on_events(self, events: int) -> None:
        self.events.append(events)
        self._act()

    def on_due(self, now: float) -> None:
        self.dues.append(now)
        self._act()

    def on_crash(self, error: Exception) -> None:
        self.errors.append(error)

    def _act(self) -> None:
        if self._action is not None:
            self._action()


class Stubborn(Recorder):
    """One that cannot be ended without an error either."""

    def on_crash(self, error: Exception) -> None:
        super().on_crash(error)
        raise RuntimeError("again")


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest) -> Poller:
    made: Poller = request.param()
    return made


@pytest.fixture
def loop(poller: Poller) -> Iterator[Loop]:
    """A loop that has not run; the test takes its turns."""
    loop = Loop(poller)
    yield loop
    loop.free()


@pytest.fixture
def running(poller: Poller) -> Iterator[Loop]:
    """A loop on a thread of its own."""
    loop = Loop(poller)
    loop.start("test")
    yield loop
    loop.stop()
    loop.join()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a function that makes two connected ends, which do not block."""
    with contextlib.ExitStack() as stack:

        def make() -> tuple[socket.socket, socket.socket]:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                client = stack.enter_context(socket.create_connection(listener.getsockname()))
                accepted, _ = listener.accept()
                stack.enter_context(accepted)
            for sock in (client, accepted):
                sock.setblocking(False)
            return client, accepted

        yield make


def turn_until(loop: Loop, is_done: Callable[[], object]) -> None:
    """Take turns until something has happened, which each of them waits for."""
    give_up = Recorder()
    loop.timers.set(give_up, loop.now + PATIENCE, loop.now)
    while not is_done():
        assert not give_up.dues
        loop._turn()
    loop.timers.cancel(give_up)


def turn(loop: Loop) -> None:
    """Take one turn that does not wait."""
    loop.call(lambda: None)
    loop._turn()


# --- readiness ------------------------------------------------------------------------------------


def test_a_connection_is_writable_at_once_and_readable_when_something_came(
    loop: Loop, pair: Pair
) -> None:
    ours, theirs = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    turn_until(loop, lambda: watcher.events)
    assert watcher.events[0] & WRITABLE
    assert not watcher.events[0] & (READABLE | CLOSING)
    loop.poller.want(ours.fileno(), READABLE)
    theirs.send(b"x")
    turn_until(loop, lambda: watcher.events[-1] & READABLE)
    assert ours.recv(9) == b"x"


def test_readiness_is_told_once_at_an_edge_and_as_long_as_it_lasts_at_a_level(
    loop: Loop, pair: Pair
) -> None:
    ours, theirs = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    loop.poller.want(ours.fileno(), READABLE)
    theirs.send(b"x")
    turn_until(loop, lambda: watcher.events and watcher.events[-1] & READABLE)
    del watcher.events[:]
    turn(loop)
    turn(loop)
    assert len(watcher.events) == (0 if loop.poller.is_edge else 2)
    # A byte more is news for both.
    theirs.send(b"x")
    turn_until(loop, lambda: watcher.events)


def test_a_level_triggered_stream_is_told_only_what_it_wants(pair: Pair) -> None:
    ours, theirs = pair()
    theirs.send(b"x")
    loop = Loop(SelectorPoller())
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    turn_until(loop, lambda: watcher.events and watcher.events[-1] & READABLE)
    for wanted in (WRITABLE, WRITABLE, READABLE, 0, 0, READABLE | WRITABLE):
        loop.poller.want(ours.fileno(), wanted)
        del watcher.events[:]
        turn(loop)
        assert watcher.events == ([wanted] if wanted else [])
    loop.poller.want(ours.fileno(), 0)
    # What wants nothing is watched all the same, until it is not.
    loop.unwatch(ours)
    loop.free()


def test_the_end_of_a_stream_can_be_read(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    loop.poller.want(ours.fileno(), READABLE)
    theirs.shutdown(socket.SHUT_WR)
    turn_until(loop, lambda: watcher.events and watcher.events[-1] & (READABLE | CLOSING))
    assert ours.recv(9) == b""


def test_a_reset_is_told(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    loop.poller.want(ours.fileno(), READABLE)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    turn_until(loop, lambda: watcher.events and watcher.events[-1] & (READABLE | CLOSING))
    with pytest.raises(ConnectionResetError):
        ours.recv(9)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_connect_that_succeeds_or_fails_is_told(loop: Loop, is_open: bool) -> None:
    watcher = Recorder()
    with socket.socket() as port, socket.socket() as client:
        port.bind(("127.0.0.1", 0))
        if is_open:
            port.listen()
        client.setblocking(False)
        client.connect_ex(port.getsockname())
        loop.watch_stream(client, watcher)
        turn_until(loop, lambda: watcher.events)
        assert watcher.events[0] & (WRITABLE | CLOSING)
        assert (client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0) is is_open
        loop.unwatch(client)


def test_a_listener_is_told_as_long_as_there_is_a_client(loop: Loop) -> None:
    watcher = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.watch_listener(listener, watcher)
        turn(loop)
        assert watcher.events == []
        with socket.create_connection(listener.getsockname()):
            turn_until(loop, lambda: watcher.events)
            turn(loop)
            turn(loop)
            assert watcher.events == [READABLE] * 3
            listener.accept()[0].close()
            turn(loop)
            assert watcher.events == [READABLE] * 3
        loop.unwatch(listener)


def test_the_best_poller_is_epoll_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = best_poller()
    assert isinstance(made, EpollPoller if LINUX else SelectorPoller)
    made.close()
    monkeypatch.delattr("select.epoll", raising=False)
    made = best_poller()
    assert isinstance(made, SelectorPoller)
    made.close()


# --- who is told ----------------------------------------------------------------------------------


def test_a_watcher_that_was_handed_over_to_another_hears_no_more(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair()
    first, second = Recorder(), Recorder()
    loop.watch_stream(ours, first)
    loop.hand_over(ours, second)
    theirs.send(b"x")
    turn_until(loop, lambda: second.events and second.events[-1] & READABLE)
    assert first.events == []


def test_what_is_not_watched_any_more_is_not_told_of_and_stays_open(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    loop.unwatch(ours)
    loop.unwatch(ours)
    theirs.send(b"x")
    turn(loop)
    assert watcher.events == []
    assert ours.recv(9) == b"x"
    # It can be watched again.
    loop.watch_stream(ours, watcher)
    turn_until(loop, lambda: watcher.events)


def test_a_socket_is_closed_at_the_end_of_the_turn(loop: Loop, pair: Pair) -> None:
    ours, _ = pair()
    loop.watch_stream(ours, Recorder())
    seen: list[int] = []

    def close() -> None:
        loop.close(ours)
        seen.append(ours.fileno())

    loop.call(close)
    loop._turn()
    assert seen[0] >= 0
    assert ours.fileno() == -1


def test_a_socket_that_is_not_watched_is_closed_too(loop: Loop, pair: Pair) -> None:
    ours, _ = pair()
    loop.close(ours)
    turn(loop)
    assert ours.fileno() == -1


def test_the_events_of_a_closed_socket_reach_neither_it_nor_a_new_owner_of_its_number(
    loop: Loop, pair: Pair
) -> None:
    ends = dict.fromkeys((pair(), pair()))
    sockets = [ours for ours, _ in ends]
    told: list[socket.socket] = []
    stranger = Recorder()
    new: list[socket.socket] = []

    def close_the_other(sock: socket.socket) -> None:
        told.append(sock)
        other = sockets[1 - sockets.index(sock)]
        number = other.fileno()
        loop.close(other)
        new.append(socket.socket())
        assert new[0].fileno() != number
        loop.watch_stream(new[0], stranger)
        # Only what belongs to the same turn is in question.
        loop.unwatch(new[0])
        loop.unwatch(sock)

    for ours, theirs in ends:
        theirs.send(b"x")
        watcher = Recorder(lambda sock=ours: close_the_other(sock))  # type: ignore[misc]
        loop.watch_stream(ours, watcher)
    turn_until(loop, lambda: told)
    assert len(told) == 1
    assert stranger.events == []
    assert sum(sock.fileno() == -1 for sock in sockets) == 1
    for sock in new:
        sock.close()


def test_again_tells_of_readability_in_the_next_turn_whatever_the_poller_says(
    loop: Loop, pair: Pair
) -> None:
    ours, _ = pair()
    watcher = Recorder()
    loop.watch_stream(ours, watcher)
    loop.poller.want(ours.fileno(), READABLE)
    turn(loop)
    del watcher.events[:]
    loop.again(ours)
    loop._turn()
    assert watcher.events == [READABLE]
    turn(loop)
    assert watcher.events == [READABLE]


def test_again_reaches_no_new_owner_of_the_number(loop: Loop, pair: Pair) -> None:
    ours, _ = pair()
    stranger = Recorder()
    loop.watch_stream(ours, Recorder())
    number = ours.fileno()
    loop.again(ours)
    loop.close(ours)
    loop._close_doomed()
    with contextlib.ExitStack() as stack:
        # The system gives the lowest number that is free.
        new = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        while new.fileno() != number:
            new = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        loop.watch_listener(new, stranger)
        turn(loop)
        loop.unwatch(new)
    assert stranger.events == []


# --- what raises ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Recorder, Stubborn])
def test_a_watcher_that_raises_is_ended_and_the_others_go_on(
    loop: Loop, pair: Pair, kind: type[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("oops")

    (bad_end, _), (good_end, _) = pair(), pair()
    bad, good = kind(fail), Recorder()
    loop.watch_stream(bad_end, bad)
    loop.watch_stream(good_end, good)
    turn_until(loop, lambda: good.events and bad.events)
    assert isinstance(bad.errors[0], ValueError)
    assert caplog.records[0].getMessage() == "<recorder> raised"
    assert len(caplog.records) == len(bad.errors) * (1 if kind is Recorder else 2)


@pytest.mark.parametrize("kind", [Recorder, Stubborn])
def test_a_deadline_that_raises_ends_its_owner_and_the_others_go_on(
    loop: Loop, kind: type[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("oops")

    bad, good = kind(fail), Recorder()
    loop.timers.set(bad, loop.now, loop.now)
    loop.timers.set(good, loop.now, loop.now)
    turn_until(loop, lambda: good.dues)
    assert [type(error) for error in bad.errors] == [ValueError]
    assert len(caplog.records) == (1 if kind is Recorder else 2)


def test_a_call_that_raises_is_logged_and_the_next_one_runs(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []
    loop.call(lambda: done.remove(0))
    loop.call(lambda: done.append(1))
    loop._turn()
    assert done == [1]
    assert [record.getMessage() for record in caplog.records] == ["a call on the loop raised"]


# --- calls and questions --------------------------------------------------------------------------


def test_calls_run_on_the_loops_thread_in_their_order(running: Loop) -> None:
    seen: list[tuple[int, int | None]] = []
    done = threading.Event()
    for number in range(1000):
        running.call(lambda number=number: seen.append((number, threading.get_ident())))  # type: ignore[misc]
    running.call(done.set)
    assert done.wait(PATIENCE)
    assert [number for number, _ in seen] == list(range(1000))
    assert {thread for _, thread in seen} == {running.ask(threading.get_ident)}
    assert running.ask(threading.get_ident) != threading.get_ident()


def test_a_call_wakes_a_loop_that_has_nothing_to_wait_for(running: Loop) -> None:
    for _ in range(100):
        done = threading.Event()
        running.call(done.set)
        assert done.wait(PATIENCE)


def test_a_byte_on_the_wake_up_descriptor_ends_the_wait(loop: Loop) -> None:
    os.write(loop.wakeup_fd, b"\0")
    loop._turn()


def test_whoever_calls_again_and_again_does_not_keep_a_turn_from_its_end(loop: Loop) -> None:
    count = 0

    def call_again() -> None:
        nonlocal count
        count += 1
        if count < 1000:
            loop.call(call_again)

    loop.call(call_again)
    loop._turn()
    assert count < 1000


def test_a_question_is_answered(running: Loop) -> None:
    assert running.ask(lambda: running.ask(lambda: 42)) == 42


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(3)])
def test_a_question_raises_where_it_was_asked(running: Loop, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        running.ask(fail)
    assert running.ask(lambda: "goes on") == "goes on"


def test_a_loop_that_does_not_run_answers_at_once(loop: Loop) -> None:
    assert loop.ask(threading.get_ident) == threading.get_ident()


def test_what_a_question_closed_is_closed_when_it_is_answered(running: Loop, pair: Pair) -> None:
    ours, _ = pair()
    running.ask(lambda: running.watch_stream(ours, Recorder()))
    running.ask(lambda: running.close(ours))
    assert ours.fileno() == -1


@pytest.mark.parametrize("poller", POLLERS)
def test_whoever_asks_while_the_loop_ends_gets_an_answer(poller: Callable[[], Poller]) -> None:
    def ask(loop: Loop, answers: list[int]) -> None:
        answers.extend(loop.ask(lambda number=number: number) for number in range(50))  # type: ignore[misc]

    for _ in range(10):
        loop = Loop(poller())
        loop.start("test")
        answers: list[int] = []
        threads = [threading.Thread(target=ask, args=(loop, answers)) for _ in range(4)]
        for thread in threads:
            thread.start()
        loop.stop()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        loop.join()
        assert sorted(answers) == sorted(list(range(50)) * 4)


# --- life -----------------------------------------------------------------------------------------


def test_a_loop_that_is_stopped_before_it_runs_returns(poller: Poller) -> None:
    loop = Loop(poller)
    loop.stop()
    loop.run()


def test_calls_that_came_too_late_for_the_last_turn_are_made_all_the_same(poller: Poller) -> None:
    done: list[int] = []
    loop = Loop(poller)
    late = Recorder(lambda: loop.call(lambda: done.append(1)))
    loop.timers.set(late, loop.now, loop.now)
    turn_until(loop, lambda: late.dues)
    loop.stop()
    loop.call(lambda: loop.call(lambda: done.append(2)))
    loop.run()
    assert done == [1, 2]


def test_joining_a_loop_that_was_never_started_returns(loop: Loop) -> None:
    loop.join()


def test_calling_a_loop_that_has_ended_does_no_harm(poller: Poller) -> None:
    loop = Loop(poller)
    loop.stop()
    loop.run()
    loop.call(lambda: None)
    loop.stop()
    assert loop.ask(lambda: 42) == 42


def test_a_loop_that_has_ended_closes_what_it_was_told_to_close(poller: Poller, pair: Pair) -> None:
    ours, _ = pair()
    loop = Loop(poller)
    loop.watch_stream(ours, Recorder())
    loop.close(ours)
    assert ours.fileno() >= 0
    loop.stop()
    loop.run()
    assert ours.fileno() == -1


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there are no such signals here")
def test_a_signal_stops_a_loop_that_waits_on_the_main_thread(loop: Loop) -> None:
    is_ready = threading.Event()

    def send() -> None:
        is_ready.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
    # The system may interrupt any thread, and then the one that waits would sleep on.
    wakeup_before = signal.set_wakeup_fd(loop.wakeup_fd)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        loop.call(is_ready.set)
        loop.run()
    finally:
        sender.join()
        signal.set_wakeup_fd(wakeup_before)
        signal.signal(signal.SIGUSR1, before)


def test_the_loop_runs_until_the_deadline_and_not_longer(loop: Loop) -> None:
    owner = Recorder(loop.stop)
    start = loop.now
    loop.timers.set(owner, start + 0.05, start)
    loop.run()
    assert owner.dues[0] >= start + 0.05


def test_an_alarm_rings_once_unless_it_is_cancelled(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    rung: list[str] = []

    def ring_badly() -> None:
        rung.append("bad")
        raise ValueError("oops")

    loop.after(0.01, lambda: rung.append("good"))
    loop.after(0.01, ring_badly)
    loop.timers.cancel(loop.after(0.01, lambda: rung.append("never")))
    loop.after(0.05, lambda: rung.append("last"))
    turn_until(loop, lambda: "last" in rung)
    assert rung == ["good", "bad", "last"]
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR


def test_an_alarm_that_another_cancels_in_the_same_turn_does_not_ring(loop: Loop) -> None:
    rung: list[str] = []

    def ring() -> None:
        rung.append("first")
        loop.timers.cancel(second)

    loop.after(0.0, ring)
    second = loop.after(0.0, lambda: rung.append("second"))
    turn_until(loop, lambda: rung)
    assert rung == ["first"]
