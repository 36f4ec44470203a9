"""The printers of the demo, and the book of what they have seen.

A printer is one source address. It keeps a TLS session open for as long as it can, asks something
over it in each round, and asks something over a new connection at the next of its other ports.
When the connection under a request is cut, or the balancer answers instead of a server, it connects
again and asks again, as a device does.
"""

from __future__ import annotations

import http
import http.client
import itertools
import select
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A request is given up after so many attempts, and an attempt after so many seconds of silence.
ATTEMPTS = 3
PATIENCE = 10.0
# Pauses between two rounds of one printer; twelve printers make some 80 requests a second.
PAUSE = 0.25
# Answers that are kept: those of the last minute and more.
_KEPT = 8000
# What stands before the server's name in the certificates of the folder `testdata`.
_COMMON_NAME = "TEST ONLY "


class Wrong(Exception):  # noqa: N818 - never leaves this module
    """An answer came that must not be."""


class Answer(NamedTuple):
    """One request that was answered.

    Attributes:
        printer: Whose.
        port: The balancer's, that it went to.
        server: Who answered.
        asked_at: Monotonic seconds.
        wait: Seconds until the answer was there, with all attempts.
        attempts: How often it was sent, at least 1.
        told: What the server was told of the printer's address; empty: nothing.
    """

    printer: int
    port: int
    server: str
    asked_at: float
    wait: float
    attempts: int = 1
    told: str = ""


class Reply(NamedTuple):
    """What a stand-in says of itself.

    Attributes:
        server: Its name.
        told: The address that X-Forwarded-For told it; empty: there was no such field.
    """

    server: str
    told: str


