"""A stand-in answers with its name, can be killed, and never outlives whoever started it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors import PATIENCE, Peer, until
from dsbalance.demo_printers import Line, Reply, request
from dsbalance.demo_servers import Job, StubServer
from dsbalance.errors import ConnectError

ROOT = Path(__file__).resolve().parent.parent
CERTIFICATE = str(ROOT / "dsbalance" / "testdata" / "TEST-ONLY-primary-2.pem")


def job(host: str) -> Job:
    return Job(
        name="primary-2",
        host=host,
        secure_ports=(5022, 50809),
        plain_ports=(5012,),
        certificate=CERTIFICATE,
    )


@pytest.fixture
def stub(loopback: Callable[[], str]) -> Iterator[StubServer]:
    stub = StubServer(job(loopback()))
    stub.start()
    stub.wait()
    yield stub
    stub.close()


def line_to(stub: StubServer) -> Line:
    return Line(stub.job.host, stub.job.secure_ports, stub.job.plain_ports, [CERTIFICATE])


def is_open(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except ConnectionError:
        return False
    return True


def test_it_answers_with_its_name_on_every_port(stub: StubServer) -> None:
    line = line_to(stub)
    for port in (*stub.job.secure_ports, *stub.job.plain_ports):
        with line.connect("127.0.0.1", port) as sock:
            assert isinstance(sock, ssl.SSLSocket) == (port in stub.job.secure_ports)
            assert [request(sock), request(sock)] == [Reply("primary-2", "")] * 2


def test_a_browser_that_wants_no_more_is_hung_up_on(stub: StubServer) -> None:
    with Peer(socket.create_connection((stub.job.host, 5012))) as client:
        client.say(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert client.take(1000).endswith(b"X-Served-By: primary-2 port 5012\r\n\r\nprimary-2\n")


def test_it_repeats_every_address_that_it_was_told_of(stub: StubServer) -> None:
    with Peer(socket.create_connection((stub.job.host, 5012))) as client:
        client.say(
            b"GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for:\t2.2.2.2\r\n\r\n"
        )
        assert b"\r\nX-Served-For: 1.1.1.1, 2.2.2.2\r\n" in client.hear_answer(200, b"primary-2\n")
        client.say(b"GET / HTTP/1.1\r\nForwarded: for=1.1.1.1\r\n\r\n")
        assert b"X-Served-For" not in client.hear_answer(200, b"primary-2\n")


def test_who_speaks_no_http_disturbs_nobody(stub: StubServer) -> None:
    with Peer(socket.create_connection((stub.job.host, 5012))) as client:
        client.say(b"x" * 20_000)
        assert b"200" not in client.take(1000)
    for port in (5012, 5022):
        Peer(socket.create_connection((stub.job.host, port))).reset()
    with line_to(stub).connect("127.0.0.1", 5022) as sock:
        assert request(sock).server == "primary-2"


def test_it_is_killed_and_starts_again(stub: StubServer) -> None:
    first = stub.pid
    assert stub.is_running
    stub.kill()
    assert not stub.is_running
    assert not is_open(stub.job.host, 5022)
    stub.start()
    stub.wait()
    assert stub.is_running
    assert stub.pid != first
    assert is_open(stub.job.host, 5022)


def test_it_is_closed_as_often_as_one_likes(stub: StubServer) -> None:
    stub.close()
    assert not stub.is_running
    assert stub.pid == 0
    stub.close()
    stub.kill()


def test_a_port_that_is_taken_is_said(stub: StubServer) -> None:
    other = StubServer(job(stub.job.host))
    other.start()
    with pytest.raises(ConnectError, match=r"in use|10048") as raised:
        other.wait()
    assert raised.value.subject == "primary-2"
    assert not other.is_running
    assert stub.is_running


def test_a_process_that_cannot_run_is_said(loopback: Callable[[], str]) -> None:
    bad = Job(
        name="x\nX", host=loopback(), secure_ports=(), plain_ports=(5012,), certificate="/nowhere"
    )
    stub = StubServer(bad)
    stub.start()
    with pytest.raises(ConnectError):
        stub.wait()


def test_it_ends_when_its_starter_is_gone_before_it_has_said_a_word() -> None:
    command = [sys.executable, "-m", "dsbalance.demo_servers", "primary-2"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_it_ends_when_its_starter_does(loopback: Callable[[], str]) -> None:
    host = loopback()
    # The starter dies without a word: os._exit runs nothing that would clean up.
    code = """
import json, os, sys
from dsbalance.demo_servers import Job, StubServer
stub = StubServer(Job(**json.loads(sys.argv[1])))
stub.start()
stub.wait()
sys.stdin.read()
os._exit(7)
"""
    words = json.dumps({name: getattr(job(host), name) for name in Job.__slots__})
    with subprocess.Popen(
        [sys.executable, "-c", code, words],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as starter:
        until(lambda: is_open(host, 5012))
        assert starter.stdin is not None
        starter.stdin.close()
        assert starter.wait(PATIENCE) == 7
    until(lambda: not is_open(host, 5012))
