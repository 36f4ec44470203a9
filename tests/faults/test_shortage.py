"""Too little of everything: descriptors, luck with accept, places. And 500 who say nothing."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest

from actors import PATIENCE, Peer, connect, greeted_by, state, until
from dsbalance import Backend, Balance, Change, Config
from dsbalance.limits import make_budget
from dsbalance.relay import Progress
from dsbalance.splice import Channel
from faults.clock import Clock
from faults.program import Program
from faults.stage import PlayedServer, Stage

Start: TypeAlias = Callable[..., Program]

GREETING = b"a".ljust(16)
# How long a program is watched that has nothing to do, in seconds, and what it may use of a second.
WATCHED = 0.2
IDLE = 0.05

on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells what another process has open"
)


def two_frontends(config: Config) -> Config:
    """Return ``config`` with its second server behind a frontend of its own, ``side``."""
    (front,), (back,) = config.frontends, config.backends
    first, second = back.servers
    return replace(
        config,
        frontends=(front, replace(front, name="side", backend="other")),
        backends=(replace(back, servers=(first,)), Backend(name="other", servers=(second,))),
    )


# -- descriptors


def assert_idle(program: Program, waiting: Sequence[Peer]) -> None:
    """Demand that a program does nothing for a while, and so nothing for those who wait."""
    before = program.cpu
    assert select.select([client.sock for client in waiting], [], [], WATCHED)[0] == []
    assert program.cpu - before < IDLE * WATCHED


@on_linux
def test_a_program_that_is_full_rests_and_serves_who_waits(stage: Stage, start: Start) -> None:
    """Case 38: 64 descriptors, 100 clients: idle while full, and all are served in the end."""
    stage.greeter("a")
    program = start(descriptors=64)
    room = make_budget(stage.config(), 64).maxconn
    clients = [program.client() for _ in range(100)]
    for client in clients[:room]:
        client.hear(GREETING)
    assert_idle(program, clients[room:])
    for client in clients[:room]:
        client.close()
    for client in clients[room:]:
        client.hear(GREETING).close()


@on_linux
def test_a_client_for_whom_there_is_no_descriptor_is_closed_and_no_other(
    stage: Stage, start: Start
) -> None:
    """Case 39: EMFILE between accept and connect: the listener lives, and EMFILE there too."""
    stage.greeter("a")
    program = start()
    staying = program.client().hear(GREETING)
    program.leave_descriptors(1)
    for _ in range(3):
        program.client().hear_end()
    program.until_it_says("cannot connect: ")
    program.leave_descriptors(0)
    waiting = program.client()
    program.until_it_says("accepting rests for ")
    assert_idle(program, [waiting])
    program.leave_descriptors(10)
    waiting.hear(GREETING)
    staying.say(b"still").hear(b"still")


def test_accepting_goes_on_when_it_has_failed(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 40: ECONNABORTED, EINTR and EPROTO are one client's; after ENOBUFS there is a rest."""
    stage.greeter("a")
    address = stage.address
    failures: list[OSError] = []
    accept: Callable[[socket.socket], tuple[int, Any]] = socket.socket._accept  # type: ignore[attr-defined]

    def unlucky(sock: socket.socket) -> tuple[int, Any]:
        if failures and sock.getsockname()[:2] == address:
            raise failures.pop()
        return accept(sock)

    monkeypatch.setattr(socket.socket, "_accept", unlucky, raising=False)
    for code in (errno.ECONNABORTED, errno.EINTR, errno.EPROTO):
        failures += [OSError(code, os.strerror(code))] * 3
        assert greeted_by(address) == "a"
        assert not failures
    failures += [OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))]
    waiting = stage.client()
    until(lambda: not failures)
    clock.leap(1)
    waiting.hear(GREETING)
    assert len(stage.book.lines("accepting rests")) == 1


# -- places

LEVELS = ("process", "frontend", "server", "own server")


def limit(config: Config, level: str, most: int) -> Config:
    """Return ``config`` with a ``maxconn`` for the process, each frontend or each server.

    Who waits for a server waits for whichever is free first; for its own, by a hash, in a queue of
    that one.
    """
    if level == "process":
        return replace(config, maxconn=most)
    if level == "frontend":
        frontends = (replace(frontend, maxconn=most) for frontend in config.frontends)
        return replace(config, frontends=tuple(frontends))
    balance = Balance.SOURCE if level == "own server" else Balance.ROUNDROBIN
    backends = []
    for backend in config.backends:
        servers = tuple(replace(each, maxconn=most) for each in backend.servers)
        backends.append(replace(backend, servers=servers, balance=balance))
    return replace(config, backends=tuple(backends))


