"""The page of statistics: what is in trouble, then each section, then who is remembered. No I/O.

    made of a View         for
    Page.html              a browser
    Page.live              the script of the page: what has changed since
    question               a browser, before something is changed

Names, reasons and what was looked for come from outside: each is escaped where it is written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import replace
from html import escape
from typing import NamedTuple

from dsbalance.page_parts import Mark, mark_of, number, state_words
from dsbalance.page_summary import (
    all_well,
    troubles,
    write_finding,
    write_head,
    write_summary,
)
from dsbalance.page_tables import ACTIONS, write_sections, write_tables
from dsbalance.sheet import Sheet
from dsbalance.stats import ServerSnapshot, Snapshot
from dsbalance.view import View

# What stands in a browser's tab: a shape and a colour, as in the page.
_DISC = ("1a7f5a", "M8 1a7 7 0 1 0 .1 0z")
_CROSS = ("c2260e", "M4 1l4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4-4-4z")
_TRIANGLE = ("b45309", "M8 1l7 13H1z")


class Dress(NamedTuple):
    """The style and the script of a page, as they stand in it."""

    style: str
    script: str


class Page:
    """A page as it is at one moment.

    Args:
        view: What it is made of.

    Attributes:
        title: Of the window: the worst trouble, or that there is none.
        icon: Of the window, as an address.
    """

    __slots__ = ("_sheet", "_view", "icon", "title")

    def __init__(self, view: View) -> None:
        self._view = view
        self._sheet = sheet = Sheet()
        found = troubles(view.snapshot, view.clock)
        said = f"{found[0].subject} {found[0].words}" if found else all_well(view.snapshot)
        self.title = f"{said} \u2013 {view.node or 'dsbalance'}"
        self.icon = _icon(found[0].mark if found else Mark.UP)
        write_head(sheet, view)
        sheet.put("<main>")
        write_summary(sheet, view, found)
        if view.finding is not None:
            write_finding(sheet, view.finding)
        write_sections(sheet, view)
        write_tables(sheet, view)
        sheet.put("</main>")

    def html(self, dress: Dress) -> bytes:
        """Return the whole document."""
        view = self._view
        anew, live = "", ""
        if not view.stays:
            if view.refresh is not None:
                field = f'<meta http-equiv="refresh" content="{view.refresh:g}">'
                anew = f"<noscript>{field}</noscript>"
            live = f' data-live="{escape(f"{view.uri};live{view.words}")}"'
        body = f'<body data-shape="{self.shape()}"{live}>{self._sheet.html()}'
        return _document(self.title, self.icon, anew, body, dress)

    def live(self) -> bytes:
        """Return what changes, as JSON: the values of the holes, in their order."""
        told = {
            "shape": self.shape(),
            "title": self.title,
            "icon": self.icon,
            "values": self._sheet.values,
        }
        return json.dumps(told, separators=(",", ":")).encode()

    def shape(self) -> str:
        """Return what is the same for two pages that differ in their holes alone."""
        return f"{zlib.crc32(chr(0).join(self._sheet.around()).encode(*_LENIENT)):08x}"


def question(view: View, action: str, path: str, token: str, dress: Dress) -> bytes | None:
    """Return the page that asks whether something shall be done.

    Args:
        view: What the page is made of that it was asked for on.
        action: One of :data:`dsbalance.page_tables.ACTIONS`.
        path: Whom it concerns, as ``backend/server``.
        token: What the form proves itself with.
        dress: Of the page.

    Returns:
        None if there is no such action, or no such server.
    """
    name, _, wanted = path.partition("/")
    backend = next((each for each in view.snapshot.backends if each.name == name), None)
    servers = () if backend is None else backend.servers
    server = next((each for each in servers if each.name == wanted), None)
    if backend is None or server is None or action not in ACTIONS:
        return None
    others = backend.active + backend.backups - server.is_usable
    said = "".join(f"<p>{escape(each)}</p>" for each in _consequences(action, server, others))
    fields = {"s": server.name, "b": f"#{backend.id}", "action": action, "token": token}
    inputs = "".join(
        f'<input type="hidden" name="{key}" value="{escape(value)}">'
        for key, value in fields.items()
    )
    title = f"{action.capitalize()} {path}?"
    back = escape(view.uri + view.words)
    body = (
        f'<body class="ask"><main><form method="post" action="{back}" id="ask">'
        f"<h1>{escape(title)}</h1>{said}{inputs}"
        f'<p class="do"><button autofocus>{action.capitalize()}</button> '
        f'<a href="{back}">Leave it as it is</a></p></form></main>'
    )
    return _document(title, _icon(mark_of(server)), "", body, dress)


def scoped(snapshot: Snapshot, names: Iterable[str], part: str) -> Snapshot:
    """Return a snapshot with some sections alone.

    Args:
        snapshot: Of all of them.
        names: The sections that may be shown; none: all.
        part: What their names have to have in them, capitals or not; empty: anything.
    """
    allowed = frozenset(names)

    def is_shown(name: str) -> bool:
        return (not allowed or name in allowed) and part.lower() in name.lower()

    return replace(
        snapshot,
        frontends=tuple(each for each in snapshot.frontends if is_shown(each.name)),
        backends=tuple(each for each in snapshot.backends if is_shown(each.name)),
        tables=tuple(each for each in snapshot.tables if is_shown(each.name)),
    )


def _consequences(action: str, server: ServerSnapshot, others: int) -> list[str]:
    """Return what follows from an action; ``others`` can serve without the server."""
    sessions = f"{number(server.current)} open session{'' if server.current == 1 else 's'}"
    told = [f"It is {state_words(server)} now, with {sessions}."]
    match action:
        case "ready":
            told.append("It takes new clients as soon as its checks say that it is up.")
        case "drain":
            told.append("It keeps the clients that it has, and gets no new ones.")
        case _:
            told.append("It gets nobody, and is not checked. Its clients go to another server.")
    if action != "ready" and server.is_usable and not others:
        told.append("It is the last one that serves: new clients will be refused.")
    return told


def _icon(mark: Mark) -> str:
    colour, shape = {Mark.UP: _DISC, Mark.DOWN: _CROSS}.get(mark, _TRIANGLE)
    return (
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
        f"<path fill='%23{colour}' d='{shape}'/></svg>"
    )


# What has no place in UTF-8 is marked: a name may have come from bytes that were no text.
_LENIENT = ("utf-8", "replace")


def _document(title: str, icon: str, more: str, body: str, dress: Dress) -> bytes:
    """Return a document; ``body`` is HTML from its tag on, ``more`` is HTML of the head."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="{escape(icon)}">{more}'
        f"<style>{dress.style}</style></head>\n"
        f"{body}\n<script>{dress.script}</script></body></html>\n"
    ).encode(*_LENIENT)
