"""A server as a process of its own, so that a test can kill it.

    python standin.py NAME HOST PORT...

It listens on all the ports, says "ready", tells every client its name, padded to 16 bytes, and then
repeats what it hears. It ends when its standard input does, so it never outlives the test.
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


class Greeting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(NAME.encode().ljust(16))
            while part := self.request.recv(1 << 16):
                self.request.sendall(part)


if __name__ == "__main__":
    NAME, HOST, *PORTS = sys.argv[1:]
    for port in PORTS:
        server = Server((HOST, int(port)), Greeting)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
