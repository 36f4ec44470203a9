"""What goes to and fro: byte for byte, in any pieces, whoever stops, at a bounded cost."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actors import PATHS, Path, Peer, until
from faults.clock import Clock
from faults.program import Program
from faults.stage import ON_BOTH_POLLERS, Stage, open_pipes, until_sent

MEBIBYTE = 1 << 20
BLOCK = os.urandom(MEBIBYTE)
STREAM = BLOCK * 4
# More than a stream is known by, less than a socket holds.
URGED = BLOCK[:400_000]

# In each direction. The full count takes minutes: one path, and the profile that may take them.
FEW, MANY = 40_000, 5_000_000
IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def narrow(peer: Peer) -> Peer:
    """Let the kernel keep little for ``peer``, so that it does not read on when its owner stops."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    return peer


def flooded(said: int) -> bytes:
    """Return what was said when a peer flooded the stage with ``BLOCK``."""
    return (BLOCK * (said // MEBIBYTE + 1))[:said]


def is_stuck(peer: Peer) -> bool:
    """Return whether nobody has taken anything of what ``peer`` says for a moment."""
    return not select.select([], [peer.sock], [], 0.05)[1]


def stream(stage: Stage, client: Peer, server: Peer) -> None:
    """Let so much go to the client that pipes are worth it."""
    stage.aside(lambda: server.say(STREAM))
    client.hear(STREAM)


def say_as_much_as_fits(stage: Stage, peer: Peer, speak: Callable[[], object]) -> None:
    """Let ``peer`` speak until it is through or the proxy's kernel takes no more."""
    speaker = stage.aside(speak)
    until(lambda: not speaker.is_alive() or is_stuck(peer))


def assert_asleep(stage: Stage) -> None:
    """Demand that the proxy takes turns for the questions that are asked here, and no others."""
    before = stage.turns()
    for _ in range(100):
        stage.settle()
    # Two questions each, and as much again for what comes in between.
    assert stage.turns() - before <= 2 * 2 * 100


# -- a reader that stops


needs_memory = pytest.mark.skipif(
    not os.path.exists("/proc/self/smaps_rollup"), reason="it is asked of Linux how much it takes"
)


@needs_memory
def test_fifty_megabytes_behind_a_stopped_reader_cost_no_memory(
    stage: Stage, start: Callable[[], Program]
) -> None:
    """Case 5: all of them arrive, then the end, and the proxy needs less than 1 MiB for it."""
    a = stage.server("a")
    program = start()
    client, server = program.client(), a.accept()
    # What is made once is there before it is measured.
    stage.aside(lambda: server.say(STREAM).finish())
    client.hear(STREAM).hear_end().close()
    idle = program.memory
    client, server = narrow(program.client()), a.accept()
    speaker = stage.aside(lambda: say_fifty(server))
    until(lambda: is_stuck(server))
    assert speaker.is_alive()
    assert program.memory - idle < MEBIBYTE
    for _ in range(50):
        client.hear(BLOCK)
    client.hear_end()
    assert program.memory - idle < MEBIBYTE


def say_fifty(peer: Peer) -> None:
    for _ in range(50):
        peer.say(BLOCK)
    peer.finish()


def test_a_stopped_reader_costs_no_turns(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 5: while bytes wait for a reader the proxy sleeps, whatever else it is asked."""
    narrow(client)
    said = stage.flood(server, BLOCK)
    assert_asleep(stage)
    server.finish()
    client.hear(flooded(said)).hear_end()


# -- in small pieces, and at random


def test_single_bytes_arrive_both_ways(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 10: they arrive as they were said, with a turn of the loop each at the most."""
    count = MANY if IS_THOROUGH and stage.path is PATHS[0] else FEW
    words = random.Random(10).randbytes(count)
    before = stage.turns()
    stage.aside(lambda: trickle(client, words))
    stage.aside(lambda: trickle(server, words[::-1]))
    listener = stage.aside(lambda: server.hear(words))
    client.hear(words[::-1])
    listener.join()
    assert stage.turns() - before <= 2 * count
    assert_asleep(stage)


def trickle(peer: Peer, words: bytes) -> None:
    """Say every byte for itself, in a segment of its own."""
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for place in range(len(words)):
        peer.say(words[place : place + 1])


def test_single_bytes_arrive_behind_a_stream(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 10: the same in a direction that has filled buffers, where a pipe's slots are scarce."""
    words = random.Random(10).randbytes(2_000)
    client.say(b"?")
    server.hear(b"?")
    with stage.frozen():
        say_as_much_as_fits(stage, server, lambda: trickle(server.say(BLOCK), words))
    client.hear(BLOCK).hear(words)


@dataclass(frozen=True)
class Script:
    """A conversation at random.

    Attributes:
        order: Who says all and half-closes before the other begins; ``both``: nobody waits.
        asked, answered: What the client and the server say.
    """

    order: str
    asked: bytes
    answered: bytes

    @classmethod
    def of(cls, seed: int) -> Script:
        """Return the script with this number."""
        chance = random.Random(seed)
        asked, answered = (chance.randbytes(int(2 ** chance.uniform(0, 19))) for _ in range(2))
        return cls(chance.choice(["client", "server", "both"]), asked, answered)

    def roles(self, client: Peer, server: Peer) -> list[Callable[[], object]]:
        """Return what is done at the same time; each raises if it does not go as written."""
        has_heard = {"client": threading.Event(), "server": threading.Event()}
        for name, event in has_heard.items():
            if self.order in (name, "both"):
                event.set()

        def say(name: str, peer: Peer, words: bytes) -> None:
            assert has_heard[name].wait(60)
            peer.say(words).finish()

        def hear(name: str, peer: Peer, words: bytes) -> None:
            peer.hear(words).hear_end()
            has_heard[name].set()

        return [
            lambda: say("client", client, self.asked),
            lambda: say("server", server, self.answered),
            lambda: hear("client", client, self.answered),
            lambda: hear("server", server, self.asked),
        ]


def test_a_thousand_conversations_at_random_are_whole(path: Path, stage: Stage) -> None:
    """Case 11: any sizes, half-closed in any order: all is whole, and no descriptor is left."""
    share = 1000 // len(PATHS)
    first = PATHS.index(path) * share
    at_a_time = 5
    with ThreadPoolExecutor(4 * at_a_time) as pool:
        for start in range(first, first + share, at_a_time):
            seeds = range(start, start + at_a_time)
            talks = [(Script.of(seed), *stage.talk()) for seed in seeds]
            roles = [role for script, *both in talks for role in script.roles(*both)]
            for done in [pool.submit(role) for role in roles]:
                done.result()
            for _, client, server in talks:
                client.close()
                server.close()
    assert stage.proxy.snapshot().frontends[0].total == share


# -- who speaks first


def test_a_server_may_speak_first(client: Peer, server: Peer) -> None:
    """Case 12: a greeting arrives though the client has said nothing."""
    server.say(b"220 ready\r\n")
    client.hear(b"220 ready\r\n").say(b"HELO\r\n")
    server.hear(b"HELO\r\n")


@pytest.mark.parametrize(
    "words",
    [{}, {"timeout_client": 31, "timeout_server": 31}],
    ids=["no-timeout", "timeout-31"],
)
def test_nobody_needs_to_speak_for_thirty_seconds(
    clock: Clock, stage: Stage, words: dict[str, Any]
) -> None:
    """Case 12: silence ends a session that has a limit for it, and only then."""
    stage.server("a")
    stage.open(**words)
    client, server = stage.talk()
    server.say(b"ready")
    client.hear(b"ready")
    for _ in range(3):
        clock.leap(30)
        client.say(b"?")
        server.hear(b"?").say(b"!")
        client.hear(b"!")
        # The time of the answer is that of this turn, not of the one before the leap.
        stage.settle()
    clock.leap(33)
    if words:
        client.hear_end()
    else:
        client.say(b"?")
        server.hear(b"?")


def test_what_is_said_before_the_connect_fails_is_kept(stage: Stage) -> None:
    """Case 12: a client that speaks while a server does not answer is heard by the next one."""
    a, b = stage.server("a"), stage.server("b")
    a.drop()
    stage.open(timeout_connect=0.1, retries=1, redispatch=1)
    client = stage.client().say(BLOCK[:10_000]).finish()
    b.accept().hear(BLOCK[:10_000]).hear_end().say(b"thanks").close()
    client.hear(b"thanks").hear_end()


def test_what_is_said_in_the_queue_is_kept(stage: Stage) -> None:
    """Case 12: a client that speaks while it waits for a place at a server."""
    a = stage.server("a", maxconn=1)
    stage.open()
    first = stage.client()
    a.accept().say(b"one")
    first.hear(b"one")
    second = stage.client().say(BLOCK[:10_000]).finish()
    stage.settle()
    first.close()
    a.peers[0].hear_end().close()
    a.accept().hear(BLOCK[:10_000]).hear_end().say(b"two").close()
    second.hear(b"two").hear_end()


@ON_BOTH_POLLERS
def test_what_is_said_before_the_connect_completes_is_kept(stage: Stage) -> None:
    """Case 12: a client that speaks while its server's first SYN is lost."""
    a = stage.server("a")
    a.drop()
    client = stage.client().say(BLOCK[:10_000]).finish()
    stage.settle()
    a.listen()
    a.accept().hear(BLOCK[:10_000]).hear_end().say(b"thanks").close()
    client.hear(b"thanks").hear_end()


# -- pipes


ON_ONE_PIPE = pytest.mark.parametrize(
    "path", [replace(path, pipes=1) for path in PATHS if path.pipes], ids=str, indirect=True
)


def test_a_full_pipe_truncates_nothing(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 13: a reader that stops fills every buffer on the way, and each one is emptied."""
    before = open_pipes()
    stream(stage, client, server)
    assert open_pipes() - before == (2 if stage.path.pipes else 0)
    narrow(client)
    for _ in range(3):
        client.hear(flooded(stage.flood(server, BLOCK)))
    server.say(b"last words").finish()
    client.hear(b"last words").hear_end()


@ON_ONE_PIPE
def test_a_stream_that_gets_no_pipe_is_copied(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 13: while one stream has the only pipe, another is as whole as that one."""
    before = open_pipes()
    other, its_server = stage.talk()
    stream(stage, client, server)
    narrow(client)
    said = stage.flood(server, BLOCK)
    more = stage.flood(its_server, BLOCK)
    assert open_pipes() - before == 2
    other.hear(flooded(more))
    client.hear(flooded(said))


def test_a_stream_is_copied_when_there_are_no_descriptors(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 13: a pipe that cannot be made is not needed."""
    before = open_pipes()
    client.say(b"?")
    server.hear(b"?")
    with no_descriptors():
        stage.aside(lambda: server.say(STREAM).finish())
        client.hear(STREAM).hear_end()
    assert open_pipes() == before


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let nobody in this process open anything."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Below 3 poll(2), which a socket with a timeout waits with, refuses too.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- options and oddities


def test_an_urgent_byte_disturbs_nothing(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 14: what is said around it arrives, in both directions, though a read stops at it."""
    client.say(b"?")
    server.hear(b"?")
    for speaker, listener in ((client, server), (server, client)):
        with stage.frozen():
            speaker.say(b"before")
            speaker.sock.send(b"!", socket.MSG_OOB)
            speaker.say(b"behind")
            until_sent(speaker)
        listener.hear(b"before").hear(b"behind")


def test_an_urgent_byte_in_a_stream_is_not_its_end(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 14: the same where pipes are used, with the end behind all."""
    stream(stage, client, server)
    with stage.frozen():
        say_as_much_as_fits(stage, server, lambda: urge(server).finish())
    client.hear(URGED).hear_end()


def test_an_urgent_byte_in_a_stream_holds_nothing_back(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 14: the same when nothing comes behind it, so that no event tells that there is more."""
    stream(stage, client, server)
    with stage.frozen():
        say_as_much_as_fits(stage, server, lambda: urge(server))
    client.hear(URGED)


def urge(peer: Peer) -> Peer:
    """Say ``URGED``, with an urgent byte in the middle that is no part of it."""
    half = len(URGED) // 2
    peer.say(URGED[:half])
    peer.sock.send(b"!", socket.MSG_OOB)
    return peer.say(URGED[half:])


def test_an_urgent_byte_alone_ends_nothing(client: Peer, server: Peer) -> None:
    """Case 14: the same when nothing else is said for the moment."""
    client.sock.send(b"!", socket.MSG_OOB)
    server.say(b"what?")
    client.hear(b"what?").say(b"nothing")
    server.hear(b"nothing")


def test_small_words_wait_for_nothing(client: Peer, server: Peer) -> None:
    """Case 15: TCP_NODELAY is set towards both, and single bytes go to and fro."""
    for _ in range(500):
        client.say(b"?")
        server.hear(b"?").say(b"!")
        client.hear(b"!")
    assert no_delay_towards(client)
    assert no_delay_towards(server)


def no_delay_towards(peer: Peer) -> bool:
    """Return whether the proxy's end of the connection has TCP_NODELAY; it is in this process."""
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():
        with suppress(OSError):
            sock = socket.socket(fileno=int(name))
            try:
                if sock.getpeername() == peer.sock.getsockname():
                    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            finally:
                sock.detach()
    pytest.skip("this system does not tell the descriptors of a process")
