"""Servers know who is asking: on the suite's plain ports X-Forwarded-For tells them.

The file is the one that ``dsbalance suite`` prints, run by dsbalance and by HAProxy, on the suite's
own ports. Behind it are real web servers: those of Python's standard library, and nginx.
"""

from __future__ import annotations

import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from actors import PATIENCE, connect
from dsbalance.demo_stage import open_stage
from processes import ROOT, Process
from programs import DSBALANCE, HAPROXY, devices

PLAIN_PORTS = (5012, 50808)
SECURE_PORTS = (5022, 50809)
# The second port that Paragon's servers are checked on.
CHECKED_PORT = 5555
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
PROGRAMS = {
    "dsbalance": DSBALANCE,
    "haproxy": (HAPROXY or "haproxy", "-db"),
}

Fields = list[tuple[str, str]]

# What a client may say to be taken for somebody else.
FORGERIES = (
    [("X-Forwarded-For", "6.6.6.6")],
    [("x-forwarded-for", "6.6.6.6"), ("X-FORWARDED-FOR", "7.7.7.7, 8.8.8.8")],
    [("X-Forwarded-For", "")],
    [("X-Forwarded-For", "6.6.6.6"), ("Connection", "X-Forwarded-For")],
    [("Connection", "close, X-Forwarded-For")],
    [("X-Forwarded-For", "6.6.6.6\r\n 7.7.7.7")],
    [("X-Forwarded-For ", "6.6.6.6")],
    [("X_Forwarded_For", "6.6.6.6")],
)


def certificate(number: int) -> str:
    return str(ROOT / "dsbalance" / "testdata" / f"TEST-ONLY-primary-{number}.pem")


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    """Return what a device knows: the certificates of the servers."""
    context = ssl.create_default_context(cafile=certificate(1))
    context.load_verify_locations(certificate(2))
    return context


class Telling(http.server.BaseHTTPRequestHandler):
    """Tells the client what has come with its request: every field, as it was."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def do_GET(self) -> None:
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Web(http.server.ThreadingHTTPServer):
    """A web server of the standard library, on one port.

    Args:
        address: Where it listens.
        context: With TLS; None: without.
    """

    # So that its end waits for theirs, and no socket is left.
    daemon_threads = False

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None) -> None:
        super().__init__(address, Telling)
        self._context = context
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context is None:
            super().finish_request(request, client_address)
        # A check says nothing and resets, for which the ssl module leaves a socket open.
        elif request.recv(1, socket.MSG_PEEK):
            with self._context.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Let checks, which say nothing and reset, pass without a word."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join(PATIENCE)
        self.server_close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pythons(loopback: Callable[[], str], stack: ExitStack) -> list[str]:
    """Two servers of the standard library on all the suite's ports; their addresses."""
    hosts = [loopback(), loopback()]
    for number, host in enumerate(hosts, 1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(number))
        for port in (*PLAIN_PORTS, CHECKED_PORT):
            stack.callback(Web((host, port), None).close)
        for port in SECURE_PORTS:
            stack.callback(Web((host, port), context).close)
    return hosts


@pytest.fixture(params=["dsbalance", pytest.param("haproxy", marks=needs_haproxy)])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(
    tmp_path: Path, loopback: Callable[[], str], stack: ExitStack
) -> Callable[[str, list[str]], str]:
    """Return what starts a program with the suite's file, and returns where it listens."""

    def begin(program: str, hosts: list[str]) -> str:
        front, servers = loopback(), ",".join(hosts)
        options = ("--paragon", servers, "--phoenix", servers, "--host", front)
        printed = subprocess.run(
            [*DSBALANCE, "suite", *options], cwd=ROOT, capture_output=True, text=True, check=True
        )
        file = tmp_path / f"{program}.cfg"
        file.write_text(printed.stdout, encoding="utf-8")
        process = stack.enter_context(Process(*PROGRAMS[program], "-f", str(file)))
        process.until_it_listens(*((front, port) for port in (*PLAIN_PORTS, *SECURE_PORTS)))
        return front

    return begin


def ask(link: http.client.HTTPConnection, fields: Fields) -> tuple[int, bytes]:
    """Make one request with these fields; return its status and its body."""
    # Else what the library refuses to say could not be said.
    lines = ["GET / HTTP/1.1", "Host: suite", *(f"{name}: {value}" for name, value in fields)]
    link.send("\r\n".join((*lines, "", "")).encode())
    response = http.client.HTTPResponse(link.sock)
    response.begin()
    with response:
        return response.status, response.read()


def seen(link: http.client.HTTPConnection, fields: Fields) -> Fields:
    """Return the fields that the server saw, their names in lower case."""
    status, body = ask(link, fields)
    assert status == 200, body
    return [(name.lower(), value) for name, value in json.loads(body)]


def came_from(fields: Fields) -> list[str]:
    return [value for name, value in fields if name == "x-forwarded-for"]


def from_(source: str, address: tuple[str, int]) -> closing[http.client.HTTPConnection]:
    link = http.client.HTTPConnection(*address, PATIENCE, (source, 0))
    link.connect()
    return closing(link)


@pytest.mark.parametrize("port", PLAIN_PORTS)
def test_the_server_is_told_the_address_of_each_client(
    port: int, program: str, pythons: list[str], start: Callable[[str, list[str]], str]
) -> None:
    front = start(program, pythons)
    for source in devices(10):
        with from_(source, (front, port)) as link:
            # One connection, requests one after the other: each has it, and has it once.
            for _ in range(3):
                assert came_from(seen(link, [])) == [source]


