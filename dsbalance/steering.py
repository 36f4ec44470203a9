"""What an operator may see and do while a proxy is at work, whoever asks for him. No I/O.

The runtime API, the dashboard and the methods of ``Proxy`` all go through this; the engine is it.
Everything here is for the loop's thread. Nothing waits, and what is returned is frozen or is the
caller's own.

A method that is given a name raises :class:`dsbalance.errors.ConfigError` when nothing has it, in
our own words; who has to say it in HAProxy's looks into the snapshot first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from dsbalance.balancer import AdminState, Health
from dsbalance.stats import SessionSnapshot, Snapshot
from dsbalance.sticky import Entry


class Steering(Protocol):
    """A proxy at work, as its operators know it. A ``path`` is ``backend/server``."""

    # -- what there is

    def snapshot(self) -> Snapshot:
        """Return what there is to know now. Within a turn of the loop it is the same object."""

    def sessions(self) -> list[SessionSnapshot]:
        """Return the clients' connections. O(sessions)."""

    def entries(self, table: str) -> Iterator[Entry]:
        """Return what is in a stick table, in the order of the keys as far as that costs nothing.

        It may be read over many turns of the loop: who comes or goes meanwhile may be there or not.
        """

    def find_entry(self, table: str, key: bytes) -> Entry | None:
        """Return one entry of a stick table, and do not touch it."""

    # -- servers

    def set_admin(self, path: str, admin: AdminState) -> None:
        """Make a server ready, drain it, or take it into maintenance."""

    def set_health(self, path: str, health: Health) -> None:
        """Take a server to be up, stopping or down until its checks say otherwise."""

    def set_weight(self, path: str, weight: int) -> None:
        """Give a server another weight, 0 to 256."""

    def set_server_maxconn(self, path: str, maxconn: int | None) -> None:
        """Give a server another limit of sessions; None: none. Who waits is let in by it."""

    def set_address(self, path: str, host: str | None, port: int | None) -> None:
        """Send the next connections elsewhere: to this IP address, this port; None: as before.

        Checks that have no address of their own go there too.
        """

    def set_check_port(self, path: str, port: int) -> None:
        """Let the checks of a server go to this port."""

    def set_checks(self, path: str, *, is_on: bool) -> None:
        """Stop or resume the checks of a server; its state stays what it is."""

    # -- sessions

    def shutdown_session(self, number: int) -> bool:
        """End one session, which :attr:`SessionSnapshot.id` names; False: it has gone."""

    def shutdown_sessions(self, path: str) -> int:
        """End the sessions that a server has; return how many."""

    # -- frontends

    def set_frontend(self, name: str, *, is_open: bool) -> bool:
        """Let a frontend accept clients, or not; False: it was so already."""

    def shutdown_frontend(self, name: str) -> None:
        """Close the ports of a frontend for good; its sessions go on."""

    def set_frontend_maxconn(self, name: str, maxconn: int | None) -> None:
        """Give a frontend another limit of sessions; None: none."""

    def set_maxconn(self, maxconn: int | None) -> None:
        """Give the process another limit of sessions; None: what it began with."""

    # -- counts and tables

    def clear_counters(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""

    def set_entry(self, table: str, key: bytes, server: str | None) -> None:
        """Write an entry of a stick table, or touch it; None: the server it has."""

    def clear_entries(self, table: str, keys: Iterable[bytes]) -> int:
        """Remove entries that no session holds; return how many were held and stay."""
