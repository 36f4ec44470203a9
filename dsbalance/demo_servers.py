"""Stand-ins for the suite's application servers: processes of their own, which can be killed.

Each answers HTTP with its name on every port of the suite, behind its own TEST-ONLY certificate on
the secure ones. It lives until it is killed or the pipe to its input ends, which also happens when
the program that started it dies in whatever way; so nothing is ever left behind.

    python -m dsbalance.demo_servers NAME    what :class:`StubServer` starts; a Job on its input
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import typing
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsbalance.errors import ConnectError

_READY = "ready"
_FORWARDED_FOR = re.compile(rb"\r\nx-forwarded-for:[ \t]*([^\r]*)", re.IGNORECASE)
# A head of 8 KiB is more than any of our printers, or a browser, sends.
_HEAD_LIMIT = 8192
# How long a child may take to notice that its input has ended, in seconds.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one stand-in is.

    Attributes:
        name: What it answers.
        host: Where it listens.
        secure_ports: Ports with TLS.
        plain_ports: Ports without.
        certificate: The file of its key and certificate.
    """

    name: str
    host: str
    secure_ports: Sequence[int]
    plain_ports: Sequence[int]
    certificate: str


class StubServer:
    """A stand-in as its parent sees it. Not for several threads at once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._child: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The number of its process; 0 before the first start."""
        return 0 if self._child is None else self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; it answers once :meth:`wait` has returned."""
        self.close()
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            # -P: no module of the current folder stands in for one of Python's.
            [sys.executable, "-P", "-m", "dsbalance.demo_servers", self.job.name],
            env=os.environ | {"PYTHONPATH": _search_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # Out of the reach of a Ctrl-C that is meant for us: we end it in our own order.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._child = child
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(dataclasses.asdict(self.job)) + "\n")
            child.stdin.flush()
        except OSError:
            pass  # It died at once, which wait() reports.

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ConnectError: It cannot listen, or cannot run at all.
        """
        assert self._child is not None
        assert self._child.stdout is not None
        word = self._child.stdout.readline().strip()
        if word != _READY:
            self.close()
            reason = word or "its process has ended; what it said is above"
            raise ConnectError(self.job.host, reason, self.job.name)

    def kill(self) -> None:
        """End it as a power cut would: it has no chance to say goodbye."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def close(self) -> None:
        """End it if it runs, and free what is known of it."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def _search_path() -> str:
    """Return a PYTHONPATH with which a child finds the package that runs here."""
    ours = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([ours, inherited] if inherited else [ours])


# -- in the child


async def serve(job: Job, ready: Callable[[], None]) -> None:
    """Answer on all ports of ``job`` until cancelled; call ``ready`` once everybody may come.

    Raises:
        OSError: A port cannot be listened on.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(job.certificate)
    servers = []
    try:
        for ports, tls in ((job.plain_ports, None), (job.secure_ports, context)):
            for port in ports:
                answer = _answer(job.name, port)
                server = await asyncio.start_server(
                    answer, job.host, port, ssl=tls, limit=_HEAD_LIMIT
                )
                servers.append(server)
        ready()
        await asyncio.get_running_loop().create_future()
    finally:
        for server in servers:
            server.close()


Talk: typing.TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[typing.Any, typing.Any, None]
]


def _answer(name: str, port: int) -> Talk:
    """Return what talks to one client at ``port``: each head gets the name for an answer.

    A client that the balancer told of is named too, as a server in HTTP mode knows it.
    """
    body = f"{name}\n".encode()
    start = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        f"X-Served-By: {name} port {port}\r\n"
    ).encode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = b""
            while b"connection: close" not in head.lower():
                head = await reader.readuntil(b"\r\n\r\n")
                clients = _FORWARDED_FOR.findall(head)
                told = b"X-Served-For: %b\r\n" % b", ".join(clients) if clients else b""
                writer.write(b"%b%b\r\n%b" % (start, told, body))
                await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # It left, or it is no HTTP client: both are its own affair.
        finally:
            writer.close()

    return talk


def _die_with_parent() -> None:
    sys.stdin.read()
    # Whoever started us is gone or has had enough: there is nothing to put in order.
    os._exit(0)


def main() -> int:
    """Be a stand-in: read a Job from the input, and serve until the input ends."""
    words = sys.stdin.readline()
    if not words:
        return 1  # Whoever started us was gone before it could say what for.
    job = Job(**json.loads(words))
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        asyncio.run(serve(job, lambda: _tell(_READY)))
    except OSError as error:
        _tell(error.strerror or str(error))
    return 1


def _tell(word: str) -> None:
    """Say something to the parent, which reads one line."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
