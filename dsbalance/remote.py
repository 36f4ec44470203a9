"""A client of the runtime API: asks a running dsbalance, or a HAProxy, and reads what it says.

One connection for each command, as all tools do it: the line goes there, the answer comes, and the
end of it is the end of the connection (the HAProxy 2.6 management guide, 9.3). Everything blocks,
for as long as the timeout at the most.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dsbalance.errors import DsbalanceError
from dsbalance.haproxy.lexer import printable

DEFAULT_TIMEOUT = 5.0
# A table of 200,000 entries is some 25 MB. Whoever says more than this is no runtime API.
MAX_ANSWER = 1 << 28
# HAProxy's rule for the names of proxies and servers (configuration manual, 2.1).
_NAME = re.compile(r"[\w.:-]+", re.ASCII)
# How an answer begins with which HAProxy 2.6.12 says no to a `show`.
_REFUSALS = (
    *("Unknown command", "Permission denied", "No such ", "Can't find ", "Invalid "),
    *("Data type not stored", "Unknown data type", "Missing ", "Expects ", "This command expects"),
)


class RemoteError(DsbalanceError):
    """A runtime API was not reached, broke off, or said no.

    Attributes:
        address: Where it was asked, in the words of who asks.
        reason: What came of it.
    """

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"{address}: {reason}")


class RefusedError(RemoteError):
    """A runtime API says no, or would: ``reason`` says why."""


@dataclass(frozen=True, slots=True)
class StatRow:
    """A line of ``show stat``: a frontend, a listener, a server, or a backend as a whole.

    Attributes:
        fields: Its values by the names of their columns, whatever columns there are.
    """

    fields: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        """Return a value; empty: the row has none, or there is no such column."""
        return self.fields.get(column, "")

    def number(self, column: str) -> int | None:
        """Return a value that is a whole number; None: there is none."""
        try:
            return int(self[column])
        except ValueError:
            return None

    @property
    def path(self) -> str:
        """``proxy/name``."""
        return f"{self['pxname']}/{self['svname']}"

    @property
    def is_frontend(self) -> bool:
        """Whether it is a frontend as a whole."""
        return self["type"] == "0"

    @property
    def is_backend(self) -> bool:
        """Whether it is a backend as a whole."""
        return self["type"] == "1"

    @property
    def is_server(self) -> bool:
        """Whether it is a server."""
        return self["type"] == "2"


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of a server, or of a backend, when servers were steered.

    Attributes:
        before: Its row before.
        after: Its row then.
        is_meant: Whether it is one of those that were named.
    """

    before: StatRow
    after: StatRow
    is_meant: bool

    @property
    def statuses(self) -> tuple[str, str]:
        """The status before, and then."""
        return self.before["status"], self.after["status"]

    @property
    def is_new(self) -> bool:
        """Whether its status is another one now."""
        before, after = self.statuses
        return before != after


