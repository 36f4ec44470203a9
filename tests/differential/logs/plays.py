"""What is played before both, a section of the file for each, and what differs on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from actors import OK, Peer, get

from .sides import Stage

Play = Callable[[Stage], None]
_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"
_LOUD = "option log-separate-errors"


@dataclass(frozen=True)
class Case:
    """A play, and where it is played.

    Attributes:
        name: Of its section.
        play: What happens.
        words: Lines of its section.
        server: Words of its server.
        is_http: Whether it is in HTTP mode.
        style: The option for its log; empty: none.
        ours: The lines that we write instead of HAProxy's; None: the same.
        why: The reason, if it is not the same.
    """

    name: str
    play: Play
    words: tuple[str, ...] = ()
    server: str = ""
    is_http: bool = False
    style: str = "tcplog"
    ours: tuple[str, ...] | None = None
    why: str = ""


def _pair(stage: Stage) -> tuple[Peer, Peer]:
    client = stage.client()
    return client, stage.accept()


def _talk(stage: Stage, *, by_client: bool = True) -> tuple[Peer, Peer]:
    client, server = _pair(stage)
    if by_client:
        client.say(b"12345")
        server.hear(b"12345")
    return client, server


def _ask(stage: Stage) -> tuple[Peer, Peer]:
    client = stage.client().say(get())
    server = stage.accept()
    server.take_head()
    return client, server


# -- sessions


def normal(stage: Stage) -> None:
    client, server = _talk(stage)
    server.say(b"abc")
    client.hear(b"abc").finish()
    server.hear_end().close()
    client.hear_end().close()


def server_ends_first(stage: Stage) -> None:
    client, server = _talk(stage, by_client=False)
    server.say(b"abc").close()
    client.hear(b"abc").hear_end().close()


def client_resets(stage: Stage) -> None:
    client, server = _talk(stage)
    client.reset()
    server.hear_gone()
    server.close()


def client_resets_without_a_word(stage: Stage) -> None:
    client, server = _talk(stage, by_client=False)
    # Whoever resets before HAProxy has seen the connection made leaves in another phase.
    server.say(b"hi")
    client.hear(b"hi").reset()
    server.hear_gone()
    server.close()


def server_resets(stage: Stage) -> None:
    client, server = _talk(stage)
    server.reset()
    client.hear_gone()
    client.close()


def somebody_is_silent(stage: Stage) -> None:
    client, server = _talk(stage)
    client.hear_gone()
    client.close()
    server.close()


def nobody_takes_it(stage: Stage) -> None:
    client = stage.client()
    client.hear_gone()
    client.close()


def a_word_that_nobody_takes(stage: Stage) -> None:
    client = stage.client().say(b"x")
    client.hear_gone()
    client.close()


def one_waits_too_long(stage: Stage) -> None:
    client, server = _talk(stage)
    late = stage.client()
    late.hear_gone()
    late.close()
    client.finish()
    server.hear_end().close()
    client.hear_end().close()


def one_waits_its_turn(stage: Stage) -> None:
    client, server = _talk(stage)
    second = stage.client()
    stage.until_queued(1)
    client.finish()
    server.hear_end().close()
    client.hear_end().close()
    with stage.accept() as again:
        # So both know that it is connected.
        again.say(b"k")
        second.hear(b"k").finish()
        again.hear_gone()
    second.hear_end().close()


def the_queue_is_full(stage: Stage) -> None:
    client, server = _talk(stage)
    second = stage.client()
    stage.until_queued(1)
    third = stage.client()
    third.hear_gone()
    third.close()
    client.finish()
    server.hear_end().close()
    client.hear_end().close()
    with stage.accept() as again:
        # So both know that it is connected.
        again.say(b"k")
        second.hear(b"k").finish()
        again.hear_gone()
    second.hear_end().close()


def an_operator_ends_it(stage: Stage) -> None:
    client, server = _talk(stage)
    stage.operate(f"shutdown sessions server {stage.name}/a")
    client.hear_gone()
    client.close()
    server.close()


def its_server_goes(stage: Stage) -> None:
    client, server = _talk(stage)
    stage.operate(f"disable server {stage.name}/a")
    client.hear_gone()
    client.close()
    server.close()


# -- requests


def answered(stage: Stage) -> None:
    client, server = _ask(stage)
    server.say(OK)
    client.hear_answer(200, b"ok")
    client.say(get("/again"))
    server.take_head()
    server.say(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    client.hear_answer(404)
    client.close()
    server.close()


def an_error_of_the_server(stage: Stage) -> None:
    client, server = _ask(stage)
    server.say(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    client.hear_answer(500)
    client.close()
    server.close()


def the_server_says_nothing(stage: Stage) -> None:
    client, server = _ask(stage)
    server.close()
    client.hear_answer(502)
    client.close()


def an_operator_ends_a_request(stage: Stage) -> None:
    client, server = _ask(stage)
    stage.operate(f"shutdown sessions server {stage.name}/a")
    client.sock.recv(1 << 16)
    client.close()
    server.close()


def an_operator_ends_a_response(stage: Stage) -> None:
    client, server = _ask(stage)
    server.say(_BODY)
    client.take_head()
    client.hear(b"abc")
    stage.operate(f"shutdown sessions server {stage.name}/a")
    client.hear_gone()
    client.close()
    server.close()


def a_response_of_our_own(stage: Stage) -> None:
    with stage.client().say(get()) as client:
        client.take_head()


def half_a_request(stage: Stage) -> None:
    with stage.client().say(b"GET / HT") as client:
        client.finish()
        client.sock.recv(1 << 16)


def no_request_at_all(stage: Stage) -> None:
    stage.client().close()


# -- servers


def an_operator_and_his_server(stage: Stage) -> None:
    for state in ("drain", "ready", "maint", "drain", "maint", "ready"):
        stage.operate(f"set server {stage.name}/a state {state}")
    for health in ("down", "up", "stopping", "down", "up"):
        stage.operate(f"set server {stage.name}/a health {health}")


def an_operator_and_his_frontend(stage: Stage) -> None:
    for word in ("disable", "enable", "shutdown"):
        stage.operate(f"{word} frontend {stage.name}")


def a_server_that_dies_and_comes_back(stage: Stage) -> None:
    stage.until_told("UP")
    stage.leave()
    stage.until_told("no server available")
    stage.come_back()
    stage.until_told("is UP")
    # Nothing follows from another check of the same kind.
    time.sleep(0.1)


CASES = (
    Case("normal", normal),
    Case("normal-left-out", normal, words=("option dontlog-normal",)),
    Case("server-first", server_ends_first),
    Case("server-first-null", server_ends_first, words=("option dontlognull",)),
    Case("client-reset", client_resets, words=(_LOUD,)),
    Case("client-reset-null", client_resets_without_a_word, words=("option dontlognull",)),
    Case("client-reset-mute", client_resets_without_a_word),
    Case("server-reset", server_resets, words=(_LOUD, "option dontlog-normal")),
    Case("client-silent", somebody_is_silent, words=("timeout client 200ms", _LOUD)),
    Case("server-silent", somebody_is_silent, words=("timeout server 200ms",)),
    Case("refused", nobody_takes_it, words=("retries 1", _LOUD), server="refuses"),
    Case(
        "refused-null", nobody_takes_it, words=("retries 1", "option dontlognull"), server="refuses"
    ),
    Case("refused-word", a_word_that_nobody_takes, ("option dontlognull", "retries 1"), "refuses"),
    Case("refused-plain", nobody_takes_it, server="refuses", style=""),
    Case("no-server", nobody_takes_it, server="disabled"),
    Case("plain", normal, style=""),
    Case("queue-timeout", one_waits_too_long, words=("timeout queue 200ms",), server="maxconn 1"),
    Case("queue", one_waits_its_turn, server="maxconn 1"),
    Case(
        "queue-full",
        the_queue_is_full,
        ("balance source",),
        "maxconn 1 maxqueue 1",
        ours=(
            "<134> queue-full queue-full/<NOSRV> -/-/+ 0 SQ 3/3/2/0/0 0/0",
            "<134> queue-full queue-full/a +/+/+ 0 -- 2/2/1/0/0 0/0",
            "<134> queue-full queue-full/a +/+/+ 1 -- 1/1/0/0/0 1/0",
        ),
        why="HAProxy names the server in whose queue there was no room; it did not get it",
    ),
    Case("killed", an_operator_ends_it, words=(_LOUD,)),
    Case("marked-down", its_server_goes, server="on-marked-down shutdown-sessions"),
    Case("operator", an_operator_and_his_server),
    Case("operator-frontend", an_operator_and_his_frontend),
    Case("checks", a_server_that_dies_and_comes_back, ("option log-health-checks",), "check"),
    Case("http", answered, is_http=True, style="httplog"),
    Case(
        "http-left-out", answered, words=("option dontlog-normal",), is_http=True, style="httplog"
    ),
    Case("http-500", an_error_of_the_server, words=(_LOUD,), is_http=True, style="httplog"),
    Case(
        "http-502",
        the_server_says_nothing,
        words=("option dontlog-normal",),
        is_http=True,
        style="httplog",
    ),
    Case(
        "http-killed",
        an_operator_ends_a_request,
        words=("retries 0",),
        is_http=True,
        style="httplog",
    ),
    Case("http-killed-body", an_operator_ends_a_response, is_http=True, style="httplog"),
    Case(
        "http-503",
        a_response_of_our_own,
        words=(_LOUD,),
        server="disabled",
        is_http=True,
        style="httplog",
    ),
    Case(
        "http-deny",
        a_response_of_our_own,
        ("http-request deny", _LOUD),
        is_http=True,
        style="httplog",
    ),
    Case("http-tcplog", answered, is_http=True),
    Case("http-half", half_a_request, is_http=True, style="httplog"),
    Case(
        "http-null", no_request_at_all, words=("option dontlognull",), is_http=True, style="httplog"
    ),
    Case("http-plain", answered, is_http=True, style=""),
    Case("http-null-told", no_request_at_all, is_http=True, style="httplog"),
)
