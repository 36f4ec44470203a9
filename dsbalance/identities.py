"""Which number each proxy has in the statistics. No I/O.

A frontend, a backend, and a ``listen``, which is both under one name, have one number each, from 2,
for 1 is that of the runtime API itself. Who has none in the configuration gets the lowest that is
free, in the order of the configuration: frontends, each with the backend of its name, and then the
other backends.

Source: the HAProxy 2.6 manual, ``id``; the first number was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from dsbalance.model import Backend, Frontend

_FIRST = 2


class Identities(NamedTuple):
    """The numbers of all proxies.

    Attributes:
        frontends: By name.
        backends: By name.
    """

    frontends: dict[str, int]
    backends: dict[str, int]


def identify(frontends: Iterable[Frontend], backends: Iterable[Backend]) -> Identities:
    """Return the number of each proxy. O(proxies)."""
    behind = {backend.name: backend.id for backend in backends}
    before = {frontend.name: frontend.id for frontend in frontends}
    taken = {*before.values(), *behind.values()}
    free = (number for number in count(_FIRST) if number not in taken)
    found = Identities({}, {})
    for name, number in before.items():
        found.frontends[name] = number or behind.get(name) or next(free)
    for name, number in behind.items():
        found.backends[name] = number or found.frontends.get(name) or next(free)
    return found
