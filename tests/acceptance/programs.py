"""Programs that a test runs beside itself, and the devices that come to them."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path

from actors import PATIENCE
from dsbalance import HashRing
from processes import Process

_STANDIN = Path(__file__).with_name("standin.py")
DSBALANCE = (sys.executable, "-m", "dsbalance")
# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


class Standin(Process):
    """A server of its own process, on every port of the suite or on those that are given."""

    def __init__(self, name: str, host: str, ports: Iterable[int]) -> None:
        super().__init__(sys.executable, "-I", "-S", str(_STANDIN), name, host, *map(str, ports))
        self.name = name
        self.host = host
        self.until_it_says("ready")


def answered_by(address: tuple[str, int], source: str) -> str:
    """Return what the :class:`Standin` says that a request of ``source`` reaches by plain HTTP.

    The client claims to come from somewhere else.
    """
    host, port = address
    client = HTTPConnection(host, port, timeout=PATIENCE, source_address=(source, 0))
    with contextlib.closing(client):
        client.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.1"})
        return client.getresponse().read().decode()


def devices(count: int, owner: int | None = None) -> list[str]:
    """Return the same addresses of 127.0.0.0/8 each time, from all over it.

    With ``owner``: only those that ``balance source`` gives to the server of this id, out of three
    of the same weight.
    """
    return list(islice(_devices(owner), count))


def _devices(owner: int | None) -> Iterator[str]:
    ring = HashRing([1, 2, 3])
    chance = random.Random("devices")
    while True:
        address = IPv4Address(
            f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        )
        if owner is None or ring.lookup(address) == owner:
            yield str(address)