@pytest.mark.parametrize("level", LEVELS)
def test_there_are_as_many_as_there_may_be_and_never_more(level: str, stage: Stage) -> None:
    """Case 41: maxconn is exact with 30 who come at once, and nobody who waits is forgotten."""
    stage.greeter("a")
    proxy = stage.open(limit(stage.config(timeout_queue=PATIENCE), level, 5))
    # Five must be inside at a time to get out again.
    door, book, inside, most = threading.Barrier(5), threading.Lock(), 0, 0

    def come() -> None:
        nonlocal inside, most
        with connect(stage.address) as client:
            client.hear(GREETING)
            with book:
                inside += 1
                most = max(most, inside)
            door.wait(PATIENCE)
            with book:
                inside -= 1

    for thread in [stage.aside(come) for _ in range(30)]:
        thread.join(PATIENCE)
    snapshot = proxy.snapshot()
    counter = state(proxy, "a") if "server" in level else snapshot.frontends[0]
    assert (most, counter.peak) == (5, 5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_limit_is_of_that_and_of_nothing_else(level: str, stage: Stage) -> None:
    """Case 41: that of the process is shared by its frontends; the others are each one's own."""
    for name in "ab":
        stage.greeter(name)
    proxy = stage.open(limit(two_frontends(stage.config()), level, 1))
    first = stage.client().hear(GREETING)
    other = stage.client(port=proxy.addresses("side")[0][1])
    if level == "process":
        stage.settle()
        assert proxy.snapshot().frontends[1].total == 0
        first.reset()
    other.hear(b"b".ljust(16))


@dataclass(frozen=True)
class Scene:
    """Both ends of a session that has the only place, while somebody waits for it."""

    stage: Stage
    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    client: Peer
    server: Peer


def both_end(scene: Scene) -> None:
    scene.client.close()
    scene.server.close()


def fall_silent(scene: Scene) -> None:
    scene.clock.leap(62)


def be_killed(scene: Scene) -> None:
    """Take the server away, which ends its sessions, and give it back in the same moment."""
    scene.stage.expect_error("no server available")
    proxy = scene.stage.proxy

    def undo(change: Change) -> None:
        if change.new == "MAINT":
            proxy.ready("back/a")

    proxy.subscribe(undo)
    proxy.maint("back/a")


def crash(scene: Scene) -> None:
    """Let a mistake of ours raise while bytes move."""
    mistakes = [ZeroDivisionError()]
    pump = Channel.pump

    def failing(channel: Channel) -> Progress:
        if mistakes:
            raise mistakes.pop()
        return pump(channel)

    scene.monkeypatch.setattr(Channel, "pump", failing)
    scene.stage.expect_error("raised")
    scene.client.say(b"hello")


WAYS: dict[str, Callable[[Scene], object]] = {
    "both end": both_end,
    "client resets": lambda scene: scene.client.reset(),
    "server resets": lambda scene: scene.server.reset(),
    "silence": fall_silent,
    "kill": be_killed,
    "crash": crash,
}


def has_visitor(server: PlayedServer) -> bool:
    """Return whether somebody has come whom the server has not accepted yet."""
    return bool(select.select([server.sock], [], [], 0)[0])


# Who waits for its own server does not wait on when that is taken away.
@pytest.mark.parametrize(
    ("level", "way"),
    [(level, way) for level in LEVELS for way in WAYS if (level, way) != ("own server", "kill")],
)
def test_a_place_is_free_again_however_its_session_ends(
    level: str, way: str, stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 41: the slot is freed on every path, and whoever waits has it."""
    a = stage.server("a", shutdown_on_down=True)
    stage.open(limit(stage.config(timeout_client=60, timeout_queue=600), level, 1))
    client, server = stage.talk()
    waiting = stage.client()
    stage.settle()
    assert not has_visitor(a)
    WAYS[way](Scene(stage, clock, monkeypatch, client, server))
    a.accept().say(b"welcome")
    waiting.hear(b"welcome")


def test_a_place_is_free_again_when_the_server_was_not_reached(stage: Stage, clock: Clock) -> None:
    """Case 41: the same where the connect is refused, and where it is not answered."""
    a = stage.server("a")
    config = stage.config(retries=0, timeout_connect=5)
    for level in LEVELS:
        config = limit(config, level, 1)
    stage.open(config)
    a.refuse()
    for _ in range(3):
        stage.client().hear_end()
    a.listen()
    a.drop()
    for _ in range(3):
        client = stage.client()
        until(lambda: state(stage.proxy, "a").current == 1)
        clock.leap(7)
        client.hear_end()
    a.listen()
    client, server = stage.talk()
    server.say(b"welcome")
    client.hear(b"welcome")


def test_who_waits_too_long_is_refused(stage: Stage, clock: Clock) -> None:
    """Case 41: a server's queue holds a client for as long as is configured, and closes it then."""
    a = stage.server("a", maxconn=1)
    stage.open(timeout_queue=30)
    client, server = stage.talk()
    waiting = stage.client()
    until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
    clock.leap(28)
    assert stage.sessions() == 2
    clock.leap(4)
    waiting.hear_end()
    assert not has_visitor(a)
    client.say(b"still")
    server.hear(b"still")


def test_who_left_while_he_waited_is_not_waited_for(stage: Stage) -> None:
    """Case 41: his place goes to the next one."""
    a = stage.server("a", maxconn=1)
    stage.open(timeout_queue=PATIENCE)
    client, _ = stage.talk()
    impatient, patient = stage.client(), stage.client()
    until(lambda: stage.proxy.snapshot().backends[0].queued == 2)
    impatient.reset()
    client.reset()
    a.accept().hear_reset()
    a.accept().say(b"welcome")
    patient.hear(b"welcome")


# -- silence


@on_linux
def test_five_hundred_who_say_nothing_cost_little_and_disturb_nobody(
    stage: Stage, start: Start
) -> None:
    """Case 42: below 4 KiB for each, and the others are served as before."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= most < 1500:
        pytest.skip(f"600 clients do not fit into the {most} descriptors of a process here")
    # They need not be accepted: for the program they are connected.
    stage.server("a").sock.listen(1000)
    stage.greeter("b")
    program = start(two_frontends(stage.config()))
    lively = program.client("side").hear(b"b".ljust(16))
    come_in(program, 100)
    before = program.memory
    come_in(program, 500)
    assert (program.memory - before) / 500 < 4096
    for _ in range(100):
        lively.say(b"still").hear(b"still")
    program.client("side").hear(b"b".ljust(16))


def come_in(program: Program, count: int) -> None:
    """Let clients come and say nothing, until each has its connection to the server."""
    wanted = len(program.descriptors) + 2 * count
    for _ in range(count):
        program.client()
    until(lambda: len(program.descriptors) == wanted)