class Move(NamedTuple):
    """A printer that came to another server than before, with its ports of one group."""

    printer: int
    group: str
    old: str
    new: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What there was in all.

    Attributes:
        answered: Requests that got their answer.
        failed: Requests that got none.
        repeated: Requests that were sent more than once, because their connection was cut.
        cut: Open sessions that ended while nobody used them.
        slowest: The longest wait for an answer, seconds.
        by_server: Name -> answers.
    """

    answered: int
    failed: int
    repeated: int
    cut: int
    slowest: float
    by_server: Mapping[str, int]


class Ledger:
    """What the printers have seen. Any thread may write and read.

    Args:
        groups: Port -> the group of ports that share an affinity.
    """

    def __init__(self, groups: Mapping[int, str]) -> None:
        self._groups = dict(groups)
        self._lock = threading.Lock()
        self._recent: deque[Answer] = deque(maxlen=_KEPT)
        self._moves: deque[Move] = deque(maxlen=_KEPT)
        self._owners: dict[tuple[int, str], str] = {}
        self._homes: dict[tuple[int, str], str] = {}
        self._failures: deque[str] = deque(maxlen=5)
        self._by_server: Counter[str] = Counter()
        self._failed = self._repeated = self._cut = 0
        self._slowest = 0.0

    def answered(self, answer: Answer) -> None:
        """Write down an answer, and the move of its printer if it came from another server."""
        key = answer.printer, self._groups[answer.port]
        with self._lock:
            self._recent.append(answer)
            self._by_server[answer.server] += 1
            self._repeated += answer.attempts > 1
            self._slowest = max(self._slowest, answer.wait)
            old = self._owners.get(key, answer.server)
            self._owners[key] = answer.server
            self._homes.setdefault(key, answer.server)
            if old != answer.server:
                self._moves.append(Move(*key, old, answer.server, answer.asked_at + answer.wait))

    def failed(self, printer: int, port: int, why: str) -> None:
        """Write down a request that got no answer."""
        with self._lock:
            self._failed += 1
            self._failures.append(f"printer {printer}, port {port}: {why}")

    def cut(self) -> None:
        """Write down a session that ended while nobody used it."""
        with self._lock:
            self._cut += 1

    def owners(self) -> dict[tuple[int, str], str]:
        """Return printer and group -> the server that answered last."""
        with self._lock:
            return dict(self._owners)

    def homes(self) -> dict[tuple[int, str], str]:
        """Return printer and group -> the server that answered first."""
        with self._lock:
            return dict(self._homes)

    def since(self, instant: float) -> list[Answer]:
        """Return the answers to what was asked at ``instant`` or later, within the last minute."""
        with self._lock:
            return [answer for answer in self._recent if answer.asked_at >= instant]

    def moves(self, instant: float = 0.0) -> list[Move]:
        """Return the moves at ``instant`` or later."""
        with self._lock:
            return [move for move in self._moves if move.at >= instant]

    def failures(self) -> list[str]:
        """Return sentences on the last requests that failed."""
        with self._lock:
            return list(self._failures)

    def tally(self) -> Tally:
        """Return the sums."""
        with self._lock:
            return Tally(
                answered=self._by_server.total(),
                failed=self._failed,
                repeated=self._repeated,
                cut=self._cut,
                slowest=self._slowest,
                by_server=dict(self._by_server),
            )


class Line:
    """What the printers have in common: whom they talk to, and how.

    Args:
        host: The balancer's address.
        secure_ports: Its ports with TLS; the first is the one of the lasting session.
        plain_ports: Its ports without.
        certificates: Files of the servers' certificates, the only ones that are trusted.
    """

    def __init__(
        self,
        host: str,
        secure_ports: Sequence[int],
        plain_ports: Sequence[int],
        certificates: Iterable[str],
    ) -> None:
        self.host = host
        self.lasting_port, *others = secure_ports
        self.ports = (*others, *plain_ports)
        self._secure = frozenset(secure_ports)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for certificate in certificates:
            self._context.load_verify_locations(certificate)

    def connect(self, source: str, port: int) -> socket.socket:
        """Return a new connection, with TLS where it belongs; the caller closes it.

        Raises:
            OSError: Nobody answers, or it shows a certificate that is not trusted.
        """
        sock = socket.create_connection((self.host, port), PATIENCE, (source, 0))
        if port not in self._secure:
            return sock
        try:
            return self._context.wrap_socket(sock, server_hostname="localhost")
        except BaseException:
            sock.close()
            raise


class Printer:
    """One device, on a thread of its own; it asks until it is stopped."""

    def __init__(
        self, number: int, source: str, line: Line, ledger: Ledger, *, pause: float = PAUSE
    ) -> None:
        self.number = number
        self.source = source
        self._line = line
        self._ledger = ledger
        self._pause = pause
        self._thread = threading.Thread(target=self.run, name=f"printer-{number}", daemon=True)
        self._end = threading.Event()
        self._session: socket.socket | None = None

    def start(self) -> None:
        """Begin to ask; once."""
        self._thread.start()

    def run(self) -> None:
        """Ask, round after round, on this thread."""
        line = self._line
        # Not all at the same port at the same time.
        skipped = self.number % len(line.ports)
        for port in itertools.islice(itertools.cycle(line.ports), skipped, None):
            self._ask(line.lasting_port)
            self._ask(port)
            if self._end.wait(self._pause):
                break
        self._hang_up()

    def stop(self) -> None:
        """Let the round that is under way be the last."""
        self._end.set()

    def join(self) -> None:
        """Wait until the last round is over."""
        self._thread.join()

    def _ask(self, port: int) -> None:
        asked_at = time.monotonic()
        why = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                is_lasting = port == self._line.lasting_port
                reply = self._talk_on() if is_lasting else self._talk_once(port)
            except Wrong as error:
                why = str(error)
                break
            except (OSError, http.client.HTTPException) as error:
                self._hang_up()
                why = str(error) or type(error).__name__
            else:
                wait = time.monotonic() - asked_at
                answer = Answer(
                    self.number, port, reply.server, asked_at, wait, attempt, reply.told
                )
                self._ledger.answered(answer)
                return
        self._ledger.failed(self.number, port, why)

    def _talk_on(self) -> Reply:
        """Ask over the lasting session, which is opened anew if it has ended."""
        if self._session is not None and _has_ended(self._session):
            self._ledger.cut()
            self._hang_up()
        if self._session is None:
            self._session = self._line.connect(self.source, self._line.lasting_port)
        return request(self._session)

    def _talk_once(self, port: int) -> Reply:
        with self._line.connect(self.source, port) as sock:
            return request(sock)

    def _hang_up(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def request(sock: socket.socket) -> Reply:
    """Send one request, and return what the server that answers says of itself.

    Raises:
        OSError, http.client.HTTPException: There is no answer, or it is the balancer's own, such as
            502 for a server that died under the request.
        Wrong: The certificate names another server than the answer.
    """
    link = http.client.HTTPConnection("localhost")
    # The connection is made already, with a source and a certificate that http.client cannot ask.
    link.sock = sock
    link.request("GET", "/")
    with link.getresponse() as response:
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"the answer is {response.status} {response.reason}")
        told = response.getheader("X-Served-For", "")
        name = response.read().decode().strip()
    if isinstance(sock, ssl.SSLSocket) and (shown := _shown_name(sock)) != name:
        raise Wrong(f"the certificate is that of {shown}, the answer comes from {name}")
    return Reply(name, told)


def _shown_name(sock: ssl.SSLSocket) -> str:
    """Return the server that a certificate names."""
    certificate = sock.getpeercert() or {}
    subject: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())  # type: ignore[assignment]
    fields = dict(pair for group in subject for pair in group)
    return fields.get("commonName", "").removeprefix(_COMMON_NAME)


def _has_ended(sock: socket.socket) -> bool:
    """Return whether a session that is between two requests has ended: a server says nothing."""
    return bool(select.select([sock], [], [], 0)[0])