class Remote:
    """A runtime API somewhere.

    Args:
        address: The path of a Unix socket, or ``HOST:PORT``; HAProxy's ``unix@`` and ``ipv4@`` may
            stand before it.
        timeout: How long to wait for a connection, and for each part of an answer, in seconds.

    Raises:
        RemoteError: The address cannot be one.
    """

    def __init__(self, address: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout
        kind, at, rest = address.partition("@")
        is_prefixed = bool(at) and kind in ("unix", "ipv4", "ipv6", "tcp")
        place = _place(rest if is_prefixed else address, is_path=kind == "unix" and bool(at))
        if place is None:
            raise RemoteError(address, "is neither a path nor HOST:PORT")
        self._place = place

    def ask(self, command: str) -> str:
        """Return what it answers to one line, without the empty line that ends the answer.

        Raises:
            RefusedError: The command has more than one line.
            RemoteError: It cannot be reached, says nothing in time, breaks off or never ends.
        """
        if "\n" in command or "\r" in command:
            raise self._refused(f"{printable(command)}: a command is one line")
        try:
            with self._connect() as sock:
                sock.sendall(command.encode("utf-8", "surrogateescape") + b"\n")
                answer = self._receive(sock)
        except TimeoutError as error:
            raise self._error(f"no answer within {self._timeout:g} s") from error
        except OSError as error:
            raise self._error(f"the connection broke off: {_words(error)}") from error
        if not answer:
            raise self._error("it closed the connection without a word")
        text = answer.decode("utf-8", "backslashreplace")
        return text.removesuffix("\n")

    def _connect(self) -> socket.socket:
        try:
            if isinstance(self._place, tuple):
                return socket.create_connection(self._place, self._timeout)
            family: int | None = getattr(socket, "AF_UNIX", None)
            if family is None:
                raise self._error("this Python has no Unix sockets; name HOST:PORT")
            sock = socket.socket(family, socket.SOCK_STREAM)
            with contextlib.ExitStack() as stack:
                stack.callback(sock.close)
                sock.settimeout(self._timeout)
                sock.connect(self._place)
                stack.pop_all()
        except (OSError, ValueError) as error:
            # A ValueError is a name that no file or host can have.
            raise self._error(f"cannot connect: {_words(error)}") from error
        return sock

    def _receive(self, sock: socket.socket) -> bytes:
        answer = bytearray()
        while part := sock.recv(1 << 16):
            answer += part
            if len(answer) > MAX_ANSWER:
                raise self._error(f"its answer is longer than {MAX_ANSWER >> 20} MiB")
        return bytes(answer)

    def _error(self, reason: str) -> RemoteError:
        return RemoteError(self.address, reason)

    def show(self, words: Iterable[str]) -> str:
        """Return what it answers to ``show ...``, as it is.

        Raises:
            RefusedError: It says that there is no such thing, as far as that can be told.
            RemoteError: As :meth:`ask`.
        """
        answer = self.ask(" ".join(("show", *words)))
        if answer.startswith(_REFUSALS):
            raise RefusedError(self.address, answer.strip())
        return answer

    def stat(self) -> list[StatRow]:
        """Return the rows of ``show stat``, in its order.

        Raises:
            RemoteError: As :meth:`ask`, or what it says is no statistics.
        """
        answer = self.ask("show stat")
        if not answer.startswith("# pxname,"):
            raise RefusedError(self.address, _foreign(answer))
        try:
            lines = csv.reader(io.StringIO(answer.removeprefix("# ")))
            columns = next(lines)
            return [StatRow(dict(zip(columns, line, strict=False))) for line in lines if line]
        except csv.Error as error:
            raise self._error(f"its statistics cannot be read: {error}") from error

    def info(self) -> dict[str, str]:
        """Return what ``show info`` says, by its names.

        Raises:
            RemoteError: As :meth:`ask`, or what it says is nothing of the kind.
        """
        answer = self.ask("show info")
        pairs = (line.partition(": ") for line in answer.splitlines())
        found = {name: value for name, colon, value in pairs if colon}
        if "Version" not in found:
            raise RefusedError(self.address, _foreign(answer))
        return found

    def steer(self, names: Sequence[str], state: str) -> list[Turn]:
        """Make servers ``ready``, ``drain`` them, or take them into ``maint``.

        A name is ``BACKEND/SERVER``, or that of a server in every backend that has it. One that
        tracks another one of them is left to follow it: drained for itself, it would stay so when
        the other one is ready again. ``ready`` is said to all of them.

        Returns:
            What was named, and whatever else has another status now, in the order of ``show stat``.

        Raises:
            RefusedError: There is no such server, or it may not be steered from there. What stands
                before it among the names has been steered.
            RemoteError: As :meth:`ask`.
        """
        before = self.stat()
        meant = list(dict.fromkeys(path for name in names for path in self._paths(name, before)))
        for path in meant if state == "ready" else _leaders(meant, before):
            answer = self.ask(f"set server {path} state {state}").strip()
            if answer:
                raise self._refused(f"{path}: {printable(answer)}")
        after = {row.path: row for row in self.stat()}
        turns = (Turn(row, after.get(row.path, row), row.path in meant) for row in before)
        return [turn for turn in turns if turn.is_meant or turn.is_new]

    def _paths(self, name: str, rows: Iterable[StatRow]) -> list[str]:
        if not all(map(_NAME.fullmatch, name.split("/", 1))):
            raise self._refused(f"{printable(name)}: no server can have this name")
        if "/" in name:
            return [name]
        found = [row.path for row in rows if row.is_server and row["svname"] == name]
        if not found:
            raise self._refused(f"{name}: no backend has a server of this name")
        return found

    def _refused(self, reason: str) -> RefusedError:
        return RefusedError(self.address, reason)


def turn_lines(turns: Sequence[Turn], state: str) -> list[str]:
    """Return a line for each turn: whose it is, the status, and what there is to know of it.

    Args:
        turns: What :meth:`Remote.steer` returned.
        state: What it was told.
    """
    paths = [turn.after.path for turn in turns]
    statuses = [" -> ".join(turn.statuses if turn.is_new else turn.statuses[1:]) for turn in turns]
    room, width = (max(map(len, texts), default=0) for texts in (paths, statuses))
    return [
        f"{path:{room}}  {status:{width}}  {_remark(turn, state)}".rstrip()
        for path, status, turn in zip(paths, statuses, turns, strict=True)
    ]


def _remark(turn: Turn, state: str) -> str:
    row = turn.after
    if row.is_backend:
        return "nobody takes new clients" if row["status"] == "DOWN" else ""
    remarks = [] if turn.is_new else ["as before"]
    if row["tracked"] and "(via " not in row["status"]:
        remarks.append(f"follows {row['tracked']}")
    if state == "drain" and row["status"].startswith("DOWN"):
        remarks.append("drained once it is up")
    if state != "ready" and turn.is_meant:
        count = row.number("scur") or 0
        remarks.append(f"{count} session{'s' * (count != 1)} left")
    return ", ".join(remarks)


def _leaders(paths: Sequence[str], rows: Iterable[StatRow]) -> list[str]:
    """Return those that will not follow another one of them."""
    tracked = {row.path: row["tracked"] for row in rows if row["tracked"]}

    def follows(path: str) -> bool:
        # Nobody tracks himself by any detour, but who answers may be anybody.
        for _ in tracked:
            path = tracked.get(path, "")
            if path in paths:
                return True
        return False

    return [path for path in paths if not follows(path)]


def _place(address: str, *, is_path: bool) -> str | tuple[str, int] | None:
    """Return the path, or host and port; None: it is neither."""
    host, colon, port = address.rpartition(":")
    if is_path or "/" in address or "\\" in address or not colon:
        return address or None
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 1 << 16):
        return None
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _foreign(answer: str) -> str:
    """Return what is to be said of an answer that is not what was asked for."""
    lines = answer.strip().splitlines()
    return (
        f"it does not say what was asked, but: {printable(lines[0], 200) if lines else 'nothing'}"
    )
