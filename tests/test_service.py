"""What the clients of a frontend share on their way to a backend: limits, and who they are."""

from __future__ import annotations

import pytest

from dsbalance import Backend, Bind, Config, Frontend, Server
from dsbalance.backends import Backends
from dsbalance.candidates import Client
from dsbalance.conditions import Facts
from dsbalance.counters import FrontendCounters
from dsbalance.http_options import HttpOptions
from dsbalance.loop import Loop
from dsbalance.relay import Side
from dsbalance.service import Guest, Service, Tools
from dsbalance.splice import PipePool


class Hall:
    """A reception that nobody comes to."""

    def __init__(self) -> None:
        self.sessions: set[Guest] = set()
        self.counters = FrontendCounters()

    def choose(self, client: Client) -> Service:
        raise AssertionError(client)

    def facts(self, client: Client) -> Facts:
        raise AssertionError(client)

    def on_left(self, service: Service, client: Client) -> None:
        raise AssertionError(client)


def served(frontend: dict[str, float], backend: dict[str, float], **http: float) -> Service:
    """Return a service with these limits."""
    door = Frontend(
        name="front",
        binds=(Bind(port=0),),
        backend="back",
        http=HttpOptions(**http) if http else None,  # type: ignore[arg-type]
        **frontend,  # type: ignore[arg-type]
    )
    servers = (Server(name="a", host="127.0.0.1", port=9),)
    options = HttpOptions() if http else None
    back = Backend(name="back", servers=servers, http=options, **backend)  # type: ignore[arg-type]
    config = Config(frontends=(door,), backends=(back,))
    loop = Loop()
    try:
        tools = Tools(loop, memoryview(bytearray(1)), PipePool(0), lambda _balancer: None)
        return Service(door, Backends(config, 0.0).balancer("back"), {}, tools, Hall())
    finally:
        loop.free()


@pytest.mark.parametrize(
    ("client", "http", "head", "idle"),
    [
        ({}, {"timeout_request": 10.0}, 10.0, 10.0),
        ({"timeout_client": 60.0}, {"timeout_request": 10.0}, 10.0, 10.0),
        ({"timeout_client": 5.0}, {"timeout_request": 10.0}, 5.0, 5.0),
        ({"timeout_client": 60.0}, {"timeout_keep_alive": 2.0}, 60.0, 2.0),
        ({"timeout_client": 1.0}, {"timeout_keep_alive": 2.0}, 1.0, 1.0),
        ({}, {"timeout_request": 10.0, "timeout_keep_alive": 30.0}, 10.0, 30.0),
    ],
)
def test_a_head_and_silence_between_two_of_them_have_the_sooner_of_their_limits(
    client: dict[str, float], http: dict[str, float], head: float, idle: float
) -> None:
    service = served(client, {}, **http)
    assert (service.timeout_request, service.timeout_keep_alive) == (head, idle)


def test_the_least_of_all_limits_is_looked_at_first() -> None:
    limits = {"timeout_request": 7.0, "timeout_keep_alive": 3.0}
    service = served({"timeout_client": 60.0}, {"timeout_server": 5.0}, **limits)
    assert service.patience == 3.0
    assert served({"timeout_client": 60.0}, {"timeout_server": 2.0}, **limits).patience == 2.0


def test_without_limits_everything_may_last_for_ever() -> None:
    service = served({}, {"timeout_queue": 4.0})
    assert service.patience is None
    assert service.timeout_request is None
    assert service.timeout_keep_alive is None
    assert service.shortened is None
    assert service.silence[0] is None


def test_who_waits_for_a_place_waits_as_long_as_for_a_connection_unless_it_is_said() -> None:
    assert served({}, {"timeout_connect": 3.0}).timeout_queue == 3.0
    assert served({}, {"timeout_connect": 3.0, "timeout_queue": 9.0}).timeout_queue == 9.0


@pytest.mark.parametrize(
    ("client", "server", "shortened"),
    [
        ({"timeout_client": 60.0, "timeout_client_fin": 5.0}, {"timeout_server": 60.0}, 5.0),
        ({"timeout_client": 60.0}, {"timeout_server": 60.0, "timeout_server_fin": 90.0}, None),
        ({"timeout_client_fin": 5.0}, {}, 5.0),
    ],
)
def test_half_closed_silence_is_told_if_it_is_the_shorter_one(
    client: dict[str, float], server: dict[str, float], shortened: float | None
) -> None:
    assert served(client, server).shortened == shortened


def test_the_side_whose_limit_ends_it_is_known() -> None:
    service = served({"timeout_client": 60.0}, {"timeout_server": 50.0})
    assert service.silence == (50.0, Side.SERVER)


def test_a_frontend_in_tcp_mode_is_not_looked_into() -> None:
    assert not served({}, {}).is_http
    assert served({}, {}, timeout_request=1.0).is_http
