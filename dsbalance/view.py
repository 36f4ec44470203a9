"""What a page of statistics is made of, as frozen values. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dsbalance.history import History
from dsbalance.page_parts import Clock
from dsbalance.stats import Snapshot


class Remembered(NamedTuple):
    """The entry of a client in a stick table.

    Attributes:
        table: Its name.
        server: Whom the entry names.
        remaining: Seconds until it lapses; None: it does not.
        uses: Sessions that use it now.
    """

    table: str
    server: str
    remaining: float | None
    uses: int


class Explained(NamedTuple):
    """What would decide now where a client goes.

    Attributes:
        backends: In which it is so.
        steps: In sentences.
    """

    backends: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of a client.

    Attributes:
        client: As it was written.
        problem: Why it could not be looked for; empty: it was.
        entries: Where it is remembered.
        explained: Where it would go.
    """

    client: str
    problem: str = ""
    entries: tuple[Remembered, ...] = ()
    explained: tuple[Explained, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one page is made of.

    Attributes:
        uri: Where the page is.
        words: What stands behind the uri for this view.
        snapshot: What there is to show, without what is not to be shown.
        history: Where the curves come from.
        clock: What time it is.
        node: The machine's name; empty: it is not told.
        description: What the proxy is for; empty: it is not told.
        version: Empty: it is not told.
        shows_legends: Whether addresses and the like are shown.
        is_admin: Whether there are buttons.
        refresh: After so many seconds the page is loaded anew where there is no script; None:
            never.
        stays: Whether it stays as it is, script or not.
        scope: What the names of the sections here have in them; empty: all are here.
        outcome: What became of a form, one of HAProxy's codes; empty: there was none.
        finding: Of a client that was looked for; None: none was.
    """

    uri: str
    snapshot: Snapshot
    history: History
    clock: Clock
    words: str = ""
    node: str = ""
    description: str = ""
    version: str = ""
    shows_legends: bool = False
    is_admin: bool = False
    refresh: float | None = None
    stays: bool = False
    scope: str = ""
    outcome: str = ""
    finding: Finding | None = None
