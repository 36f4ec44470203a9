"""The proxy inside a program of yours: with a policy of its own, and a server taken out of service.

    python3 -m examples.embed

Two small servers are started on this machine, so there is something to balance.
"""

from __future__ import annotations

import socket
import socketserver
import threading

from dsbalance import (
    Backend,
    Bind,
    Candidates,
    Check,
    Client,
    Config,
    Frontend,
    Proxy,
    Server,
)


class ByFloor:
    """The printers of a floor share a server: the third number of their address decides."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return one of the usable servers; ``avoid`` is one that has just refused."""
        usable = [server for server in servers if server != avoid] or list(servers)
        return usable[client.packed[2] % len(usable)]


def main() -> None:
    """Serve two clients, with a drain between them."""
    ports = {"a": start_server("a"), "b": start_server("b")}
    check = Check(interval=1.0, fall=3, rise=2)
    servers = (
        Server(name=name, host="127.0.0.1", port=port, check=check) for name, port in ports.items()
    )
    config = Config(
        frontends=(
            Frontend(
                name="front",
                binds=(Bind(host="127.0.0.1", port=0),),
                backend="print",
                timeout_client=3600.0,
            ),
        ),
        backends=(
            Backend(
                name="print",
                servers=tuple(servers),
                policy=ByFloor(),
                redispatch=1,
                timeout_server=3600.0,
            ),
        ),
    )
    with Proxy(config) as proxy:
        (address,) = proxy.addresses("front")
        proxy.subscribe(lambda change: print(f"server {change.server}: {change.new or 'gone'}"))
        print(f"a client is served by {ask(address)}")
        proxy.drain("print/a")
        print(f"a client is served by {ask(address)}")


# --- what is yours in reality: servers and clients ------------------------------------------------


def start_server(name: str) -> int:
    """Start a server that tells everybody its name; return its port."""

    class Greeting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(name.encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def ask(address: tuple[str, int]) -> str:
    """Connect as a client does; return the name of the server that answers."""
    with socket.create_connection(address) as sock:
        name = sock.recv(16).decode()
    if not name:
        raise ConnectionError("the connection ended before a server had said its name")
    return name


if __name__ == "__main__":
    main()
