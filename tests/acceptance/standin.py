"""A server as a process of its own, so that a test can kill it.

    python standin.py NAME HOST PORT...

It listens on all the ports, says "ready", tells every client its name, padded to 16 bytes, and then
repeats what it hears. On the ports of plain HTTP it answers a request with its name and with what
the request says of the client's address. It ends when its standard input does, so it never outlives
the test.
"""

from __future__ import annotations

import contextlib
import socketserver
import sys
import threading


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


PLAIN_HTTP = ("5012", "50808")


class Answering(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (part := self.request.recv(1 << 16)):
                    return
                head += part
            fields = (line.partition(b":") for line in head.splitlines())
            said = (value for name, _, value in fields if name.lower() == b"x-forwarded-for")
            body = NAME.encode() + b"".join(said)
            start = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            self.request.sendall(start % len(body) + body)


class Greeting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(NAME.encode().ljust(16))
            while part := self.request.recv(1 << 16):
                self.request.sendall(part)


if __name__ == "__main__":
    NAME, HOST, *PORTS = sys.argv[1:]
    for port in PORTS:
        server = Server((HOST, int(port)), Answering if port in PLAIN_HTTP else Greeting)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
