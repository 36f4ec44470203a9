"""A proxy between two HAProxys that speak the PROXY protocol to it, and it to them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors import Stub, connect, front, one_backend
from dsbalance import Bind, Proxy, Server
from dsbalance.haproxy.proxy_protocol import header_end, parse_header
from dsbalance.http_options import AddressField, HttpOptions
from dsbalance.model import SendProxy
from processes import Process

# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

PORTS = {"ready": 9000, "entry": 9001, "exit": 9002}
REQUEST = b"GET / HTTP/1.1\r\nHost: primary\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen entry
    bind {host}:{entry}
    unique-id-format %ci
    server us {us[0]}:{us[1]} {words}
listen exit
    bind {host}:{exit} accept-proxy
    server s {stub.host}:{stub.port} send-proxy
# The last, since HAProxy opens its ports in this order.
frontend ready
    mode http
    bind {host}:{ready}
"""


@contextlib.contextmanager
def chained(
    folder: Path, host: str, words: str, version: SendProxy, http: HttpOptions | None
) -> Iterator[Stub]:
    """Run client, HAProxy, us, HAProxy, and return the server that stands at the end."""
    config = one_backend(Server(name="exit", host=host, port=PORTS["exit"], send_proxy=version))
    binds = (Bind(host="127.0.0.1", port=0, accept_proxy=True),)
    config = replace(
        config,
        frontends=(replace(config.frontends[0], binds=binds, http=http),),
        backends=(replace(config.backends[0], http=http),),
    )
    with contextlib.closing(Stub(host)) as stub, Proxy(config) as proxy:
        file = folder / "haproxy.cfg"
        names = {"host": host, "us": front(proxy), "words": words, "stub": stub, **PORTS}
        file.write_text(CONFIGURATION.format(**names), encoding="utf-8")
        with Process(HAPROXY or "", "-db", "-f", str(file)) as process:
            process.until_it_listens((host, PORTS["ready"]))
            yield stub


@pytest.mark.parametrize("version", SendProxy)
@pytest.mark.parametrize(
    "words", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
)
@pytest.mark.parametrize(
    "http", [None, HttpOptions(forwardfor=AddressField())], ids=["tcp", "http"]
)
def test_the_server_at_the_end_hears_of_the_client_at_the_start(
    tmp_path: Path,
    loopback: Callable[[], str],
    words: str,
    version: SendProxy,
    http: HttpOptions | None,
) -> None:
    host, source = loopback(), loopback()
    with chained(tmp_path, host, words, version, http) as stub:
        with (
            connect((host, PORTS["entry"]), source).say(REQUEST) as client,
            stub.accept() as server,
        ):
            line = b""
            while not header_end(line):
                part = server.take(1)
                assert part, f"the header ended: {line!r}"
                line += part
            told = parse_header(line)
            assert (told.source, told.source_port) == client.sock.getsockname()
            assert (told.destination, told.destination_port) == (host, PORTS["entry"])
            head = server.take(len(REQUEST) - 2)
            if http is not None:
                added = f"X-Forwarded-For: {source}\r\n".encode()
                assert server.take(len(added)).lower() == added.lower()
            assert head + server.take(2) == REQUEST
            server.say(RESPONSE)
            client.hear(RESPONSE)
