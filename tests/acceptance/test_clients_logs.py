"""haproxy-log-analysis reads our log as it reads HAProxy's.

<https://pypi.org/project/haproxy-log-analysis/>
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actors import PATIENCE
from programs import answered_by
from steered import PROGRAMS, Steered


@pytest.fixture
def reader() -> Any:
    pytest.importorskip("haproxy.line", reason="haproxy-log-analysis is not installed")
    return importlib.import_module("haproxy.line").parse_line


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_lines_of_requests_are_valid(
    program: str, tmp_path: Path, loopback: Callable[[], str], reader: Any
) -> None:
    with ExitStack() as stack:
        ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.bind((loopback(), 0))
        ear.settimeout(PATIENCE)
        steered = Steered(program, tmp_path, loopback, stack, ear.getsockname())
        server = answered_by((steered.front, 5012), "127.0.0.7").split()[0]
        line = ""
        while '"GET / HTTP/1.1"' not in line:
            line = ear.recv(1 << 16).decode().rstrip("\n")
    # local0.info: a syslog daemon takes it away, and writes the rest into a file.
    assert line.startswith("<134>")
    found = reader(line.removeprefix("<134>"))
    assert found.is_valid, line
    assert (found.client_ip, found.frontend_name, found.backend_name) == (
        "127.0.0.7",
        "paragon-http",
        "paragon-http",
    )
    assert (found.server_name, found.status_code, found.http_request_method) == (
        server,
        "200",
        "GET",
    )
    assert (found.http_request_path, found.retries, found.queue_server) == ("/", "0", 0)
    assert found.accept_date is not None