@pytest.mark.parametrize("port", PLAIN_PORTS)
def test_a_client_cannot_be_taken_for_another(
    port: int, program: str, pythons: list[str], start: Callable[[str, list[str]], str]
) -> None:
    front = start(program, pythons)
    (source,) = devices(1)
    passed = 0
    for forgery in FORGERIES:
        with from_(source, (front, port)) as link:
            status, body = ask(link, forgery)
        assert status in (200, 400), forgery
        if status == 200:
            passed += 1
            fields = [(name.lower(), value) for name, value in json.loads(body)]
            *theirs, ours = came_from(fields)
            assert ours == source, forgery
            # What others said stays for whoever trusts them, in front.
            assert len(theirs) == sum(name.lower() == "x-forwarded-for" for name, _ in forgery)
    assert passed >= 6, "only what cannot be read in one way is refused"


@needs_haproxy
def test_the_server_sees_the_same_request_through_both(
    pythons: list[str], start: Callable[[str, list[str]], str]
) -> None:
    fronts = [start(program, pythons) for program in PROGRAMS]
    requests: tuple[Fields, ...] = (
        [],
        [("User-Agent", "panel/1.0"), ("Accept", "*/*"), ("Cookie", "a=1"), ("Cookie", "b=2")],
        [("Connection", "keep-alive"), ("X-Forwarded-For", "6.6.6.6")],
        [("Connection", "close, X-Panel"), ("X-Panel", "7"), ("Accept-Encoding", "gzip")],
    )
    (source,) = devices(1)
    for port in PLAIN_PORTS:
        for request in requests:
            found = []
            for front in fronts:
                with from_(source, (front, port)) as link:
                    found.append(seen(link, request))
            assert found[0] == found[1]


@pytest.mark.parametrize("port", SECURE_PORTS)
def test_behind_tls_nothing_is_touched(
    port: int,
    program: str,
    pythons: list[str],
    start: Callable[[str, list[str]], str],
    trusting: ssl.SSLContext,
) -> None:
    front = start(program, pythons)
    fields = [("X-Forwarded-For", "6.6.6.6"), ("ConNection", "keep-alive"), ("X-Odd", "a  b")]
    names = set()
    for source in devices(8):
        with from_(source, (front, port)) as link:
            link.sock = trusting.wrap_socket(link.sock, server_hostname="localhost")
            shown = link.sock.getpeercert()
            assert shown
            names.add(dict(pair for group in shown["subject"] for pair in group)["commonName"])  # type: ignore[misc]
            status, body = ask(link, fields)
        assert status == 200
        assert [tuple(pair) for pair in json.loads(body)] == [("Host", "suite"), *fields]
    assert names == {"TEST ONLY primary-1", "TEST ONLY primary-2"}


# --- nginx ----------------------------------------------------------------------------------------

NGINX_FILE = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # What its manual has for a server behind a balancer that is trusted.
    set_real_ip_from 127.0.0.0/8;
    real_ip_header X-Forwarded-For;
    server {{
        listen {host}:5012;
        listen {host}:50808;
        listen {host}:5555;
        listen {host}:5022 ssl;
        listen {host}:50809 ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        location / {{
            return 200 "$remote_addr";
        }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path, loopback: Callable[[], str], stack: ExitStack) -> str:
    """A real nginx on the suite's ports, which answers with the address of its client."""
    host = loopback()
    file = tmp_path / "nginx.conf"
    file.write_text(
        NGINX_FILE.format(folder=tmp_path, host=host, certificate=certificate(1)), encoding="utf-8"
    )
    command = (NGINX or "nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(file))
    process = stack.enter_context(Process(*command))
    process.until_it_listens((host, 5012), (host, 50809))
    return host


@needs_nginx
def test_nginx_takes_the_client_for_whom_it_is(
    program: str, nginx: str, start: Callable[[str, list[str]], str]
) -> None:
    front = start(program, [nginx])
    for source in devices(5):
        for port in PLAIN_PORTS:
            with from_(source, (front, port)) as link:
                assert ask(link, []) == (200, source.encode())
                assert ask(link, [("X-Forwarded-For", "6.6.6.6")]) == (200, source.encode())


@needs_nginx
def test_nginx_shows_its_own_certificate_and_knows_the_balancer_alone(
    program: str,
    nginx: str,
    start: Callable[[str, list[str]], str],
    trusting: ssl.SSLContext,
) -> None:
    front = start(program, [nginx])
    (source,) = devices(1)
    for port in SECURE_PORTS:
        with from_(source, (front, port)) as link:
            link.sock = trusting.wrap_socket(link.sock, server_hostname="localhost")
            status, address = ask(link, [])
        assert status == 200
        assert address not in (source.encode(), front.encode())


# --- the demo -------------------------------------------------------------------------------------


def test_the_demos_servers_are_told_who_asks_whatever_is_forged(
    loopback: Callable[[], str],
) -> None:
    loopback()
    with closing(open_stage()) as stage:
        source = stage.ground.printer(9)
        for port in PLAIN_PORTS:
            with connect((stage.ground.balancer, port), source) as client:
                client.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
                head = client.hear_answer(200).lower()
                assert f"\r\nx-served-for: 6.6.6.6, {source}\r\n".encode() in head
