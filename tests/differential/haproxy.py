"""HAProxy as a side: a process of its own, seen and operated through its runtime socket."""

from __future__ import annotations

import csv
import functools
import io
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .events import Admin, Health, Operation
from .side import Fact, View
from .story import Setup

# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
# What is compared with: later ones decide differently in places.
_VERSION = "2.6"
_PATIENCE = 20.0
_PROMPT = b"\n> "
_SERVER_FACTS = ("status", "uweight", "scur", "qcur", "stot", "lbtot", "wretr", "wredis", "econ")
_PROXY_FACTS = ("status", "weight", "act", "bck", "qcur")
_ENTRY = re.compile(r"key=(\S+) .*?server_id=(\d+)(?:.*? server_key=(\S+))?")


@functools.cache
def lack() -> str | None:
    """Return why nothing can be compared with HAProxy here; None: it can."""
    if HAPROXY is None:
        return "HAProxy is not installed"
    said = subprocess.run((HAPROXY, "-v"), capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+\.\d+)", said)
    version = found[1] if found else "of no version"
    return None if version == _VERSION else f"HAProxy is {version} here, not {_VERSION}"


class HaproxySide:
    """Run the file of a setup on HAProxy.

    Args:
        setup: The configuration.
        host: The address for its doors.
        servers: The address of the servers.
    """

    def __init__(self, setup: Setup, host: str, servers: str) -> None:
        self.host = host
        self._setup = setup
        self._folder = tempfile.TemporaryDirectory(prefix="differential-")
        path = Path(self._folder.name)
        file = path / "haproxy.cfg"
        address = str(path / "socket")
        file.write_text(setup.file(door=host, servers=servers, socket=address), encoding="utf-8")
        self._log = (path / "log").open("w+b")
        self._process = subprocess.Popen(
            (HAPROXY or "haproxy", "-db", "-f", str(file)), stdout=self._log, stderr=self._log
        )
        self._runtime = self._connect(address)
        self._ask("prompt")
        self._ask("set timeout cli 1h")

    def operate(self, event: Operation) -> None:
        if isinstance(event, Admin):
            words = f"state {event.state}"
        elif isinstance(event, Health):
            words = f"health {event.state}"
        else:
            words = f"weight {self._weight(event.weight)}"
        answer = self._ask(f"set server {event.server} {words}").strip()
        if answer:
            raise ValueError(f"HAProxy answers to {words}: {answer}")

    def view(self) -> View:
        rows = list(csv.DictReader(io.StringIO(self._ask("show stat").lstrip("# "))))
        backends = [row for row in rows if row["svname"] == "BACKEND"]
        return View(
            clients=sum(int(row["scur"]) for row in rows if row["svname"] == "FRONTEND"),
            servers={
                f"{row['pxname']}/{row['svname']}": _server(row)
                for row in rows
                if row["type"] == "2"
            },
            proxies={row["pxname"]: _facts(row, _PROXY_FACTS) for row in backends},
            tables={name: self._table(name) for name in self._setup.tables},
            starting=sum(row["throttle"] not in {"", "100"} for row in rows),
        )

    def close(self) -> None:
        self._runtime.close()
        self._process.kill()
        self._process.wait(_PATIENCE)
        self._log.close()
        self._folder.cleanup()

    def _weight(self, weight: int) -> str:
        """Return a weight as HAProxy takes it: a static policy knows none and the first one."""
        if not self._setup.is_static:
            return str(weight)
        return "100%" if weight else "0%"

    def _table(self, name: str) -> dict[str, str]:
        lines = self._ask(f"show table {name}").splitlines()
        entries = (found.groups() for line in lines if (found := _ENTRY.search(line)))
        return {
            # A table for IPv6 has IPv4 sources in it too.
            source.removeprefix("::ffff:"): self._setup.named(key or f"id {number}")
            for source, number, key in entries
        }

    def _connect(self, address: str) -> socket.socket:
        deadline = time.monotonic() + _PATIENCE
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(_PATIENCE)
            try:
                sock.connect(address)
            except OSError:
                sock.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._epitaph()) from None
                time.sleep(0.005)
            else:
                return sock

    def _epitaph(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode()
        self._process.kill()
        self._process.wait(_PATIENCE)
        self._log.close()
        self._folder.cleanup()
        return f"HAProxy does not start:\n{said}{self._setup.text}"

    def _ask(self, command: str) -> str:
        self._runtime.sendall(f"{command}\n".encode())
        answer = bytearray()
        while not answer.endswith(_PROMPT):
            part = self._runtime.recv(1 << 16)
            if not part:
                raise RuntimeError(f"HAProxy ended at {command!r}")
            answer += part
        return answer[: -len(_PROMPT)].decode()


def _server(row: dict[str, str]) -> dict[str, Fact]:
    # Who is not checked has no count of how often it went down.
    return _facts(row, (*_SERVER_FACTS, *(["chkdown"] if row["chkdown"] else [])))


def _facts(row: dict[str, str], names: tuple[str, ...]) -> dict[str, Fact]:
    return {name: value if not (value := row[name]).isdigit() else int(value) for name in names}
