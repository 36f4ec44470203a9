"""The stage itself: its servers do what they are told, and it notices what a case leaves behind."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import pytest

from actors import Path, connect, greeted_by, state
from faults.stage import ON_IPV4, ON_ONE_PATH, PlayedServer, Stage, configured


def dropped(server: PlayedServer) -> bool:
    """Return whether a connect is neither taken nor refused."""
    with socket.socket(server.sock.family) as sock:
        sock.settimeout(0.2)
        try:
            sock.connect((server.host, server.port))
        except TimeoutError:
            return True
    return False


def test_a_server_refuses_and_comes_back_on_its_port(stage: Stage) -> None:
    a = stage.server("a")
    with connect((a.host, a.port)) as client:
        a.accept().say(b"still here")
        a.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect((a.host, a.port))
        client.hear(b"still here")
    a.listen()
    with connect((a.host, a.port)):
        a.accept()


def test_a_server_that_dies_resets_its_clients(stage: Stage) -> None:
    a = stage.server("a")
    with connect((a.host, a.port)) as client:
        a.accept()
        a.die()
        client.hear_reset()
    with pytest.raises(ConnectionRefusedError):
        connect((a.host, a.port))


def test_a_server_drops_and_answers_again(stage: Stage) -> None:
    a = stage.server("a")
    for _ in range(2):
        with connect((a.host, a.port)) as waiting:
            a.drop()
            assert dropped(a)
            a.listen()
            with connect((a.host, a.port)) as client:
                a.accept().say(b"hello")
                client.hear(b"hello")
            waiting.close()


def test_greeters_tell_who_they_are(stage: Stage) -> None:
    stage.greeter("a")
    assert greeted_by(stage.address) == "a"


@ON_IPV4
def test_clients_have_addresses_of_their_own(stage: Stage) -> None:
    source = stage.source()
    client, server = stage.talk(source)
    assert client.sock.getsockname()[0] == source
    server.say(b"hello")
    client.hear(b"hello")


@configured(timeout_client=30, timeout_server=40, maxconn=7)
def test_the_proxy_is_as_configured(stage: Stage, client: object) -> None:
    assert stage.proxy.snapshot().frontends[0].maxconn == 7
    assert stage.config(timeout_client=30).frontends[0].timeout_client == 30


def test_a_server_is_as_configured(stage: Stage) -> None:
    stage.server("a", weight=3)
    stage.server("b", backup=True)
    assert state(stage.proxy, "a").weight == 3
    assert state(stage.proxy, "b").is_backup


def leave_an_error(_: Stage) -> None:
    logging.getLogger("dsbalance.loop").error("oh")


def leave_a_wrong_expectation(stage: Stage) -> None:
    stage.expect_error("oh")


def leave_a_failed_aside(stage: Stage) -> None:
    stage.aside(lambda: 1 / 0)


def leave_no_thread(stage: Stage) -> None:
    stage.proxy.stop()
    stage.proxy.join()


@ON_ONE_PATH
@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (leave_an_error, "oh"),
        (leave_a_wrong_expectation, "no error says"),
        (leave_a_failed_aside, "division"),
        (leave_no_thread, "thread has ended"),
    ],
)
def test_the_stage_notices_what_a_case_leaves(
    path: Path, act: Callable[[Stage], None], complaint: str
) -> None:
    stage = Stage(path, lambda: "")
    stage.talk()
    act(stage)
    with pytest.raises((AssertionError, ArithmeticError), match=complaint):
        stage.leave(has_passed=True)


@ON_ONE_PATH
def test_the_stage_notices_a_socket_that_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.PATIENCE", 0.2)
    stage = Stage(path, lambda: "")
    stage.talk()
    with socket.socket(), pytest.raises(AssertionError, match="never came true"):
        stage.leave(has_passed=True)


@ON_ONE_PATH
def test_the_stage_lets_happen_what_a_case_expects(path: Path) -> None:
    stage = Stage(path, lambda: "")
    stage.talk()
    stage.expect_error("oh")
    stage.expect_end()
    leave_an_error(stage)
    leave_no_thread(stage)
    stage.leave(has_passed=True)
