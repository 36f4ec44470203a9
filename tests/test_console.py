"""The sockets of the runtime API: who gets in, who is answered, who holds nobody up."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors import PATIENCE, Peer, until
from dsbalance import Proxy
from dsbalance.console import Console
from dsbalance.errors import ConnectError
from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.loop import Loop
from dsbalance.model import Config
from dsbalance.poller import EpollPoller, SelectorPoller
from dsbalance.quick import quick
from dsbalance.stats import Snapshot
from dsbalance.stats_options import Level, StatsSocket
from dsbalance.sticky import Entry
from pretence import Steered

needs_unix = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here"
)
NOBODY = 65534
LOCAL = StatsSocket(host="127.0.0.1", port=0, level=Level.ADMIN)


@dataclass
class Stage:
    """A console on a loop of its own, before something that is only steered."""

    console: Console
    loop: Loop
    steered: Steered
    peers: list[Peer] = field(default_factory=list)

    def connect(self, place: str | None = None) -> Peer:
        """Return a client's end of a new connection, to the first place unless told."""
        place = place or self.console.places[0]
        if place.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(place)
        else:
            host, _, port = place.rpartition(":")
            sock = socket.create_connection((host.strip("[]"), int(port)))
        self.peers.append(Peer(sock))
        return self.peers[-1]

    def ask(self, data: bytes, place: str | None = None) -> bytes:
        """Return everything that comes back."""
        return self.connect(place).say(data).take(1 << 24)

    def visitors(self) -> int:
        """Return how many there are."""
        return self.loop.ask(lambda: len(self.console._visitors))


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """What tells the loop who is ready."""
    if request.param is EpollPoller and not hasattr(select, "epoll"):
        pytest.skip("there is no epoll here")
    kind: Callable[[], Any] = request.param
    return kind


