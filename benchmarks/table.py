"""Claim: a million clients in the table stall no call, and a look-up costs half of cachetools'.

Refreshing look-ups: at least 2 x cachetools'. Memory: at most 200 bytes an entry. The longest call,
in CPU time: below 1 ms, while the table grows, when it is full, and after all has expired at once.

Unit: one look-up of a known client that starts its time again; where a package has none, a look-up
and a store. Each rival has a process of its own in each round, with the garbage collector as it
comes. In it:

key             value
bytes           by how much the process's own memory grows for an entry, key and all; from /proc,
                because what is written in Rust does not tell tracemalloc
rate and CPU    200,000 look-ups of clients at random, with one reading of the clock for each
grow_ms         the longest of the stores that fill the table
full_ms         the longest of 50,000 stores of new clients in the full table
expired_ms      the longest of 50,000 look-ups and stores, after all has expired at once
grow_cpu_ms...  the same as CPU time of the thread, which a busy machine does not lengthen

The clock of a package is moved by its own parameter or by replacing what it reads. Where it cannot
be, in those with a core in Rust, another table is filled and the calls go on while it expires; what
theine does in a thread of its own is in the wall time of the calls that wait for it, not in their
CPU time.

Left out: lru-ttl (drops an entry at each store in a full table, known or new), expiring-dict (has
no bound), cacheing (one time to live for each second's entries), ttlru (a decorator alone).

Command: ``.venv/bin/python benchmarks/table.py``
"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from contest import Bars, Contest, Figures, options, sort_out
from rig import Meter, memory

from dsbalance import StickTable

TTL = 3600.0
SERVER = "primary-1"
# Odd, so that multiplying by it modulo 2^32 gives each number once, in no order.
STEP = 0x9E3779B1


def clients(first: int, count: int) -> Iterator[bytes]:
    """Yield so many packed addresses, new objects each time, as accept() gives them."""
    for number in range(first, first + count):
        yield (number * STEP & 0xFFFF_FFFF).to_bytes(4, "big")


# --- the tables ----------------------------------------------------------------------------------

Store = Callable[[bytes], object]


class Filling(NamedTuple):
    """What fills a table, and more seconds than that takes."""

    fill: Callable[[Store], None]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of one size.

    Attributes:
        store: Stores a client.
        touch: Looks a client up, starts its time again and returns its server or None.
        touch_all: Does so for many, in a loop of its own, so that no call is added to its cost.
        lapse: Returns the same or another full table where all has expired or is about to. It is
            given what fills a table.
        seconds: For how long calls have to go on until all has expired.
    """

    store: Store
    touch: Store
    touch_all: Callable[[list[bytes]], None]
    lapse: Callable[[Filling], Table]
    seconds: float = 0.0


