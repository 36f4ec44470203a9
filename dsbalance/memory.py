"""The ``stick`` rules of a backend: who remembers a client, and who is to be remembered. No I/O.

    a session            each table that a rule matches     each table that a rule stores into
    comes                is asked; its entry's TTL begins   -
    is connected         holds the entry that there is      gets the server, and holds that entry
    ends                 releases it: its TTL begins        releases it: its TTL begins

What an entry says is the server's name, or its address (``srvkey addr``). Backends with other names
may share a table: a name that one of them does not know is looked up by the id that the server has
where it was stored.

An entry holds as long as its server is running, whatever its weight; with ``option persist`` even
when it is not. A server with ``non-stick`` is never stored.

Source: the HAProxy 2.6 manual, ``stick match``, ``stick-table`` and ``option persist``; the order
of name and id was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dsbalance.candidates import Client
from dsbalance.errors import ConfigError, Problem
from dsbalance.model import Backend, Server, StickAction
from dsbalance.placement import Placement, ServerState
from dsbalance.sticky import StickTable
from dsbalance.words import SrvKey


class Found(NamedTuple):
    """What an entry of a client says.

    Attributes:
        says: The server's name or address, as it was stored.
        state: The server; None: it is none of this backend.
        is_kept: Whether the client goes there.
    """

    says: str
    state: ServerState | None
    is_kept: bool


class Memory:
    """The rules of one backend, on the tables that they name. For the loop's thread alone.

    A second rule for a table adds nothing: it would match the same entry, or store the same server.
    """

    __slots__ = ("_by_id", "_by_key", "_held", "_is_lasting", "_is_plain", "_matched")

    def __init__(self, backend: Backend, tables: Mapping[str, StickTable]) -> None:
        """Find the tables.

        Raises:
            ConfigError: A rule names one that is not there.
        """
        matched: dict[StickTable, None] = {}
        held: dict[StickTable, bool] = {}
        for rule in backend.stick:
            name = backend.name if rule.table is None else rule.table
            if name not in tables:
                message = f"stick: {name!r} has no stick-table"
                raise ConfigError(Problem(message, subject=f"backend {backend.name}"))
            table = tables[name]
            if rule.action is not StickAction.STORE_REQUEST:
                matched[table] = None
            held[table] = held.get(table, False) or rule.action is not StickAction.MATCH
        self._by_id: dict[int, ServerState] = {}
        self._by_key: dict[SrvKey, dict[str, ServerState]] = {srvkey: {} for srvkey in SrvKey}
        self._matched = tuple((table, self._by_key[table.srvkey]) for table in matched)
        self._held = tuple(held.items())
        self._is_lasting = backend.persist
        # The usual case: one table, that is looked up and stored into, by the servers' names.
        self._is_plain = (
            held == dict.fromkeys(matched, True)
            and [table.srvkey for table in held] == [SrvKey.NAME]
            and not backend.persist
        )

    def register(self, states: Iterable[ServerState]) -> None:
        """Know servers that have come, and let the backends that share a table know their ids."""
        for state in states:
            self._by_id[state.id] = state
            for srvkey, found in self._by_key.items():
                # Of servers with one address HAProxy finds the first.
                found.setdefault(_key(state.server, srvkey), state)
            for table, is_stored in self._held:
                if is_stored:
                    table.ids[_key(state.server, table.srvkey)] = state.id

    def forget(self, state: ServerState) -> None:
        """Know a server no more that was removed."""
        del self._by_id[state.id]
        for found in self._by_key.values():
            for key in [key for key, known in found.items() if known is state]:
                del found[key]

    def look_up(self, client: Client, now: float) -> Iterator[Found]:
        """Yield what the entries of a client say, in the order of the rules. Changes nothing."""
        for table, servers in self._matched:
            key = table.normalise(client.packed)
            says = None if key is None else table.peek(key, now)
            if says is not None:
                state = servers.get(says) or self._by_id.get(table.ids.get(says, 0))
                is_kept = state is not None and (state.is_running or self._is_lasting)
                yield Found(says, state, is_kept)

    def recall(self, client: Client, now: float) -> ServerState | None:
        """Return the server of the first entry whose server may take the client; None: decide."""
        packed = client.packed
        for table, servers in self._matched:
            key = packed if len(packed) == 4 else table.normalise(packed)
            name = None if key is None else table.match(key, now)
            if name is None:
                continue
            state = servers.get(name) or self._by_id.get(table.ids.get(name, 0))
            if state is not None and (state.is_running or self._is_lasting):
                return state
        return None

    def sends_back(self, placement: Placement, state: ServerState, now: float) -> bool:
        """Return whether the entries that a placement holds send its client where it was.

        Args:
            placement: It was connected to ``state``, and still holds its entries.
            state: Its server.
            now: Monotonic seconds.
        """
        held = placement.held
        if self._is_plain and held:
            table, key = held[0]
            return state.is_running and table.peek(key, now) == state.name
        is_same = self.recall(placement.client, now) is state
        return is_same and len(held) >= len(self._held)

    def keep(self, placement: Placement, now: float) -> None:
        """Store where a session went, and hold its entries until it is released."""
        packed = placement.client.packed
        assert placement.server is not None
        server = placement.server.server
        for table, is_stored in self._held:
            key = packed if len(packed) == 4 else table.normalise(packed)
            if key is None:
                continue
            is_written = is_stored and not server.non_stick
            name = _key(server, table.srvkey) if is_written else table.peek(key, now)
            if name is not None and table.keep(key, name, now):
                placement.held += ((table, key),)

    def count(self, name: str) -> int:
        """Return how many entries name a server, in the first table that is stored into."""
        for table, is_stored in self._held:
            if is_stored:
                if table.srvkey is SrvKey.NAME:
                    return table.count(name)
                keys = self._by_key[SrvKey.ADDR].items()
                return sum(table.count(key) for key, state in keys if state.name == name)
        return 0


_NAME = SrvKey.NAME


def _key(server: Server, srvkey: SrvKey) -> str:
    """Return what a server is called in a table."""
    return server.name if srvkey is _NAME else f"{server.host}:{server.port or '+0'}"
