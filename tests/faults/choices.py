"""Who gets each of 10,000 clients: a program, so that another process can be asked too.

    python choices.py haproxy-balance-source.json

It prints, as JSON, the title of each scenario with the digest of its 10,000 choices, one name a
line, and each server's share. The scenarios are HAProxy's, as that file has them, and a ring of
names.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from dsbalance import Backend, Balance, Client, HashRing, HashType, Server
from dsbalance.balancer import Balancer, Health
from dsbalance.policy import own_policy

COUNT = 10_000
TITLES = (
    "five, two down",
    "weights 1 10 100",
    "ids 1000, 42, automatic",
    "map-based",
)
NAMES = {"alpha": 1, "beta": 2, "gamma": 3}


def main() -> None:
    scenarios = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["scenarios"]
    json.dump({title: digest(chosen) for title, chosen in all_choices(scenarios)}, sys.stdout)


def all_choices(scenarios: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the choices of each scenario in ``TITLES``, and of a ring of names."""
    for scenario in scenarios:
        if scenario["title"] in TITLES:
            yield scenario["title"], choices(scenario, clients(scenario["picks"]))
    ring = HashRing(NAMES)
    yield "a ring of names", [str(ring.lookup(f"scan-{number}")) for number in range(COUNT)]


def choices(scenario: dict[str, Any], addresses: Iterable[str]) -> list[str]:
    """Return who gets each of ``addresses``, by the balancer that a proxy asks."""
    kind, _, hashing = scenario["hash_type"].partition(" ")
    servers = (Server(host="192.0.2.1", port=80, **words) for words in scenario["servers"])
    backend = Backend(
        name="back",
        servers=tuple(servers),
        balance=Balance.SOURCE,
        hash_type=HashType(kind=kind, avalanche=False if hashing else None),
        allbackups=scenario["allbackups"],
    )
    balancer = Balancer(backend, {}, own_policy(backend))
    for name in scenario["down"]:
        balancer.set_health(name, Health.DOWN, 0.0)
    return [_server_of(balancer, address) for address in addresses]


def clients(known: Collection[str]) -> Iterator[str]:
    """Yield ``known``, then others from all over the address space; a tenth of them are IPv6."""
    yield from known
    for number in range(COUNT - len(known)):
        chance = hashlib.sha256(str(number).encode()).digest()
        yield str(ipaddress.ip_address(chance[: 4 if number % 10 else 16]))


def digest(chosen: list[str]) -> dict[str, object]:
    """Return what is written down of 10,000 choices."""
    whole = hashlib.sha256("\n".join(chosen).encode()).hexdigest()
    return {"sha256": whole, "shares": dict(sorted(Counter(chosen).items()))}


def _server_of(balancer: Balancer, address: str) -> str:
    client = Client(address, ipaddress.ip_address(address).packed, 80)
    placement = balancer.route(client, 0.0)
    balancer.release(placement, 0.0)
    assert placement.server is not None
    return placement.server.name


if __name__ == "__main__":
    main()