def later(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that is far enough ahead for everything to have expired."""
    return lambda: clock() + 2 * TTL


def dsbalance(size: int) -> Table:
    table = StickTable(size=size, ttl=TTL)

    def seen_at(clock: Callable[[], float]) -> Table:
        def store(key: bytes) -> None:
            table.store(key, SERVER, clock())

        def touch(key: bytes) -> str | None:
            return table.match(key, clock())

        def touch_all(keys: list[bytes]) -> None:
            match = table.match
            for key in keys:
                match(key, clock())

        def lapse(_filling: Filling) -> Table:
            return seen_at(later(clock))

        return Table(store=store, touch=touch, touch_all=touch_all, lapse=lapse)

    return seen_at(time.monotonic)


def mapping(table: Any, lapse: Callable[[Filling], Table | None]) -> Table:
    """Return a table of what is used like a dict, where a store is what starts the time again.

    ``lapse`` returns None if it is the same table that has expired.
    """

    def store(key: bytes) -> None:
        table[key] = SERVER

    def touch(key: bytes) -> object:
        try:
            table[key] = server = table[key]
        except KeyError:
            return None
        return server

    def touch_all(keys: list[bytes]) -> None:
        for key in keys:
            table[key] = table[key]

    def expire(filling: Filling) -> Table:
        return lapse(filling) or it

    it = Table(store=store, touch=touch, touch_all=touch_all, lapse=expire)
    return it


def cachetools(size: int) -> Table:
    table = import_module("cachetools").TTLCache(size, TTL)

    def lapse(_filling: Filling) -> None:
        # Its parameter `timer` would put a function of Python into every call before.
        vars(table.timer)["_Timer__timer"] = later(time.monotonic)

    return mapping(table, lapse)


def expiringdict(size: int) -> Table:
    module = import_module("expiringdict")
    return mapping(module.ExpiringDict(size, TTL), lambda _: move_time(module))


def ttlru_map(size: int) -> Table:
    module = import_module("ttlru_map._ttl_map")
    table = module.TTLMap(ttl=timedelta(seconds=TTL), max_size=size, update_ttl_on_get=True)

    def touch_all(keys: list[bytes]) -> None:
        for key in keys:
            table[key]

    plain = mapping(table, lambda _: move_time(module))
    return replace(plain, touch=table.get, touch_all=touch_all)


def move_time(module: ModuleType) -> None:
    """Let what a module knows as ``time.time`` be later."""
    vars(module)["time"] = SimpleNamespace(time=later(time.time))


def cachebox(size: int) -> Table:
    make = import_module("cachebox").TTLCache

    def lapse(filling: Filling) -> Table:
        table = make(size, filling.seconds)
        lapsed = mapping(table, lapse)
        filling.fill(lapsed.store)
        if len(table) < size:
            raise ValueError("filling took so long that part of it has expired")
        time.sleep(filling.seconds)
        return lapsed

    return mapping(make(size, TTL), lapse)


def theine(size: int) -> Table:
    make = import_module("theine").Cache
    ttl = timedelta(seconds=TTL)

    def around(table: Any) -> Table:
        def store(key: bytes) -> None:
            table.set(key, SERVER, ttl)

        def touch(key: bytes) -> object:
            value, is_known = table.get(key)
            if is_known:
                table.set(key, value, ttl)
            return value

        def touch_all(keys: list[bytes]) -> None:
            for key in keys:
                value, _ = table.get(key)
                table.set(key, value, ttl)

        def lapse(filling: Filling) -> Table:
            fresh = make(size)
            end = time.monotonic() + 1.0 + filling.seconds

            def store_until_end(key: bytes) -> None:
                fresh.set(key, SERVER, timedelta(seconds=end - time.monotonic()))

            filling.fill(store_until_end)
            time.sleep(max(0.0, end - 0.2 - time.monotonic()))
            # Its thread looks twice a second.
            return replace(around(fresh), seconds=1.5)

        return Table(store=store, touch=touch, touch_all=touch_all, lapse=lapse)

    return around(make(size))


@dataclass(frozen=True)
class Rival:
    """A package with a table."""

    name: str
    package: str
    module: str
    make: Callable[[int], Table]


RIVALS = (
    Rival("dsbalance", "dsbalance", "dsbalance", dsbalance),
    Rival("cachetools", "cachetools", "cachetools", cachetools),
    Rival("ttlru-map", "ttlru-map", "ttlru_map", ttlru_map),
    Rival("expiringdict", "expiringdict", "expiringdict", expiringdict),
    Rival("theine (Rust)", "theine", "theine", theine),
    Rival("cachebox (Rust)", "cachebox", "cachebox", cachebox),
)


# --- what is measured ----------------------------------------------------------------------------


class Longest:
    """The longest of many calls: on the wall's clock, and in CPU time of this thread."""

    def __init__(self) -> None:
        self._wall_ns = self._cpu_ns = 0

    def time(self, call: Store, keys: Iterable[bytes]) -> None:
        """Make a call with each key."""
        wall, cpu = self._wall_ns, self._cpu_ns
        clock, spent = time.perf_counter_ns, time.thread_time_ns
        for key in keys:
            began, before = clock(), spent()
            call(key)
            after, ended = spent(), clock()
            wall = max(wall, ended - began)
            cpu = max(cpu, after - before)
        self._wall_ns, self._cpu_ns = wall, cpu

    def figures(self, name: str) -> dict[str, float]:
        """Return both in milliseconds."""
        return {f"{name}_ms": self._wall_ns / 1e6, f"{name}_cpu_ms": self._cpu_ns / 1e6}


def figures_here(rival: Rival, size: int) -> dict[str, float]:
    """Return the figures of one round, which has this process to itself."""
    table = rival.make(size)
    calls = size // 20
    grow, full, expired = Longest(), Longest(), Longest()
    gc.collect()
    before, began = memory(os.getpid()), time.monotonic()
    grow.time(table.store, clients(0, size))
    seconds, grown = time.monotonic() - began, memory(os.getpid()) - before

    chance = random.Random(1)
    keys = [next(clients(chance.randrange(size), 1)) for _ in range(4 * calls)]
    with Meter() as meter:
        table.touch_all(keys)
    untouched = set(keys[:100])
    if not all(map(table.touch, untouched)):
        raise ValueError("it has lost clients")
    full.time(table.store, clients(size, calls))

    def fill(store: Store) -> None:
        for key in clients(0, size):
            store(key)

    table = table.lapse(Filling(fill, 0.2 + 1.2 * seconds))
    end = time.monotonic() + table.seconds
    # A touch that comes too early would keep one alive.
    known = cycle([key for key in keys if key not in untouched])
    new = clients(2 * size, 1 << 31)
    done = 0
    while done < calls or time.monotonic() < end:
        expired.time(table.touch, islice(known, 50))
        expired.time(table.store, islice(new, 50))
        done += 100
    if any(map(table.touch, untouched)):
        raise ValueError("not everybody has expired")
    longest = grow.figures("grow") | full.figures("full") | expired.figures("expired")
    return {**meter.sample(len(keys)).metrics, "bytes": grown / size, **longest}


def measure(rival: Rival, size: int) -> Figures:
    """Return the figures of one round from a process of its own."""
    command = [sys.executable, __file__, "--child", rival.name, "--count", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().rpartition("\n")[2])
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    args = options(__doc__, rounds=3, count=1_000_000, small=10_000)
    if args.child:
        (rival,) = (rival for rival in RIVALS if rival.name == args.child)
        print(json.dumps(figures_here(rival, args.count)), flush=True)
        # A million entries need not be taken apart one by one.
        os._exit(0)
    present, absent = sort_out(RIVALS, args.rivals)
    bars: Bars = {
        "relative": (2.0, None),
        "bytes": (None, 200.0),
        "grow_cpu_ms": (None, 1.0),
        "full_cpu_ms": (None, 1.0),
        "expired_cpu_ms": (None, 1.0),
    }
    claim = f"table of {args.count:,} clients"
    contest = Contest(
        claim, "refreshing look-up", "cachetools", bars={"dsbalance": bars}, absent=absent
    )
    contest.run(present, args.rounds, partial(measure, size=args.count))


if __name__ == "__main__":
    main()