@pytest.fixture
def opened(poller: Callable[[], Any]) -> Iterator[Callable[..., Stage]]:
    """Return a function that opens a console; it is closed behind the test."""
    stages: list[Stage] = []

    def make(*sockets: StatsSocket, **words: Any) -> Stage:
        loop, steered = Loop(poller()), Steered()
        console = Console(loop, steered, Config(sockets=sockets or (LOCAL,), **words))
        try:
            console.open()
        except ConnectError:
            loop.free()
            raise
        loop.start("console", console.close)
        stages.append(Stage(console, loop, steered))
        return stages[-1]

    yield make
    for stage in stages:
        for peer in stage.peers:
            peer.close()
        stage.loop.stop()
        stage.loop.join()


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A path for a socket; those of pytest may be too long for one."""
    return str(tmp_path / "s")


def unix(path: str, **words: Any) -> StatsSocket:
    return StatsSocket(path=path, **({"level": Level.ADMIN} | words))


# --- what is said ----------------------------------------------------------------------------


def test_a_command_is_answered_and_the_connection_ends(opened: Callable[..., Stage]) -> None:
    assert opened().ask(b"show cli level\n") == b"admin\n\n"


@needs_unix
def test_it_is_spoken_at_all_places_each_with_its_level(
    opened: Callable[..., Stage], place: str
) -> None:
    stage = opened(LOCAL, unix(place, level=Level.USER))
    first, second = stage.console.places
    assert second == place
    assert stage.ask(b"show cli level\n", first) == b"admin\n\n"
    assert stage.ask(b"show cli level\n", second) == b"user\n\n"
    assert stage.ask(b"set weight be/s1 5\n", second) == b"Permission denied\n\n"
    assert stage.steered.done == []


def test_who_is_prompted_stays_until_he_leaves(opened: Callable[..., Stage]) -> None:
    client = opened().connect().say(b"prompt\n").hear(b"\n> ")
    client.say(b"show cli").say(b" level\r\n").hear(b"admin\n\n> ")
    client.say(b"get weight be/s2;show peers\n").hear(b"10 (initial 10)\n\n> \n> ")
    client.say(b"quit\n").hear_end()


def test_all_lines_that_have_come_are_answered(opened: Callable[..., Stage]) -> None:
    assert opened().ask(b"show cli level\n" * 3000) == b"admin\n\n" * 3000


def test_who_says_nothing_more_is_answered(opened: Callable[..., Stage]) -> None:
    stage = opened()
    assert stage.connect().say(b"show cli level\n").finish().take(100) == b"admin\n\n"
    assert stage.connect().say(b"prompt\nshow peers\n").finish().take(100) == b"\n> \n> "
    stage.connect().say(b"show cli level").finish().hear_end()
    stage.connect().finish().hear_end()


def test_a_line_without_end_ends_the_connection(opened: Callable[..., Stage]) -> None:
    stage = opened()
    stage.connect().say(b"a" * 16384).hear_gone()
    until(lambda: stage.visitors() == 0)


# --- who holds nobody up -------------------------------------------------------------------------


class Endless(Steered):
    """A table without an end, as long as somebody takes what is in it."""

    taken = 0

    def entries(self, table: str) -> Iterator[Entry]:
        while True:
            self.taken += 1
            yield Entry(key=b"\1\2\3\4", server="s1", remaining=1.0)


def endless(stage: Stage) -> Endless:
    steered = stage.console._steering = Endless()
    return steered


def stopped(steered: Endless) -> bool:
    """Whether the table is not read any more; to be asked again and again."""
    before, steered.seen = getattr(steered, "seen", -1), steered.taken  # type: ignore[attr-defined]
    return 0 < steered.taken == before


def test_a_client_that_does_not_read_keeps_one_piece_and_holds_up_nobody(
    opened: Callable[..., Stage],
) -> None:
    stage = opened()
    steered = endless(stage)
    lazy = stage.connect().say(b"show table be\n")
    until(lambda: stopped(steered))
    assert stage.ask(b"show cli level\n") == b"admin\n\n"
    before = steered.taken
    # What was in the way is taken, so it goes on; a byte is not worth a piece.
    lazy.take(1 << 22)
    until(lambda: steered.taken > before)
    until(lambda: stopped(steered))


def test_a_slow_reader_gets_every_byte(opened: Callable[..., Stage]) -> None:
    stage = opened()
    stage.steered.stored["be"] = [
        Entry(key=number.to_bytes(4), server="s1", remaining=1.0) for number in range(200_000)
    ]
    visit = Visit(Level.ADMIN)
    text = "".join(answer("show table be", visit, stage.steered, lambda _line: None)).encode()
    slow = stage.connect().say(b"show table be\n")
    until(lambda: stage.loop.ask(lambda: any(each._is_blocked for each in stage.console._visitors)))
    assert slow.take(len(text) + 1) == text


def test_while_a_long_answer_is_taken_others_are_answered(opened: Callable[..., Stage]) -> None:
    stage = opened()
    endless(stage)
    greedy = stage.connect().say(b"show table be\n")
    is_over = threading.Event()

    def take() -> None:
        while not is_over.is_set():
            greedy.take(1 << 16)

    reader = threading.Thread(target=take)
    reader.start()
    try:
        for _ in range(20):
            assert stage.ask(b"show cli level\n") == b"admin\n\n"
    finally:
        is_over.set()
        reader.join()


def test_a_client_that_vanishes_is_forgotten(opened: Callable[..., Stage]) -> None:
    stage = opened()
    steered = endless(stage)
    stage.connect().say(b"show table be\n").reset()
    until(lambda: stage.visitors() == 0)
    lazy = stage.connect().say(b"show table be\n")
    until(lambda: stopped(steered))
    lazy.reset()
    until(lambda: stage.visitors() == 0)
    quiet = stage.connect().say(b"prompt\n").hear(b"\n> ")
    assert stage.visitors() == 1
    quiet.reset()
    until(lambda: stage.visitors() == 0)


def test_entries_are_cleared_although_nothing_is_sent_meanwhile(
    opened: Callable[..., Stage],
) -> None:
    stage = opened()
    stage.steered.stored["be"] = [
        Entry(key=number.to_bytes(4), server="s1") for number in range(5000)
    ]
    assert stage.ask(b"clear table be\n") == b"\n"
    assert stage.steered.stored["be"] == []


# --- who is left ---------------------------------------------------------------------------------


def test_who_is_silent_is_left(opened: Callable[..., Stage]) -> None:
    stage = opened(timeout_stats=0.05)
    stage.connect().hear_end()
    stage.connect().say(b"show cli").hear_end()
    stage.connect().say(b"prompt\n").hear(b"\n> ").hear_end()


def test_the_time_of_silence_can_be_set(opened: Callable[..., Stage]) -> None:
    stage = opened(timeout_stats=None)
    stage.connect().say(b"prompt;set timeout cli 50ms\n").hear(b"\n> \n> ").hear_end()


def test_who_has_left_has_no_deadline_any_more(opened: Callable[..., Stage]) -> None:
    stage = opened()
    client = stage.connect().say(b"prompt\n").hear(b"\n> ")
    (visitor,) = stage.loop.ask(lambda: [*stage.console._visitors])
    assert visitor.due_tick > 0
    client.close()
    until(lambda: stage.visitors() == 0)
    assert visitor.due_tick == 0


def test_it_need_not_end(opened: Callable[..., Stage]) -> None:
    client = opened(timeout_stats=None).connect().say(b"prompt\n").hear(b"\n> ")
    client.say(b"set timeout cli 1h;show cli level\n").hear(b"\n> admin\n\n> ")


def test_who_does_not_take_his_answer_is_left(opened: Callable[..., Stage]) -> None:
    stage = opened(timeout_stats=0.05)
    endless(stage)
    stage.connect().say(b"show table be\n")
    until(lambda: stage.visitors() == 1)
    until(lambda: stage.visitors() == 0)


def test_there_are_no_more_at_a_time_than_there_may_be(opened: Callable[..., Stage]) -> None:
    stage = opened(maxconn_stats=2)
    first = stage.connect().say(b"prompt\n").hear(b"\n> ")
    second = stage.connect().say(b"prompt\n").hear(b"\n> ")
    third = stage.connect().say(b"show cli level\n")
    second.say(b"show peers\n").hear(b"\n> ")
    assert stage.visitors() == 2
    first.say(b"quit\n").hear_end()
    assert third.take(100) == b"admin\n\n"


class Broken(Steered):
    """Something that fails when it is looked at."""

    def snapshot(self) -> Snapshot:
        raise ZeroDivisionError


def test_a_command_that_fails_ends_its_client_alone(
    opened: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    stage = opened()
    other = stage.connect().say(b"prompt\n").hear(b"\n> ")
    stage.console._steering = Broken()
    stage.connect().say(b"show stat\n").hear_end()
    other.say(b"show cli level\n").hear(b"admin\n\n> ")
    assert "ZeroDivisionError" in caplog.text


def test_the_end_leaves_everybody(opened: Callable[..., Stage]) -> None:
    stage = opened(timeout_stats=None)
    client = stage.connect().say(b"prompt\n").hear(b"\n> ")
    stage.loop.ask(stage.console.close)
    client.hear_end()
    assert stage.console.places == []


STARVED = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Starved:
    """A listening socket on a machine that has no descriptors the first time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.refusals = 0

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.refusals:
            self.refusals += 1
            raise STARVED
        return self._sock.accept()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


