"""Checks against real listeners. The clock is the test's, so that a minute of checks takes none."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import queue
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from dsbalance.errors import ConfigError, ConnectError
from dsbalance.gate import Gate
from dsbalance.health import CheckResult, CheckStatus, HealthChecker, Watch
from dsbalance.loop import Loop
from dsbalance.model import Check, Server
from dsbalance.poller import READABLE, EpollPoller, Poller, SelectorPoller
from dsbalance.resolve import Target

# How long something that happens at once may take on a machine that is busy.
PATIENCE = 60.0
# The grain of a loop's deadlines.
TICK = 1 / 32
# Linux refuses a TCP connect to a broadcast address itself: an error of our own, without a packet.
NO_ROUTE = "127.255.255.255"

LINUX = sys.platform.startswith("linux")
POLLERS = [SelectorPoller, *([EpollPoller] if LINUX else [])]


class HeldLoop(Loop):
    """A loop whose clock stands where the test puts it."""

    __slots__ = ()

    def turn(self, now: float, timeout: float = 0.0) -> None:
        """Take one turn as of ``now``, in which up to ``timeout`` real seconds are waited."""
        self.now = now
        for fd, events in self.poller.poll(timeout):
            if fd == self._waker.fileno():
                self._waker.recv(4096)
            elif fd in self._watchers:
                self._watchers[fd].on_events(events)
        for timed in self.timers.take(now):
            try:
                timed.on_due(now)
            except Exception as error:  # noqa: BLE001 - the loop's guard
                timed.on_crash(error)
        self._answer_all()
        self._close_doomed()


class Bench:
    """A checker on a held loop, with what it said."""

    def __init__(self, poller: Poller) -> None:
        self.loop = HeldLoop(poller)
        self.loop.now = 0.0
        self.checker = HealthChecker(self.loop)
        self.results: list[CheckResult] = []
        self.changes: list[tuple[str, bool]] = []

    def watch(self, server: Server, **options: Any) -> Gate:
        """Watch ``server``; the results are noted and fed to the gate that is returned."""
        assert server.check
        gate = Gate(server.check.rise, server.check.fall)

        def note(result: CheckResult) -> None:
            self.results.append(result)
            if not result.is_local:
                gate.passed() if result.is_passed else gate.failed()

        self.checker.watch_all([Watch(server=server, gate=gate, on_result=note, **options)])
        return gate

    def on_change(self, server: Server, is_up: bool) -> None:
        self.changes.append((server.name, is_up))

    @property
    def connecting(self) -> int:
        """The sockets that are open."""
        return len(self.loop._watchers)

    def turn(self, now: float) -> None:
        self.loop.turn(now)

    def settle(self, now: float) -> None:
        """Let what is due by ``now`` happen, a tick later, and every check come to its end."""
        self.loop.turn(now)
        self.loop.turn(now + TICK)
        while self.connecting:
            self.loop.turn(now + TICK, PATIENCE)

    def run(self, until: float, step: float = TICK) -> None:
        """Settle again and again, the clock going on by ``step``."""
        start = self.loop.now
        for count in range(1, round((until - start) / step) + 1):
            self.settle(start + count * step)

    def close(self) -> None:
        self.checker.close()
        self.loop.free()


@pytest.fixture(params=POLLERS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param())
    yield bench
    bench.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """What is put in is closed in the end."""
    opened: list[socket.socket] = []
    yield opened
    for sock in opened:
        sock.close()


@pytest.fixture
def closed_port(sockets: list[socket.socket]) -> Callable[[], socket.socket]:
    """Return a function that makes a socket whose port refuses, until it is told to listen."""

    def make() -> socket.socket:
        sock = socket.socket()
        sockets.append(sock)
        sock.bind(("127.0.0.1", 0))
        return sock

    return make


@pytest.fixture
def open_port(closed_port: Callable[[], socket.socket]) -> Callable[[], socket.socket]:
    """Return a function that makes a listener which has nothing to accept yet."""

    def make() -> socket.socket:
        sock = closed_port()
        sock.listen()
        sock.setblocking(False)
        return sock

    return make


@pytest.fixture
def filtered_port(
    closed_port: Callable[[], socket.socket], sockets: list[socket.socket]
) -> Callable[[], socket.socket]:
    """Return a function that makes a listener whose full backlog swallows every SYN."""
    if not LINUX:
        pytest.skip("only Linux is known to drop what does not fit the backlog")

    def make() -> socket.socket:
        sock = closed_port()
        sock.listen(0)
        sockets.append(socket.create_connection(sock.getsockname()))
        return sock

    return make


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def server(*ports: int | socket.socket, host: str = "127.0.0.1", **check: Any) -> Server:
    """Return a server that is checked on ``ports``."""
    numbers = tuple(port if isinstance(port, int) else port_of(port) for port in ports)
    return Server(name="primary-1", host=host, check=Check(ports=numbers, **check))


# --- results --------------------------------------------------------------------------------------


def test_an_open_port_passes(bench: Bench, open_port: Callable[[], socket.socket]) -> None:
    listener = open_port()
    gate = bench.watch(server(listener))
    bench.settle(0.1)
    assert bench.results == [CheckResult(status=CheckStatus.L4OK, port=port_of(listener))]
    assert gate.text == "UP"


def test_the_servers_own_port_is_checked_when_the_check_names_none(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    port = port_of(open_port())
    bench.watch(Server(name="a", host="127.0.0.1", port=port, check=Check()))
    bench.settle(0.1)
    assert [(each.port, each.is_passed) for each in bench.results] == [(port, True)]


def test_a_closed_port_fails(bench: Bench, closed_port: Callable[[], socket.socket]) -> None:
    port = port_of(closed_port())
    gate = bench.watch(server(port))
    bench.settle(0.1)
    words = os.strerror(errno.ECONNREFUSED)
    assert bench.results == [CheckResult(status=CheckStatus.L4CON, port=port, detail=words)]
    assert not gate.is_up


def test_the_systems_own_table_of_words_is_used_where_there_is_one(
    bench: Bench, closed_port: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "errorTab", {errno.ECONNREFUSED: "As on Windows."}, raising=False)
    bench.watch(server(closed_port()))
    bench.settle(0.1)
    assert bench.results[0].detail == "As on Windows"


def test_ipv6_is_checked_too(bench: Bench, sockets: list[socket.socket]) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    sockets.append(listener)
    bench.watch(server(listener, host="::1"))
    bench.settle(0.1)
    assert bench.results[0].is_passed


# --- what the application sees --------------------------------------------------------------------


class Application:
    """A program that serves a port on a thread of its own and notes whom it accepted."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = port_of(self._listener)
        self._accepted: list[int] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        greeting = b""
        while greeting != b"last":
            client, address = self._listener.accept()
            self._accepted.append(address[1])
            with client:
                try:
                    greeting = client.recv(4)
                except ConnectionError:
                    greeting = b""

    def stop(self) -> list[int]:
        """Return the ports of all clients, once a last one is served: it stands behind them."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"last")
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()
            self._listener.close()
            assert self._accepted.pop() == port_of(last)
        return self._accepted


@pytest.mark.skipif(not LINUX, reason="only Linux can hold the end of a handshake back")
def test_the_application_accepts_none_of_many_checks(bench: Bench) -> None:
    applications = Application(), Application()
    try:
        bench.watch(server(*(each.port for each in applications), interval=1.0))
        bench.run(50.0, step=1.25)
        assert len(bench.results) == 40
        assert all(result.is_passed for result in bench.results)
    finally:
        accepted = [each.stop() for each in applications]
    assert accepted == [[], []]


@pytest.mark.skipif(not LINUX, reason="only Linux can hold the end of a handshake back")
def test_a_check_leaves_nothing_in_the_backlog(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    listener = open_port()
    bench.watch(server(listener, interval=1.0))
    bench.run(25.0, step=1.25)
    assert len(bench.results) == 20
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_without_quickack_a_check_passes_all_the_same(
    bench: Bench, open_port: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_QUICKACK", raising=False)
    listener = open_port()
    bench.watch(server(listener))
    bench.settle(0.1)
    assert bench.results[0].is_passed
    # What the application gets instead is a connection that was reset, not one that was closed.
    listener.setblocking(True)
    client, _ = listener.accept()
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)


# --- several ports --------------------------------------------------------------------------------


def test_all_ports_must_be_open(
    bench: Bench,
    open_port: Callable[[], socket.socket],
    closed_port: Callable[[], socket.socket],
) -> None:
    spooler, terminal = open_port(), closed_port()
    bench.watch(server(spooler, terminal, interval=5.0))
    bench.settle(0.1)
    terminal.listen()
    bench.settle(5.2)
    assert [(each.status, each.port) for each in bench.results] == [
        (CheckStatus.L4CON, port_of(terminal)),
        (CheckStatus.L4OK, port_of(terminal)),
    ]


def test_the_first_port_that_fails_ends_the_check(
    bench: Bench,
    closed_port: Callable[[], socket.socket],
    filtered_port: Callable[[], socket.socket],
) -> None:
    refusing, silent = closed_port(), filtered_port()
    bench.watch(server(refusing, silent))
    bench.settle(0.1)
    assert [(each.status, each.port) for each in bench.results] == [
        (CheckStatus.L4CON, port_of(refusing))
    ]


def test_the_interval_limits_all_ports_together(
    bench: Bench,
    open_port: Callable[[], socket.socket],
    filtered_port: Callable[[], socket.socket],
) -> None:
    silent = filtered_port()
    bench.watch(server(open_port(), silent, interval=5.0), connect_timeout=1.0)
    connect_at(bench, 1.0, 3.0)
    bench.turn(5.95)
    assert bench.results == []
    bench.turn(6.1)
    assert [(each.status, each.port) for each in bench.results] == [
        (CheckStatus.L4TOUT, port_of(silent))
    ]


def test_the_check_timeout_limits_what_follows_the_first_connect(
    bench: Bench,
    open_port: Callable[[], socket.socket],
    filtered_port: Callable[[], socket.socket],
) -> None:
    silent = filtered_port()
    bench.watch(server(open_port(), open_port(), silent, interval=20.0, timeout=3.0))
    connect_at(bench, 1.0, 2.0, 4.0)
    bench.turn(4.95)
    assert bench.results == []
    bench.turn(5.1)
    (result,) = bench.results
    assert (result.status, result.port) == (CheckStatus.L4TOUT, port_of(silent))
    assert result.elapsed == pytest.approx(4.1)


def connect_at(bench: Bench, *instants: float) -> None:
    """Let the check of the only server begin at the first instant, and connect at the others."""
    (prober,) = bench.checker._probers.values()
    bench.turn(instants[0] - TICK)
    bench.turn(instants[0])
    for step, now in enumerate(instants[1:], start=1):
        while prober._step < step:
            bench.loop.turn(now, PATIENCE)


# --- limits of a check ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "connect_timeout", "limit"),
    [
        (None, None, 8.0),
        # Without `timeout check` the interval alone counts.
        (None, 1.0, 8.0),
        (2.0, None, 8.0),
        (2.0, 3.0, 3.0),
        (2.0, 30.0, 8.0),
    ],
)
def test_a_port_that_does_not_answer_fails_at_its_limit(
    bench: Bench,
    filtered_port: Callable[[], socket.socket],
    timeout: float | None,
    connect_timeout: float | None,
    limit: float,
) -> None:
    watched = server(filtered_port(), interval=8.0, timeout=timeout)
    gate = bench.watch(watched, connect_timeout=connect_timeout)
    bench.turn(0.0)
    bench.turn(TICK)
    bench.turn(limit)
    assert bench.results == []
    assert bench.connecting == 1
    bench.turn(limit + 3 * TICK)
    assert [(each.status, each.detail) for each in bench.results] == [(CheckStatus.L4TOUT, "")]
    assert not gate.is_up


def test_readiness_to_read_is_no_connection(
    bench: Bench, filtered_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(filtered_port()))
    bench.turn(0.0)
    bench.turn(TICK)
    (prober,) = bench.checker._probers.values()
    prober.on_events(READABLE)
    assert bench.connecting == 1
    assert bench.results == []


def test_a_check_never_overlaps_itself(
    bench: Bench, filtered_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(filtered_port(), interval=1.0))
    sockets = []
    for count in range(320):
        bench.turn(count * TICK)
        sockets.append(bench.connecting)
    # A second to time out, a second of rest, and a tick or two for each.
    assert len(bench.results) == 5
    assert set(sockets) == {0, 1}


def test_what_answers_after_the_limit_is_ignored(
    bench: Bench,
    filtered_port: Callable[[], socket.socket],
    sockets: list[socket.socket],
) -> None:
    listener = filtered_port()
    gate = bench.watch(server(listener, interval=1.0))
    bench.turn(0.0)
    bench.turn(TICK)
    bench.turn(1.2)
    # The backlog has room again, for the next check but not for this one.
    sockets.append(listener.accept()[0])
    bench.settle(1.3)
    assert [each.status for each in bench.results] == [CheckStatus.L4TOUT]
    bench.settle(2.4)
    assert [each.status for each in bench.results] == [CheckStatus.L4TOUT, CheckStatus.L4OK]
    assert gate.text == "DOWN 1/2"


# --- rise, fall and the intervals -----------------------------------------------------------------


def test_the_interval_follows_the_state(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    port = closed_port()
    watched = server(port, interval=10.0, fast_interval=1.0, down_interval=4.0, rise=2, fall=2)
    gate = bench.watch(watched)
    seen = []

    def next_result(now: float) -> float:
        """Return when the result after ``now`` comes, and note the state that it leads to."""
        before = len(bench.results)
        while len(bench.results) == before:
            now += TICK
            bench.settle(now)
        seen.append(gate.text)
        return now

    due = [next_result(0.0)]
    due += [next_result(due[-1])]
    port.listen()
    due += [next_result(due[-1])]
    due += [next_result(due[-1])]
    due += [next_result(due[-1])]
    port.close()
    due += [next_result(due[-1])]
    due += [next_result(due[-1])]
    assert seen == ["DOWN", "DOWN", "DOWN 1/2", "UP", "UP", "UP 1/2", "DOWN"]
    waits = [after - before for before, after in itertools.pairwise(due)]
    # down, down, in doubt, up, up, in doubt; never early, and a tick late at the most.
    assert waits == pytest.approx([4.0, 4.0, 1.0, 10.0, 10.0, 1.0], abs=2 * TICK)


def test_a_change_is_told_once_and_only_after_fall_or_rise_checks(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    port = closed_port()
    port.listen()
    watched = server(port, interval=1.0, rise=3, fall=3)
    bench.checker.watch(watched, on_change=bench.on_change)
    bench.run(5.0, step=1.25)
    assert bench.changes == []
    number = port_of(port)
    port.close()
    bench.settle(6.25)
    bench.settle(7.5)
    assert bench.changes == []
    bench.settle(8.75)
    bench.settle(10.0)
    assert bench.changes == [("primary-1", False)]
    with socket.create_server(("127.0.0.1", number)):
        bench.settle(11.25)
        bench.settle(12.5)
        assert bench.changes == [("primary-1", False)]
        bench.settle(13.75)
        bench.settle(15.0)
    assert bench.changes == [("primary-1", False), ("primary-1", True)]


def test_a_server_is_one_failed_check_away_from_down_at_the_start(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    bench.checker.watch(server(closed_port(), fall=3), on_change=bench.on_change)
    bench.settle(0.1)
    assert bench.changes == [("primary-1", False)]


def test_a_gate_can_be_the_callers_and_is_fed_all_the_same(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    gate = Gate(rise=1, fall=2)
    bench.checker.watch(server(open_port()), gate=gate)
    bench.settle(0.1)
    assert gate.text == "UP"


def test_whoever_takes_the_results_feeds_the_gate(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    gate = Gate(rise=1, fall=1)
    results: list[CheckResult] = []
    bench.checker.watch(server(closed_port()), gate=gate, on_result=results.append)
    bench.settle(0.1)
    assert [each.status for each in results] == [CheckStatus.L4CON]
    assert gate.is_up


def test_a_change_is_told_too_when_the_caller_feeds_the_gate(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(closed_port()), on_change=bench.on_change)
    bench.settle(0.1)
    assert bench.changes == [("primary-1", False)]


# --- errors of this machine -----------------------------------------------------------------------


@pytest.mark.skipif(not LINUX, reason="other systems may send to a broadcast address")
def test_an_error_of_this_machine_is_not_the_servers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    watched = server(5022, host=NO_ROUTE, interval=1.0)
    bench.checker.watch(watched, on_change=bench.on_change)
    with caplog.at_level(logging.INFO, "dsbalance.health"):
        bench.run(6.25, step=1.25)
    assert bench.changes == []
    assert [record.getMessage() for record in caplog.records] == [
        "server primary-1 cannot be checked and keeps its state: " + os.strerror(errno.ENETUNREACH)
    ]


@pytest.mark.skipif(not LINUX, reason="other systems may send to a broadcast address")
def test_a_check_that_this_machine_could_not_make_is_tried_again_after_the_interval(
    bench: Bench,
) -> None:
    gate = bench.watch(server(5022, host=NO_ROUTE, interval=1.0))
    bench.run(6.25, step=1.25)
    assert [each.status for each in bench.results] == [CheckStatus.SOCKERR] * 5
    assert gate.text == "UP 1/3"


def test_a_family_that_this_machine_does_not_speak_is_not_the_servers_fault(bench: Bench) -> None:
    gate = bench.watch(server(5022), target=Target(socket.AddressFamily.AF_APPLETALK, "1"))
    bench.settle(0.1)
    assert [each.status for each in bench.results] == [CheckStatus.SOCKERR]
    assert gate.text == "UP 1/3"


NO_DESCRIPTORS = """
    import logging, queue, resource, socket, sys
    from dsbalance.health import HealthChecker
    from dsbalance.model import Check, Server

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    listener = socket.create_server(("127.0.0.1", 0))
    check = Check(ports=(listener.getsockname()[1],), interval=0.05)
    results = queue.SimpleQueue()

    taken = []

    def take_all():
        try:
            while True:
                taken.append(socket.socket())
        except OSError:
            pass

    with HealthChecker() as checker:
        checker.watch(Server(name="a", host="127.0.0.1", check=check), on_result=results.put)
        assert results.get(timeout=60).status == "L4OK"
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        # Again after each result: what a check still had while the others were taken comes free.
        take_all()
        while results.get(timeout=60).status != "SOCKERR":
            take_all()
        assert results.get(timeout=60).status == "SOCKERR"
        for sock in taken:
            sock.close()
        while results.get(timeout=60).status != "L4OK":
            pass
    listener.close()
