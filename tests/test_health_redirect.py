"""Checks that go elsewhere from now on, and the news that one is under way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import SimpleQueue

import pytest

from actors import PATIENCE
from dsbalance.health import CheckResult, CheckStatus, HealthChecker, Watch
from dsbalance.model import Check, Server
from dsbalance.resolve import resolve

HERE = resolve("127.0.0.1")
SOON = Check(interval=0.05, fast_interval=0.05, down_interval=0.05)


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """One port that is open, and one that is not."""
    with socket.create_server(("127.0.0.1", 0)) as opened, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield opened.getsockname()[1], closed.getsockname()[1]


def wait_for(results: SimpleQueue[CheckResult], status: CheckStatus, port: int) -> None:
    for _ in range(1000):
        result = results.get(timeout=PATIENCE)
        if (result.status, result.port) == (status, port):
            return
    raise AssertionError(f"there was no {status} at {port}")


def test_checks_go_to_another_port(ports: tuple[int, int]) -> None:
    opened, closed = ports
    results: SimpleQueue[CheckResult] = SimpleQueue()
    server = Server(name="a", host="127.0.0.1", port=opened, check=SOON)
    with HealthChecker() as checker:
        checker.watch(server, on_result=results.put)
        wait_for(results, CheckStatus.L4OK, opened)
        checker.redirect("a", replace(server, port=closed), HERE)
        wait_for(results, CheckStatus.L4CON, closed)
        checker.redirect("a", replace(server, check=replace(SOON, ports=(opened,))), HERE)
        wait_for(results, CheckStatus.L4OK, opened)


def test_checks_go_to_another_address(ports: tuple[int, int], loopback: Callable[[], str]) -> None:
    opened, _ = ports
    results: SimpleQueue[CheckResult] = SimpleQueue()
    server = Server(name="a", host="127.0.0.1", port=opened, check=SOON)
    with HealthChecker() as checker:
        checker.watch(server, on_result=results.put)
        wait_for(results, CheckStatus.L4OK, opened)
        # There nobody listens.
        checker.redirect("a", server, resolve(loopback()))
        wait_for(results, CheckStatus.L4CON, opened)
        checker.redirect("a", server, HERE)
        wait_for(results, CheckStatus.L4OK, opened)


def test_a_check_that_is_under_way_begins_anew_elsewhere(ports: tuple[int, int]) -> None:
    opened, _ = ports
    results: SimpleQueue[CheckResult] = SimpleQueue()
    # Its backlog is full, so a connect stays without an answer.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        slow = Check(interval=2 * PATIENCE, fast_interval=2 * PATIENCE)
        server = Server(name="a", host="127.0.0.1", port=port, check=slow)
        running: SimpleQueue[bool] = SimpleQueue()
        with HealthChecker() as checker:
            watch = Watch(server=server, on_result=results.put, on_run=running.put)
            checker.watch_all([watch])
            assert running.get(timeout=PATIENCE)
            if not results.empty():
                pytest.skip("this system answers for a backlog that is full")
            checker.redirect("a", replace(server, port=opened), HERE)
            wait_for(results, CheckStatus.L4OK, opened)
            assert [running.get(timeout=PATIENCE) for _ in range(3)] == [False, True, False]
        for other in others:
            other.close()


def test_every_check_that_begins_ends(ports: tuple[int, int]) -> None:
    opened, _ = ports
    running: SimpleQueue[bool] = SimpleQueue()
    server = Server(name="a", host="127.0.0.1", port=opened, check=SOON)
    with HealthChecker() as checker:
        checker.watch_all([Watch(server=server, on_run=running.put)])
        assert [running.get(timeout=PATIENCE) for _ in range(6)] == [True, False] * 3


def test_who_is_not_watched_cannot_be_checked_elsewhere() -> None:
    with HealthChecker() as checker, pytest.raises(KeyError):
        checker.redirect("a", Server(name="a", host="127.0.0.1", port=9, check=SOON), HERE)
