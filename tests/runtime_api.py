"""A runtime API as a stand-in: what it says, and what it is told, is up to the test."""

from __future__ import annotations

import contextlib
import csv
import io
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from actors import PATIENCE

COLUMNS = (
    *("pxname", "svname", "qcur", "scur", "smax", "slim", "bin", "bout", "status", "weight"),
    *("lastchg", "throttle", "tracked", "type", "rate", "check_status", "last_chk", "check_desc"),
)
TYPES = {"FRONTEND": "0", "BACKEND": "1"}


class RuntimeApi:
    """One that answers ``show stat``, ``show info`` and ``set server ... state``.

    Args:
        path: Of a Unix socket; None: a port of 127.0.0.1.

    Attributes:
        address: Where it listens.
        rows: The lines of ``show stat``, each from columns to values.
        info: What ``show info`` says.
        heard: The commands, in their order.
        answers: What it says to a command instead; it may be anything, in parts.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            self._sock = socket.create_server(("127.0.0.1", 0))
            self.address = "{}:{}".format(*self._sock.getsockname())
        else:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.bind(str(path))
            self._sock.listen()
            self.address = str(path)
        self.rows: list[dict[str, str]] = []
        self.info = {
            "Name": "HAProxy",
            "Version": "2.6.12",
            "Pid": "11",
            "Uptime": "0d 0h00m09s",
            "Uptime_sec": "9",
            "Maxconn": "2000",
            "CurrConns": "3",
            "SessRate": "1",
            "node": "lab",
        }
        self.heard: list[str] = []
        self.answers: dict[str, bytes] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def row(self, path: str, status: str, **fields: str) -> dict[str, str]:
        """Add a line of ``show stat``, and return it."""
        proxy, name = path.split("/")
        kind = {"pxname": proxy, "svname": name, "status": status, "type": TYPES.get(name, "2")}
        self.rows.append({**kind, **fields})
        return self.rows[-1]

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(PATIENCE)
                with sock.makefile("rb") as lines:
                    command = lines.readline().decode().rstrip("\n")
                self.heard.append(command)
                sock.sendall(self._answer(command))

    def _answer(self, command: str) -> bytes:
        if command in self.answers:
            return self.answers[command]
        match command.split():
            case ["show", "stat"]:
                return f"{self._stat()}\n".encode()
            case ["show", "info"]:
                return "".join(f"{k}: {v}\n" for k, v in self.info.items()).encode() + b"\n"
            case ["set", "server", path, "state", state]:
                return f"{self._set(path, state)}\n".encode()
        return f"Unknown command: '{command}'\n\n".encode()

    def _stat(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, [*COLUMNS, ""], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return f"# {text.getvalue()}"

    def _set(self, path: str, state: str) -> str:
        """Set the state of a server and of those that follow it; return what there is to say."""
        found = [row for row in self.rows if f"{row['pxname']}/{row['svname']}" == path]
        if not found:
            return "No such server.\n"
        for row in (*found, *(row for row in self.rows if row.get("tracked") == path)):
            if not (row["status"].startswith("DOWN") and state != "maint"):
                row["status"] = {"ready": "UP"}.get(state, state.upper())
        return ""

    def close(self) -> None:
        # Without it the thread would go on waiting in accept.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