"""


def test_without_descriptors_a_check_says_nothing_and_is_logged_once() -> None:
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(NO_DESCRIPTORS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "server a cannot be checked and keeps its state: " + os.strerror(errno.EMFILE),
        "server a can be checked again",
    ]


# --- many servers ---------------------------------------------------------------------------------


def watches(bench: Bench, count: int, listener: socket.socket, **check: Any) -> dict[str, int]:
    """Watch ``count`` servers; return how many results each of them had."""
    counts = {f"s{number}": 0 for number in range(count)}

    def note(name: str, _: CheckResult) -> None:
        counts[name] += 1

    checked = Check(ports=(port_of(listener),), **check)
    bench.checker.watch_all(
        Watch(
            server=Server(name=name, host="127.0.0.1", check=checked),
            on_result=partial(note, name),
        )
        for name in counts
    )
    return counts


def test_the_spread_begins_when_the_loop_begins_not_when_the_servers_are_given(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    counts = watches(bench, 4, open_port(), interval=2.0)
    seen = []
    for now in (7000.0, 7000.1, 7000.6, 7001.1, 7001.6):
        bench.settle(now)
        seen.append(sum(counts.values()))
    assert seen == [1, 1, 2, 3, 4]


def test_after_a_suspension_each_server_is_checked_once_and_not_all_at_once(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    counts = watches(bench, 40, open_port(), interval=10.0)
    bench.run(10.0, step=0.25)
    assert set(counts.values()) == {1}
    bench.turn(3600.0)
    assert set(counts.values()) == {1}
    at_a_time = []
    for step in range(1, 41):
        before = sum(counts.values())
        bench.settle(3600.0 + step * 0.25)
        at_a_time.append(sum(counts.values()) - before)
    bench.settle(3610.1)
    assert set(counts.values()) <= {2, 3}
    assert sum(at_a_time) >= 39
    # 40 places taken by chance among 40: a dozen in one is less likely than a broken machine.
    assert max(at_a_time) < 20


def test_a_check_that_was_under_way_when_the_machine_was_suspended_has_no_result(
    bench: Bench, filtered_port: Callable[[], socket.socket]
) -> None:
    gate = bench.watch(server(filtered_port(), interval=10.0))
    bench.turn(0.0)
    bench.turn(TICK)
    assert bench.connecting == 1
    bench.turn(3600.0)
    assert bench.connecting == 0
    assert bench.results == []
    # It begins anew within an interval, and then has another to come to its end.
    bench.turn(3605.0)
    bench.turn(3610.2)
    assert bench.connecting == 1
    bench.turn(3615.1)
    bench.turn(3620.4)
    assert [each.status for each in bench.results] == [CheckStatus.L4TOUT]
    assert not gate.is_up


def test_a_short_interval_is_not_taken_for_a_suspension(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(open_port(), interval=0.001))
    bench.run(1.0)
    assert len(bench.results) >= 10


# --- track ----------------------------------------------------------------------------------------


def tracking(track: str, name: str = "primary-1") -> Server:
    return Server(name=name, host="127.0.0.1", port=5012, track=track)


@pytest.mark.parametrize("tracked_first", [True, False])
def test_a_server_that_tracks_changes_with_the_other_and_is_not_checked_itself(
    bench: Bench, closed_port: Callable[[], socket.socket], tracked_first: bool
) -> None:
    tracked = Watch(server=server(closed_port()), key="paragon/primary-1")
    follower = Watch(
        server=tracking("paragon/primary-1", "follower"),
        key="paragon-http/primary-1",
        on_change=bench.on_change,
    )
    bench.checker.watch_all([tracked, follower] if tracked_first else [follower, tracked])
    bench.turn(0.0)
    bench.turn(TICK)
    assert bench.connecting <= 1
    bench.settle(0.1)
    assert bench.changes == [("follower", False)]


def test_a_server_that_is_forgotten_is_told_nothing(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    bench.checker.watch(server(closed_port()), key="b/s")
    bench.checker.watch(tracking("b/s"), key="c/s", on_change=bench.on_change)
    bench.checker.unwatch("c/s")
    bench.settle(0.1)
    assert bench.changes == []
    # Its key is free again.
    bench.checker.watch(tracking("b/s"), key="c/s")


def test_a_tracked_server_cannot_be_forgotten(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    bench.checker.watch(server(closed_port()), key="b/s")
    bench.checker.watch(tracking("b/s"), key="c/s")
    with pytest.raises(ConfigError, match="server b/s: other servers track it"):
        bench.checker.unwatch("b/s")
    bench.checker.unwatch("c/s")
    bench.checker.unwatch("b/s")


@pytest.mark.parametrize("track", ["b/gone", "c/s"])
def test_only_a_server_that_is_checked_can_be_tracked(
    bench: Bench, closed_port: Callable[[], socket.socket], track: str
) -> None:
    bench.checker.watch(server(closed_port()), key="b/s")
    bench.checker.watch(tracking("b/s"), key="c/s")
    with pytest.raises(ConfigError, match=f"server d/s: track: no server '{track}' is checked"):
        bench.checker.watch(tracking(track), key="d/s")


def test_pausing_a_server_that_tracks_leaves_the_tracked_one_alone(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(open_port()), key="b/s")
    bench.checker.watch(tracking("b/s"), key="c/s")
    bench.checker.pause("c/s")
    bench.checker.resume("c/s")
    bench.settle(0.1)
    assert len(bench.results) == 1


# --- who is watched -------------------------------------------------------------------------------


def test_a_host_is_resolved_where_the_server_is_given(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    target = Target(socket.AF_INET, "127.0.0.1")
    bench.watch(server(open_port(), host="not..a.name"), target=target)
    bench.settle(0.1)
    assert bench.results[0].is_passed


def test_the_checks_own_host_comes_first(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    target = Target(socket.AF_INET, NO_ROUTE)
    bench.watch(server(open_port(), host=NO_ROUTE), target=target)
    check = Check(host="127.0.0.1", ports=(port_of(open_port()),))
    bench.watch(Server(name="other", host=NO_ROUTE, check=check))
    bench.settle(0.1)
    assert [each.is_passed for each in bench.results] == [False, True]


def test_a_host_that_does_not_resolve_is_refused_and_nothing_is_watched(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    good, bad = server(open_port()), server(5022, host="not..a.name")
    with pytest.raises(ConnectError, match=r"server bad: not\.\.a\.name"):
        bench.checker.watch_all([Watch(server=good), Watch(server=bad, key="bad")])
    bench.checker.watch(good)


def test_a_key_is_taken_once(bench: Bench) -> None:
    bench.checker.watch(server(5022), key=("b", 1))
    with pytest.raises(ConfigError, match="it is watched already"):
        bench.checker.watch_all([Watch(server=server(5022)), Watch(server=server(9), key=("b", 1))])
    # The one before it was not kept.
    bench.checker.watch(server(5022))


def test_a_server_without_check_and_track_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="server a: it has neither a check nor a server to track"):
        bench.checker.watch(Server(name="a", host="127.0.0.1", port=9))


def test_an_unknown_key_is_refused(bench: Bench) -> None:
    for action in (bench.checker.unwatch, bench.checker.pause, bench.checker.resume):
        with pytest.raises(KeyError):
            action("gone")


def test_a_forgotten_server_has_no_more_results(
    bench: Bench, filtered_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(filtered_port(), interval=1.0))
    bench.turn(0.0)
    bench.turn(TICK)
    assert bench.connecting == 1
    bench.checker.unwatch("primary-1")
    assert bench.connecting == 0
    bench.run(5.0, step=0.5)
    assert bench.results == []


# --- maintenance ----------------------------------------------------------------------------------


def test_a_paused_server_is_not_checked_until_it_is_resumed(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(open_port(), interval=1.0))
    bench.settle(0.1)
    bench.checker.pause("primary-1")
    bench.run(10.1, step=0.5)
    assert len(bench.results) == 1
    bench.checker.resume("primary-1")
    bench.checker.resume("primary-1")
    bench.settle(10.2)
    bench.settle(10.3)
    assert len(bench.results) == 2


def test_a_check_that_is_under_way_ends_with_the_pause(
    bench: Bench, filtered_port: Callable[[], socket.socket]
) -> None:
    bench.watch(server(filtered_port(), interval=1.0))
    bench.turn(0.0)
    bench.turn(TICK)
    bench.checker.pause("primary-1")
    assert bench.connecting == 0
    bench.turn(1.2)
    assert bench.results == []


def test_a_server_comes_back_from_maintenance_as_it_started(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    bench.checker.watch(server(closed_port()), on_change=bench.on_change)
    bench.settle(0.1)
    bench.checker.pause("primary-1")
    bench.checker.resume("primary-1")
    bench.turn(0.2)
    assert bench.changes == [("primary-1", False), ("primary-1", True)]
    bench.settle(0.3)
    assert bench.changes[2:] == [("primary-1", False)]


def test_the_gate_of_another_is_not_touched_by_resume(
    bench: Bench, closed_port: Callable[[], socket.socket]
) -> None:
    gate = bench.watch(server(closed_port()))
    bench.settle(0.1)
    bench.checker.pause("primary-1")
    bench.checker.resume("primary-1")
    assert not gate.is_up


def test_a_disabled_server_starts_in_maintenance(
    bench: Bench, open_port: Callable[[], socket.socket]
) -> None:
    check = Check(ports=(port_of(open_port()),))
    bench.watch(Server(name="a", host="127.0.0.1", disabled=True, check=check))
    bench.run(5.0, step=0.5)
    assert bench.results == []
    bench.checker.resume("a")
    bench.settle(5.1)
    bench.settle(5.2)
    assert len(bench.results) == 1


@pytest.mark.parametrize("action", ["pause", "unwatch"])
def test_a_callback_may_end_the_checks_that_it_is_told_of(
    bench: Bench, open_port: Callable[[], socket.socket], action: str
) -> None:
    results: list[CheckResult] = []

    def end(result: CheckResult) -> None:
        results.append(result)
        getattr(bench.checker, action)("primary-1")

    bench.checker.watch(server(open_port(), interval=1.0), on_result=end)
    bench.run(5.0, step=0.5)
    assert len(results) == 1


@pytest.mark.skipif(not LINUX, reason="other systems may send to a broadcast address")
def test_a_server_may_be_paused_in_the_turn_in_which_its_check_is_due(bench: Bench) -> None:
    names = ["a", "b"]
    results: list[str] = []

    def pause_the_other(name: str, _: CheckResult) -> None:
        results.append(name)
        bench.checker.pause(names[1 - names.index(name)])

    # Both are due in one turn, and the first of them has its result within it.
    for name in names:
        watched = Server(name=name, host=NO_ROUTE, check=Check(ports=(9,)))
        bench.checker.watch(watched, on_result=partial(pause_the_other, name))
    bench.run(2.0, step=0.5)
    assert results == ["a"]


# --- callbacks that raise -------------------------------------------------------------------------


def test_a_callback_that_raises_does_not_end_the_checks(
    bench: Bench, closed_port: Callable[[], socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def on_change(watched: Server, _: bool) -> None:
        told.append(watched.name)
        raise RuntimeError(watched.name)

    bench.checker.watch(server(closed_port()), key="b/s", on_change=on_change)
    bench.checker.watch(tracking("b/s", "follower"), on_change=on_change)
    bench.settle(0.1)
    assert told == ["primary-1", "follower"]
    assert len(caplog.records) == 2


def test_a_server_whose_results_cannot_be_taken_is_checked_again() -> None:
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()

    def on_result(result: CheckResult) -> None:
        results.put(result)
        raise RuntimeError(result.reason)

    with socket.create_server(("127.0.0.1", 0)) as listener, HealthChecker() as checker:
        checker.watch(server(listener, interval=0.01), on_result=on_result)
        for _ in range(3):
            assert results.get(timeout=PATIENCE).is_passed


# --- alone, on a thread of its own ----------------------------------------------------------------


def test_a_tool_can_watch_servers_without_a_proxy() -> None:
    changes: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    with socket.socket() as port, HealthChecker() as checker:
        port.bind(("127.0.0.1", 0))
        checker.watch(
            server(port, interval=0.01, rise=3),
            on_change=lambda server, is_up: changes.put((server.name, is_up)),
        )
        assert changes.get(timeout=PATIENCE) == ("primary-1", False)
        port.listen()
        assert changes.get(timeout=PATIENCE) == ("primary-1", True)
        port.close()
        assert changes.get(timeout=PATIENCE) == ("primary-1", False)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_checker_runs_in_a_loop_that_is_anothers(poller: Callable[[], Poller]) -> None:
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    loop = Loop(poller())
    checker = HealthChecker(loop)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        checker.watch(server(listener, interval=0.01), on_result=results.put)
        loop.start("test")
        for _ in range(3):
            assert results.get(timeout=PATIENCE).is_passed
        checker.close()
        assert loop.ask(lambda: "still there") == "still there"
        loop.stop()
        loop.join()


def test_servers_come_and_go_on_several_threads() -> None:
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    errors: list[BaseException] = []

    def work(number: int, listener: socket.socket, checker: HealthChecker) -> None:
        try:
            for count in range(20):
                key = (number, count)
                checker.watch(server(listener, interval=0.01), key=key, on_result=results.put)
                checker.pause(key)
                checker.resume(key)
                if count % 2:
                    checker.unwatch(key)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener, HealthChecker() as checker:
        threads = [
            threading.Thread(target=work, args=(number, listener, checker)) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not errors
        for _ in range(80):
            assert results.get(timeout=PATIENCE).is_passed


def test_a_closed_checker_has_freed_everything_and_takes_nothing(
    filtered_port: Callable[[], socket.socket],
) -> None:
    before = threading.active_count()
    checker = HealthChecker()
    checker.watch(server(filtered_port(), interval=5.0))
    checker.close()
    checker.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        checker.watch(server(5022))
    with pytest.raises(KeyError):
        checker.pause("primary-1")