def test_without_descriptors_accepting_rests_and_goes_on(
    opened: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    stage = opened()
    (hatch,) = stage.console._hatches
    hatch._sock = Starved(hatch._sock)  # type: ignore[assignment]
    assert stage.ask(b"show cli level\n") == b"admin\n\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"{hatch.place} accepts nobody for 0.1 s: {STARVED}"
    ]


# --- what is told --------------------------------------------------------------------------------


@needs_unix
def test_a_change_is_logged_with_who_made_it(
    opened: Callable[..., Stage], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dsbalance.console")
    stage = opened(LOCAL, unix(place))
    assert stage.ask(b"get weight be/s1;set weight be/s1 x\n").endswith(b"garbage\n")
    client = stage.connect().say(b"set weight be/s1 \x1b\\\n5;set weight be/s1 5 \x1b\n")
    assert client.take(1000).endswith(b"\n\n")
    host, port = client.sock.getsockname()
    stage.ask(b"disable server be/s1\n", place)
    first, second = [record.getMessage() for record in caplog.records]
    assert first == f"{host}:{port}: 'set weight be/s1 5 \\x1b'"
    who = f", process {os.getpid()} of user {os.getuid()}" if _tells_who() else ""
    assert second == f"{place}{who}: 'disable server be/s1'"


def _tells_who() -> bool:
    return hasattr(socket, "SO_PEERCRED")


# --- the sockets ---------------------------------------------------------------------------------


@needs_unix
@pytest.mark.parametrize(("words", "mode"), [({}, 0o600), ({"mode": 0o660}, 0o660)])
def test_a_unix_socket_has_the_permissions_that_are_asked_for(
    opened: Callable[..., Stage], place: str, words: dict[str, int], mode: int
) -> None:
    before = os.umask(0)
    try:
        opened(unix(place, **words))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(place).st_mode) == mode


