"""haproxyadmin, the Python library for HAProxy's runtime API, reads and steers us as it does that.

<https://pypi.org/project/haproxyadmin/>
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actors import connect, until
from steered import PROGRAMS, Steered

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def library() -> Any:
    with warnings.catch_warnings():
        # It was written for Pythons that complained of less.
        warnings.simplefilter("ignore")
        return pytest.importorskip("haproxyadmin", reason="haproxyadmin is not installed")


@pytest.fixture(params=PROGRAMS)
def steered(
    request: pytest.FixtureRequest,
    library: Any,
    tmp_path: Path,
    loopback: Callable[[], str],
) -> Iterator[Steered]:
    with ExitStack() as stack:
        yield Steered(request.param, tmp_path, loopback, stack)


@pytest.fixture
def admin(steered: Steered, library: Any) -> Any:
    return library.haproxy.HAProxy(socket_file=str(steered.socket))


def test_it_reads_the_process_and_all_that_is_in_it(steered: Steered, admin: Any) -> None:
    assert steered.socket.stat().st_mode & 0o777 == 0o600
    info = steered.remote.info()
    assert admin.version == info["Version"]
    assert admin.processids == [info["Pid"]]
    assert int(admin.uptimesec) >= 0
    assert admin.maxconn == int(info["Maxconn"])
    names = ["paragon", "paragon-http", "stats"]
    assert sorted(frontend.name for frontend in admin.frontends()) == names
    assert sorted(backend.name for backend in admin.backends()) == names
    front = admin.frontend("paragon")
    assert (front.status, front.process_nb, front.iid) == ("OPEN", [1], 2)
    ((_, answer),) = admin.command("show table paragon")
    assert answer[0].startswith("# table: paragon, type: ip, size:1")
    assert isinstance(admin.errors(), list)
    back = admin.backend("paragon-http")
    assert (back.status, sorted(server.name for server in back.servers())) == (
        "UP",
        ["primary-1", "primary-2"],
    )


def test_it_reads_a_server(steered: Steered, admin: Any) -> None:
    (server,) = admin.server("primary-2", backend="paragon")
    row = next(row for row in steered.remote.stat() if row.path == "paragon/primary-2")
    assert f"{server.address}:{server.port}" == row["addr"]
    assert (server.status, server.weight, server.sid) == ("UP", "1", 2)
    # With an asterisk while the next one is under way.
    assert server.check_status.removeprefix("* ") == "L4OK"
    assert server.last_status == ""
    with connect((steered.front, 5022)) as client:
        name = client.take(16).decode().strip()
        (server,) = admin.server(name, backend="paragon")
        assert [server.metric(column) for column in ("scur", "stot", "lbtot")] == [1, 1, 1]
    until(lambda: server.metric("scur") == 0)
    until(lambda: server.metric("bout") == 16)
    assert admin.frontend("paragon").metric("stot") == 1


def test_it_takes_a_server_out_and_back(steered: Steered, admin: Any, library: Any) -> None:
    (server,) = admin.server("primary-1", backend="paragon")
    for state, status in (
        (library.STATE_DISABLE, "MAINT"),
        (library.STATE_ENABLE, "UP"),
        (library.STATE_DRAIN, "DRAIN"),
        (library.STATE_READY, "UP"),
        (library.STATE_MAINT, "MAINT"),
    ):
        assert server.setstate(state)
        steered.until_it_is("paragon/primary-1", status)
        assert server.status == status
    assert admin.server("primary-1", backend="paragon-http")[0].status == (
        "MAINT (via paragon/primary-1)"
    )
    assert server.setstate(library.STATE_ENABLE)


def test_it_changes_weights_addresses_and_limits(steered: Steered, admin: Any) -> None:
    (server,) = admin.server("primary-1", backend="paragon")
    assert server.setweight(20)
    assert server.weight == "20"
    assert server.setweight("50%")
    assert server.weight == "0"
    assert server.setweight("100%")
    server.port = 5023
    assert server.port == "5023"
    server.address = "127.0.0.9"
    assert server.address == "127.0.0.9"
    front = admin.frontend("paragon")
    assert front.setmaxconn(17)
    assert front.maxconn == 17
    assert admin.setmaxconn(1000)
    assert admin.maxconn == 1000


def test_it_closes_a_frontend_and_sessions(steered: Steered, admin: Any) -> None:
    with connect((steered.front, 5022)) as client:
        name = client.take(16).decode().strip()
        (server,) = admin.server(name, backend="paragon")
        assert server.shutdown()
        client.hear_gone()
    front = admin.frontend("paragon")
    assert front.disable()
    until(lambda: front.status != "OPEN")
    assert front.enable()
    assert front.status == "OPEN"
    assert admin.clearcounters(all=True)
    assert front.metric("stot") == 0
