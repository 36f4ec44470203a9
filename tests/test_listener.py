"""Listening, room, and what happens when accept fails."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from actors import Greeter, connect, front, greeted_by, one_backend, until
from dsbalance import Bind, Config, ConnectError, Frontend, Keepalive, Proxy, Server
from dsbalance.listener import Annex, Room, listen
from dsbalance.poller import EpollPoller, Poller, SelectorPoller
from dsbalance.sockets import Door, Stream


@pytest.fixture
def greeter() -> Iterator[Greeter]:
    greeter = Greeter("a")
    yield greeter
    greeter.close()


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Poller:
    made: Poller = request.param()
    return made


def config(greeter: Greeter, **words: object) -> Config:
    made = one_backend(Server(name="a", host=greeter.host, port=greeter.port))
    return replace(made, frontends=(replace(made.frontends[0], **words),))  # type: ignore[arg-type]


def test_a_room_without_a_limit_is_never_full() -> None:
    room = Room(None)
    for _ in range(1000):
        room.enter()
    assert not room.is_full()
    assert not room.leave()
    assert (room.used, room.most) == (999, 1000)


def test_a_room_tells_who_leaves_it_full() -> None:
    room = Room(2)
    room.enter()
    assert not room.is_full()
    room.enter()
    assert room.is_full()
    assert room.leave()
    assert not room.leave()


def test_a_room_may_get_another_limit_while_it_is_used() -> None:
    room = Room(3)
    for _ in range(3):
        room.enter()
    room.set_limit(1)
    assert (room.limit, room.is_full(), room.used) == (1, True, 3)
    # Until it is below the limit nobody may come in, so each who leaves is told to leave it full.
    assert [room.leave() for _ in range(3)] == [True, True, True]
    room.set_limit(None)
    assert not room.enter()


def test_whoever_is_in_an_annex_is_in_the_room_too() -> None:
    whole = Room(2)
    one, two = Annex(whole), Annex(whole)
    assert not one.enter()
    assert two.enter()
    assert (whole.used, one.used, two.used) == (2, 1, 1)
    assert two.leave()
    assert two.enter()
    assert (whole.most, one.most, two.most) == (2, 1, 1)


def test_every_port_of_a_range_is_listened_on() -> None:
    socks = _listen_range(3)
    ports = [sock.getsockname()[1] for sock in socks]
    assert ports == list(range(ports[0], ports[0] + 3))
    for sock in socks:
        assert not sock.getblocking()
        sock.close()


def _listen_range(count: int) -> list[Door]:
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count):
        try:
            bind = Bind(host="127.0.0.1", port=first, last_port=first + count - 1)
            return listen(bind, None, "bind")
        except ConnectError:
            continue
    raise AssertionError("no free range of ports")


def test_what_clients_inherit_is_set_once() -> None:
    (sock,) = listen(Bind(host="127.0.0.1", port=0), Keepalive(idle=60, interval=10, count=6), "")
    client = socket.create_connection(sock.getsockname())
    sock.setblocking(True)
    accepted, _ = sock.accept()
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for each in (sock, client, accepted):
        each.close()


@pytest.mark.parametrize("v6only", [True, False])
def test_an_ipv6_address_takes_ipv4_clients_unless_told(v6only: bool) -> None:
    (sock,) = listen(Bind(host="::", port=0, v6only=v6only), None, "")
    with socket.socket() as client:
        refused = client.connect_ex(("127.0.0.1", sock.getsockname()[1])) == errno.ECONNREFUSED
        assert refused is v6only
    sock.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConnectError) as caught:
        listen(Bind(host="192.0.2.1", port=80), None, "frontend f, bind 192.0.2.1:80")
    assert str(caught.value).startswith("frontend f, bind 192.0.2.1:80: 192.0.2.1:80: cannot ")


def test_a_client_of_a_dual_stack_bind_is_known_by_its_mapped_address(greeter: Greeter) -> None:
    binds = (Bind(host="::", port=0, v6only=False),)
    with Proxy(config(greeter, binds=binds)) as proxy:
        port = front(proxy)[1]
        assert greeted_by(("127.0.0.1", port)) == "a"


def test_the_client_comes_to_the_port_and_the_server_is_reached_there(greeter: Greeter) -> None:
    # The server listens on the same port of another address.
    backend = replace(
        one_backend(Server(name="a", host=greeter.host)).backends[0],
    )
    made = Config(
        frontends=(
            Frontend(
                name="front", binds=(Bind(host="127.0.0.2", port=greeter.port),), backend="back"
            ),
        ),
        backends=(backend,),
    )
    if sys.platform != "linux":
        pytest.skip("this system has no 127.0.0.2")
    with Proxy(made) as proxy:
        assert greeted_by(front(proxy)) == "a"


def test_errors_of_one_client_do_not_end_accepting(
    greeter: Greeter, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EAGAIN, errno.ENETDOWN]
    failures = [OSError(code, os.strerror(code)) for code in codes]
    admit = Door.admit

    def failing(door: Door) -> tuple[Stream, tuple[Any, ...]]:
        if failures and door.getsockname()[1] == address[1]:
            raise failures.pop()
        return admit(door)

    with Proxy(config(greeter), poller=poller) as proxy:
        address = front(proxy)
        monkeypatch.setattr(Door, "admit", failing)
        assert greeted_by(address) == "a"
    assert not failures


def test_accepting_rests_without_descriptors_and_goes_on(
    greeter: Greeter,
    poller: Poller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]
    admit = Door.admit

    def failing(door: Door) -> tuple[Stream, tuple[Any, ...]]:
        if failures and door.getsockname()[1] == address[1]:
            raise failures.pop()
        return admit(door)

    with Proxy(config(greeter), poller=poller) as proxy:
        address = front(proxy)
        monkeypatch.setattr(Door, "admit", failing)
        assert greeted_by(address) == "a"
    assert "accepting rests for 0.1 s" in caplog.text


def test_a_session_that_cannot_be_opened_is_closed_and_the_next_one_is_served(
    greeter: Greeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsbalance.balancer import Balancer

    route = Balancer.route
    failures = [ZeroDivisionError()]

    def failing(self: Balancer, *args: object) -> object:
        if failures:
            raise failures.pop()
        return route(self, *args)  # type: ignore[arg-type]

    with Proxy(config(greeter)) as proxy:
        monkeypatch.setattr(Balancer, "route", failing)
        with connect(front(proxy)) as client:
            client.hear_end()
        assert greeted_by(front(proxy)) == "a"
        until(lambda: proxy.snapshot().frontends[0].current == 0)


def test_sixty_four_descriptors_and_a_hundred_clients() -> None:
    """The proxy of a process with few descriptors serves as many as fit, then the others."""
    script = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
sys.path.insert(0, "tests")
from dsbalance import Proxy, Server
from actors import one_backend
config = one_backend(Server(name="a", host="127.0.0.1", port=int(sys.argv[1])))
proxy = Proxy(config)
proxy.start()
print(proxy.addresses("front")[0][1], flush=True)
sys.stdin.read()
proxy.stop()
proxy.join()
"""
    greeter = Greeter("a")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(greeter.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        clients = [connect(address) for _ in range(100)]
        served = 0
        for client in clients:
            # Whoever is served leaves, and one who waits gets the place.
            assert client.take(16).strip() == b"a"
            client.close()
            served += 1
        assert served == 100
        process.communicate("")
    assert process.returncode == 0
    greeter.close()