@needs_unix
def test_a_unix_socket_may_be_given_to_somebody(opened: Callable[..., Stage], place: str) -> None:
    import grp
    import pwd

    user = pwd.getpwuid(os.getuid()).pw_name
    group = grp.getgrgid(os.getgid()).gr_name
    opened(unix(place, user=user, group=group))
    found = os.stat(place)
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


@needs_unix
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"user": "nobody-of-this-name"}, "there is no user 'nobody-of-this-name'"),
        ({"group": "none-of-this-name"}, "there is no group 'none-of-this-name'"),
    ],
)
def test_nobody_else_gets_it_if_its_owner_is_unknown(
    opened: Callable[..., Stage], place: str, words: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConnectError) as caught:
        opened(LOCAL, unix(place, **words))
    assert str(caught.value) == f"stats socket: {place}: {reason}"
    assert not os.path.exists(place)


@needs_unix
def test_what_a_dead_process_left_is_replaced_and_removed_at_the_end(
    opened: Callable[..., Stage], place: str
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(place)
        dead.listen()
    stage = opened(unix(place))
    assert stage.ask(b"show cli level\n") == b"admin\n\n"
    stage.loop.ask(stage.console.close)
    assert not os.path.exists(place)


@needs_unix
def test_who_starts_later_takes_the_path_and_who_was_there_keeps_his_clients(
    opened: Callable[..., Stage], place: str
) -> None:
    first = opened(unix(place))
    guest = first.connect().say(b"prompt\n").hear(b"\n> ")
    second = opened(unix(place, level=Level.USER))
    assert second.ask(b"show cli level\n") == b"user\n\n"
    guest.say(b"show cli level\n").hear(b"admin\n\n> ")
    first.loop.ask(first.console.close)
    assert second.ask(b"show cli level\n") == b"user\n\n"
    second.loop.ask(second.console.close)
    assert os.listdir(os.path.dirname(place)) == []


@needs_unix
def test_what_a_process_of_this_number_left_beside_it_is_removed(
    opened: Callable[..., Stage], place: str
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{place}.{os.getpid()}")
    assert opened(unix(place)).ask(b"show cli level\n") == b"admin\n\n"
    assert os.listdir(os.path.dirname(place)) == ["s"]


@needs_unix
def test_what_is_no_socket_is_left_alone(opened: Callable[..., Stage], place: str) -> None:
    Path(place).write_text("mine")
    with pytest.raises(ConnectError, match="something else is there that is no socket"):
        opened(unix(place))
    assert Path(place).read_text() == "mine"


@needs_unix
def test_a_link_to_a_socket_is_no_socket(opened: Callable[..., Stage], place: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(place)
    os.symlink(place, f"{place}2")
    with pytest.raises(ConnectError, match="something else is there"):
        opened(unix(f"{place}2"))


@needs_unix
def test_a_socket_that_is_another_ones_by_now_is_not_removed(
    opened: Callable[..., Stage], place: str
) -> None:
    stage = opened(unix(place))
    os.rename(place, f"{place}2")
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(place)
        stage.loop.ask(stage.console.close)
        assert os.path.exists(place)


@needs_unix
def test_a_socket_that_cannot_be_made_is_named(
    opened: Callable[..., Stage], tmp_path: Path
) -> None:
    place = str(tmp_path / "nowhere" / "s")
    with pytest.raises(ConnectError) as caught:
        opened(LOCAL, unix(place))
    assert str(caught.value).startswith(f"stats socket: {place}: cannot listen: ")


@needs_unix
def test_a_socket_that_cannot_get_its_owner_is_removed_again(opened: Callable[..., Stage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        place = f"{folder}/s"
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        try:
            with pytest.raises(ConnectError, match="cannot listen: "):
                opened(unix(place, user=0))
        finally:
            if is_root:
                os.seteuid(0)
        assert os.listdir(folder) == []


def test_where_there_are_no_unix_sockets_a_path_is_refused(
    opened: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = opened()
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    console = Console(stage.loop, stage.steered, Config(sockets=(LOCAL, unix("/run/s"))))
    with pytest.raises(ConnectError, match="/run/s: there are no Unix sockets here: give an"):
        console.open()
    assert console.places == []


def test_a_port_that_somebody_has_is_refused_and_no_other_is_opened(
    opened: Callable[..., Stage],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConnectError, match=f"127.0.0.1:{port}: cannot listen"):
            opened(LOCAL, StatsSocket(host="127.0.0.1", port=port))


# --- in a proxy ----------------------------------------------------------------------------------


@needs_unix
def test_a_proxy_is_seen_and_steered_by_it(place: str) -> None:
    config = quick(listen=["127.0.0.1:0"], servers=["127.0.0.1:9"], is_checked=False)
    with Proxy(_with_socket(config, place)) as proxy:
        stage = Stage(proxy._engine._console, proxy._loop, Steered())
        assert stage.ask(b"set server quick/server-1 state drain\n") == b"\n"
        assert proxy.snapshot().backends[0].servers[0].status == "DRAIN"
        assert b"quick,server-1," in stage.ask(b"show stat\n")
        for peer in stage.peers:
            peer.close()
    assert not os.path.exists(place)


@needs_unix
def test_a_proxy_that_only_waits_for_its_last_sessions_is_still_seen(
    place: str, greeters: list[Any]
) -> None:
    servers = [f"{greeters[0].host}:{greeters[0].port}"]
    config = quick(listen=["127.0.0.1:0"], servers=servers, is_checked=False)
    with Proxy(_with_socket(config, place)) as proxy:
        stage = Stage(proxy._engine._console, proxy._loop, Steered())
        client = Peer(socket.create_connection(proxy.addresses("quick")[0], timeout=PATIENCE))
        client.take(16)
        proxy.soft_stop()
        until(lambda: b"\nStopping: 1\n" in stage.ask(b"show info\n"))
        client.close()
        proxy.join()
        for peer in stage.peers:
            peer.close()
    assert not os.path.exists(place)


def _with_socket(config: Config, path: str) -> Config:
    return Config(frontends=config.frontends, backends=config.backends, sockets=(unix(path),))
