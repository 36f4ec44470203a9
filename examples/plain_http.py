"""HTTP inside a program of yours: servers are told who asks, and nobody may take all connections.

    python3 -m examples.plain_http

The proxy adds X-Forwarded-For to each request. At its door a client with two connections is not
let in with a third one. A small web server is started here, so there is something to ask.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server, Table
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import DoorAction, DoorRule
from dsbalance.http_options import AddressField, HttpOptions

MOST = 2

# What a haproxy.cfg says in these words:
#     tcp-request connection track-sc0 src
#     tcp-request connection reject if { sc0_conn_cur gt 2 }
IS_TOO_MANY = Look(fetch=Fetch.SC0_CONN_CUR, ranges=((MOST + 1, None),))
DOOR = (
    DoorRule(action=DoorAction.TRACK),
    DoorRule(
        action=DoorAction.REJECT, condition=Condition(alternatives=((Term(tests=(IS_TOO_MANY,)),),))
    ),
)


def main() -> None:
    """Ask twice over one connection, and then try to come in too often."""
    config = Config(
        frontends=(
            Frontend(
                name="front",
                binds=(Bind(host="127.0.0.1", port=0),),
                backend="web",
                timeout_client=60.0,
                http=HttpOptions(forwardfor=AddressField(), timeout_request=10.0),
                door=DOOR,
                table=Table(size=10_000, expire=60.0, stores_conn_cur=True),
            ),
        ),
        backends=(
            Backend(
                name="web",
                servers=(Server(name="a", host="127.0.0.1", port=start_server()),),
                timeout_server=60.0,
                http=HttpOptions(),
            ),
        ),
    )
    with Proxy(config) as proxy:
        (address,) = proxy.addresses("front")
        with ExitStack() as exits:
            *clients, last = (
                exits.enter_context(closing(http.client.HTTPConnection(*address)))
                for _ in range(MOST + 1)
            )
            for client in clients:
                print(f"the server was told: {ask(client)}")
            print(f"to one who claims to be somebody else: {ask(clients[0], '10.9.8.7')}")
            try:
                print(ask(last))
            except ConnectionError:
                print("a third connection at a time was not let in")


# --- what is yours in reality: servers and clients ------------------------------------------------


class Telling(BaseHTTPRequestHandler):
    """Tells a client what was said of its address, all fields in their order."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with them."""
        body = " then ".join(self.headers.get_all("X-Forwarded-For", ())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the output to what this example shows."""


def start_server() -> int:
    """Start a web server; return its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Telling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def ask(client: http.client.HTTPConnection, claimed: str = "") -> str:
    """Make a request, perhaps with an address that is not ours; return the answer."""
    client.request("GET", "/", headers={"X-Forwarded-For": claimed} if claimed else {})
    return client.getresponse().read().decode()


if __name__ == "__main__":
    main()
