"""Claim: the ring finds, is built and forgets a server better than uhashring, and never errs.

Look-ups: at least 1.3 x uhashring's with 3 servers and 1.5 x with 100. Building: at most half its
time. Keys that move without need, with the order of the servers or with the hash seed, and errors
while threads look up and another one changes the ring: exactly 0.

Unit: one look-up of 100,000 keys that are all different; one ring. The look-up is the method of the
package itself, called in a plain loop. Every ring has as many points for a server as uhashring's
160, where that can be chosen, which for us is a weight of 10; the rows with 16 points are the ring
as HAProxy and we make it for a weight of 1.

What must not happen, of 20,000 keys and 10 servers of weights 1 to 10:

key             value
moved_percent   keys that moved though their server is still there, when the heaviest was removed
order_percent   keys that have another owner when the servers are given in the opposite order
seed_percent    keys that have another owner under another PYTHONHASHSEED
errors          exceptions in three threads that look up, while a fourth takes a server off and puts
                it back, 20 times, with switches of threads as often as they can be had
wrong_owners    answers in those threads that are neither the owner before nor the one after

Rivals that were tried and do not work on Python 3.11: hash-ring, consistenthashing (Python 2),
consistent-hash (an import of Python 2; consistent-hash-git is the same with that put right),
pyketama, python-continuum, hash-ring-rs (cannot be built), fastring (wants 3.13); left out as well:
py-consistent-hash (logs each key, and has one point for a server), redis-hashring (needs Redis).

Command: ``.venv/bin/python benchmarks/ring.py``
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from contest import Bars, Contest, Figures, options, sort_out
from rig import Meter

from dsbalance import HashRing
from dsbalance.hashring import avalanche, source_hash

Weights = dict[str, int]

POINTS_PER_WEIGHT = 16  # as HAProxy
BARS = {3: 1.3, 100: 1.5}  # servers -> our look-ups as a multiple of uhashring's
OURS = ("dsbalance", "dsbalance, packed")
MUST_NOT = ("moved_percent", "order_percent", "seed_percent", "errors", "wrong_owners")


# --- the rings -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ring:
    """A package's ring, and how it is used.

    Attributes:
        name: What it is called in the results.
        package: Where it is installed from.
        module: What has to be there.
        make: Makes a ring of servers with weights.
        lookup: Takes the look-up out of a ring: the package's own method, so it costs nothing more.
        owner: Takes the server out of what a look-up gives.
        add: Puts a server on a ring; None: it cannot be changed, so its user makes another one.
        remove: Takes a server off, likewise.
        keys: What it looks up: ``text``, ``ints`` or ``packed``.
        takes_ints: Whether it looks up integers too.
        share: One key in so many is enough, where a look-up asks every server.
    """

    name: str
    package: str
    module: str
    make: Callable[[Weights], Any]
    lookup: Callable[[Any], Callable[[Any], Any]]
    owner: Callable[[Any], object] = str
    add: Callable[[Any, str, int], object] | None = None
    remove: Callable[[Any, str], object] | None = None
    keys: str = "text"
    takes_ints: bool = False
    share: int = 1

    def owners(self, weights: Weights, keys: Iterable[object]) -> list[object]:
        """Return whose each key is."""
        return self.owners_in(self.make(weights), keys)

    def owners_in(self, ring: object, keys: Iterable[object]) -> list[object]:
        """Return whose each key is in a ring that was made before."""
        lookup = self.lookup(ring)
        return [self.owner(lookup(key)) for key in keys]

    def without(self, ring: Any, weights: Weights, server: str) -> object:
        """Return the ring of these weights as its user has it when a server is lost."""
        if self.remove is None:
            return self.make({name: w for name, w in weights.items() if name != server})
        self.remove(ring, server)
        return ring


def balance_source(ring: HashRing[str]) -> Callable[[bytes], str | None]:
    """Return the look-up of an address as it comes from a socket, as ``balance source`` does it."""
    find = ring.lookup_hash

    def lookup(packed: bytes) -> str | None:
        return find(avalanche(source_hash(packed)))

    return lookup


def ours(points: int) -> dict[str, Any]:
    """Return what our rings have in common: the points of a server for each unit of weight."""
    factor = points // POINTS_PER_WEIGHT
    return {
        "package": "dsbalance",
        "module": "dsbalance",
        "make": lambda weights: HashRing({name: factor * w for name, w in weights.items()}),
        "add": lambda ring, server, weight: ring.add(server, factor * weight),
        "remove": lambda ring, server: ring.remove(server),
    }


def uhashring(**words: str) -> dict[str, Any]:
    return {
        "package": "uhashring",
        "module": "uhashring",
        "make": lambda weights: import_module("uhashring").HashRing(dict(weights), **words),
        "lookup": attrgetter("get_node"),
        "add": lambda ring, server, weight: ring.add_node(server, {"weight": weight}),
        "remove": lambda ring, server: ring.remove_node(server),
        "takes_ints": True,
    }


def ketama(folder: Path) -> Callable[[Weights], Any]:
    """Return what makes a ring of libketama, which reads a file and tells rings apart by it."""
    number = itertools.count()

    def make(weights: Weights) -> object:
        path = folder / f"servers-{next(number)}"
        lines = [f"{name}\t{100 * weight}\n" for name, weight in weights.items()]
        path.write_text("".join(lines), encoding="ascii")
        return import_module("ketama").Ketama(str(path))

    return make


def all_rings(folder: Path) -> tuple[Ring, ...]:
    """Return every ring; ``folder`` is for files that a ring may want to read."""
    get_node = attrgetter("get_node")
    lookup = attrgetter("lookup")
    return (
        Ring(name="dsbalance", lookup=lookup, takes_ints=True, **ours(160)),
        Ring(name="dsbalance, packed", lookup=balance_source, keys="packed", **ours(160)),
        Ring(name="dsbalance, 16 points", lookup=lookup, takes_ints=True, **ours(16)),
        Ring(name="uhashring", **uhashring()),
        Ring(name="uhashring, ketama", **uhashring(hash_fn="ketama")),
        Ring(
            name="hashring",
            package="hashring",
            module="hashring",
            make=lambda weights: import_module("hashring").HashRing(list(weights), weights),
            lookup=get_node,
        ),
        Ring(
            name="consistent-hash-git",
            package="consistent-hash-git",
            module="consistent_hash.consistent_hash",
            make=lambda weights: import_module("consistent_hash.consistent_hash").ConsistentHash(
                dict(weights)
            ),
            lookup=get_node,
            add=lambda ring, server, weight: ring.add_nodes({server: weight}),
            remove=lambda ring, server: ring.del_nodes([server]),
        ),
        Ring(
            name="ketama (C)",
            package="ketama",
            module="ketama",
            make=ketama(folder),
            lookup=attrgetter("get_server"),
            owner=itemgetter(1),
        ),
        # Rendezvous hashing: no points and no weights, and each look-up asks every server.
        Ring(
            name="clandestined",
            package="clandestined",
            module="clandestined",
            make=lambda weights: import_module("clandestined").RendezvousHash(list(weights)),
            lookup=attrgetter("find_node"),
            add=lambda ring, server, weight: ring.add_node(server),
            remove=lambda ring, server: ring.remove_node(server),
            takes_ints=True,
            share=20,
        ),
    )


# --- how fast ------------------------------------------------------------------------------------


def even(count: int) -> Weights:
    return {f"server-{number}": 1 for number in range(count)}


def clients(kind: str, count: int) -> list[Any]:
    """Return the keys of so many clients of 10.0.0.0/8: as ``text``, ``ints`` or ``packed``."""
    numbers = random.Random(1).sample(range(10 << 24, 11 << 24), count)
    if kind == "ints":
        return numbers
    packed = [number.to_bytes(4, "big") for number in numbers]
    return packed if kind == "packed" else [".".join(map(str, each)) for each in packed]


def look_up(ring: Ring, servers: int, kinds: dict[str, list[Any]]) -> Figures:
    lookup = ring.lookup(ring.make(even(servers)))
    keys = kinds[ring.keys][:: ring.share]
    with Meter() as meter:
        for key in keys:
            lookup(key)
    return meter.sample(len(keys)).metrics


def build(ring: Ring, servers: int) -> Figures:
    weights = even(servers)
    times = 1 + 100 // servers
    with Meter() as meter:
        for _ in range(times):
            ring.make(weights)
    return meter.sample(times).metrics


def compare_speed(rings: list[Ring], absent: dict[str, str], args: Namespace) -> None:
    keys = {kind: clients(kind, args.count) for kind in ("text", "packed", "ints")}
    numbered = [ring for ring in rings if ring.takes_ints]
    takes_none = {
        ring.name: "it takes no integers"
        for ring in rings
        if ring.keys == "text" and not ring.takes_ints
    }
    built = [ring for ring in rings if ring.keys == "text"]
    for n, least in BARS.items():
        faster: dict[str, Bars] = {name: {"relative": (least, None)} for name in OURS}
        contest = Contest(
            f"ring look-ups, {n} servers", "look-up", "uhashring", bars=faster, absent=absent
        )
        contest.run(rings, args.rounds, partial(look_up, servers=n, kinds=keys))
        contest = Contest(
            f"ring look-ups of integers, {n} servers",
            "look-up",
            "uhashring",
            bars=faster,
            absent=absent | takes_none,
        )
        integers = dict.fromkeys(keys, keys["ints"])
        contest.run(numbered, args.rounds, partial(look_up, servers=n, kinds=integers))
        half: dict[str, Bars] = {"dsbalance": {"relative_cpu": (None, 0.5)}}
        contest = Contest(
            f"building a ring of {n} servers", "ring", "uhashring", bars=half, absent=absent
        )
        contest.run(built, args.rounds, partial(build, servers=n))


# --- what must not happen ------------------------------------------------------------------------

UNEVEN = {f"server-{number}": number for number in range(1, 11)}
BACKWARDS = dict(reversed(UNEVEN.items()))
HEAVIEST = "server-10"


def percent(parts: Iterable[bool]) -> float:
    marks = list(parts)
    return 100 * sum(marks) / len(marks)


def differing(before: list[object], after: list[object]) -> float:
    return percent(a != b for a, b in zip(before, after, strict=True))


def collateral(ring: Ring, keys: list[Any]) -> float:
    made = ring.make(UNEVEN)
    before = ring.owners_in(made, keys)
    after = ring.owners_in(ring.without(made, UNEVEN, HEAVIEST), keys)
    return percent(was not in (HEAVIEST, now) for was, now in zip(before, after, strict=True))


def under_seed(ring: Ring, seed: int, count: int) -> list[object]:
    """Return the owners that a process with another hash seed sees."""
    command = [sys.executable, __file__, "--child", ring.name, "--count", str(count)]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


class Churn:
    """A ring that changes while threads look up."""

    def __init__(self, ring: Ring, keys: list[Any]) -> None:
        self._ring = ring
        self._made = ring.make(UNEVEN)
        rest = {name: weight for name, weight in UNEVEN.items() if name != HEAVIEST}
        found = zip(ring.owners(UNEVEN, keys), ring.owners(rest, keys), strict=True)
        self._right = dict(zip(keys, map(set, found), strict=True))
        self._is_over = threading.Event()
        self._found: list[tuple[int, int]] = []

    def run(self, changes: int) -> tuple[int, int]:
        """Take a server off and put it back so many times, beside three threads that look up.

        Returns:
            How many look-ups raised something, and how many gave somebody who never owned the key.
        """
        ring = self._ring
        assert ring.add is not None
        assert ring.remove is not None
        threads = [threading.Thread(target=self._look_up) for _ in range(3)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for _ in range(changes):
                ring.remove(self._made, HEAVIEST)
                ring.add(self._made, HEAVIEST, UNEVEN[HEAVIEST])
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()
            sys.setswitchinterval(interval)
        errors, wrong = zip(*self._found, strict=True)
        return sum(errors), sum(wrong)

    def _look_up(self) -> None:
        owner, lookup = self._ring.owner, self._ring.lookup(self._made)
        errors = wrong = 0
        while not self._is_over.is_set():
            for key, right in self._right.items():
                try:
                    wrong += owner(lookup(key)) not in right
                except Exception:  # noqa: BLE001 -- whatever it is, it is counted
                    errors += 1
        self._found.append((errors, wrong))


def err(ring: Ring, count: int) -> Figures:
    """Return how often a ring does what it must not."""
    keys = clients(ring.keys, count // 5)
    figures = {
        "moved_percent": collateral(ring, keys),
        "order_percent": differing(ring.owners(UNEVEN, keys), ring.owners(BACKWARDS, keys)),
        "seed_percent": differing(*(under_seed(ring, seed, len(keys)) for seed in (1, 2))),
    }
    if ring.remove is not None:
        errors, wrong = Churn(ring, keys[:1000]).run(changes=max(1, count // 5000))
        figures |= {"errors": errors, "wrong_owners": wrong}
    return figures


def main() -> None:
    args = options(__doc__, rounds=5, count=100_000, small=1000)
    with tempfile.TemporaryDirectory(prefix="dsbalance-") as folder:
        rings = all_rings(Path(folder))
        if args.child:
            (ring,) = (ring for ring in rings if ring.name == args.child)
            print(json.dumps(ring.owners(UNEVEN, clients(ring.keys, args.count))))
            return
        present, absent = sort_out(rings, args.rivals)
        compare_speed(present, absent, args)
        bars = {name: dict.fromkeys(MUST_NOT, (0.0, 0.0)) for name in OURS}
        contest = Contest("ring: what must not happen", "", bars=bars, absent=absent)
        contest.run(present, 1, partial(err, count=args.count))


if __name__ == "__main__":
    main()
