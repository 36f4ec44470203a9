"""The top of the page: whose it is, what is in trouble, where a client is. No I/O.

    headline                        when
    All 3 servers serve             they do
    paragon has had no server ...   nobody can take a client of a backend
    primary-2 is DOWN since ...     a server is ill: once for all the sections that it is in
    Frontend paragon is FULL        it lets nobody in

Of several troubles each has a line, the worst first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from dsbalance.page_parts import (
    GRAVITY,
    WELL,
    Clock,
    Mark,
    mark_of,
    mark_of_backend,
    mark_of_frontend,
    number,
    reason_words,
    size,
    span,
    state_words,
)
from dsbalance.sheet import Sheet
from dsbalance.stats import Snapshot
from dsbalance.view import Finding, View

# More of them are not read one by one.
_MAX_TROUBLES = 12
_MAX_NAMES = 3
# Marks of a section in the overview.
_MAX_MARKS = 24
_OUTCOMES = {
    "DONE": "Done.",
    "NONE": "Nothing was asked for, so nothing was changed.",
    "PART": "Some of it was done; the rest is not possible.",
    "ERRP": "Nothing was changed: there is no such server, or no such action.",
    "DENY": "Nothing was changed: you may look, and change nothing.",
}


class Trouble(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        mark: How bad it is.
        subject: Who is concerned.
        words: What there is to say.
        anchor: Where on the page it is.
    """

    mark: Mark
    subject: str
    words: str
    anchor: str


def troubles(snapshot: Snapshot, clock: Clock) -> list[Trouble]:
    """Return what is not as it should be, the worst first."""
    found = [*_outages(snapshot, clock), *_ill_servers(snapshot, clock), *_shut(snapshot)]
    return sorted(found, key=lambda trouble: GRAVITY.index(trouble.mark))


def all_well(snapshot: Snapshot) -> str:
    """Return that everything serves, and how much that is."""
    servers = {(each.name, each.host) for back in snapshot.backends for each in back.servers}
    match len(servers):
        case 0:
            return "There are no servers"
        case 1:
            return "The server serves"
        case 2:
            return "Both servers serve"
        case several:
            return f"All {several} servers serve"


def _outages(snapshot: Snapshot, clock: Clock) -> Iterator[Trouble]:
    for place, backend in enumerate(snapshot.backends):
        if mark_of_backend(backend) is Mark.DOWN:
            words = f"has had no server since {clock.since(backend.seconds_in_state)}"
            yield Trouble(Mark.DOWN, backend.name, words, f"b{place}")


def _ill_servers(snapshot: Snapshot, clock: Clock) -> Iterator[Trouble]:
    """Yield a line for each machine in each state: it may serve in several sections."""
    found: dict[tuple[str, str, Mark], Trouble] = {}
    sections: dict[tuple[str, str, Mark], list[str]] = {}
    for place, backend in enumerate(snapshot.backends):
        for row, server in enumerate(backend.servers):
            mark = mark_of(server)
            if mark in WELL:
                continue
            key = server.name, server.host, mark
            sections.setdefault(key, []).append(backend.name)
            if key not in found:
                reason = reason_words(server)
                words = f"is {state_words(server)} since {clock.since(server.seconds_in_state)}"
                words = f"{words}: {reason}" if reason else words
                found[key] = Trouble(mark, server.name, words, f"b{place}s{row}")
    is_alone = len(snapshot.backends) == 1
    for key, trouble in found.items():
        where = "" if is_alone else f" ({_listed(sections[key])})"
        yield trouble._replace(words=trouble.words + where)


def _shut(snapshot: Snapshot) -> Iterator[Trouble]:
    places = {backend.name: f"b{place}" for place, backend in enumerate(snapshot.backends)}
    for frontend in snapshot.frontends:
        mark = mark_of_frontend(frontend)
        if mark is not Mark.UP:
            anchor = places.get(frontend.backend or "", "others")
            yield Trouble(mark, f"Frontend {frontend.name}", f"is {frontend.status}", anchor)


def _listed(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    if len(names) <= _MAX_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_MAX_NAMES])} and {len(names) - _MAX_NAMES} more"


def write_head(sheet: Sheet, view: View) -> None:
    """Write whose page it is, the process in a few numbers, and the search."""
    process = view.snapshot.process
    told = " \u00b7 ".join(text for text in (view.node, view.description, view.version) if text)
    sheet.put(f'<header><div><h1>dsbalance</h1><p>{escape(told)}</p></div><dl class="facts">')
    limit = "" if process.maxconn is None else f" of {number(process.maxconn)}"
    for label, value in (
        ("Sessions", f"{number(process.current)}{limit}"),
        ("New a second", number(process.rate)),
        ("Out", f"{size(process.bytes_out_rate)}/s"),
        ("Idle", f"{process.idle} %"),
        ("Up for", span(view.snapshot.uptime)),
    ):
        sheet.put(f"<div><dt>{label}</dt>")
        sheet.text(value, "dd")
        sheet.put("</div>")
    wanted = "" if view.finding is None else view.finding.client
    sheet.put(
        f'</dl><form class="find" method="post" action="{escape(view.uri)}" role="search">'
        '<label for="find">Where is</label>'
        '<input id="find" name="find" autocomplete="off" spellcheck="false" required'
        f' placeholder="a client\u2019s address" value="{escape(wanted)}">'
        "<button>Find</button></form></header>"
    )


def write_summary(sheet: Sheet, view: View, found: Sequence[Trouble]) -> None:
    """Write what is in trouble, and a mark for each server."""
    if view.outcome in _OUTCOMES:
        sheet.put(f'<p class="notice" role="status">{_OUTCOMES[view.outcome]}</p>')
    sheet.put('<section class="sum" aria-label="Summary" aria-live="polite">')
    if found:
        _write_troubles(sheet, found)
    else:
        sheet.put('<p class="well"><i class="m" data-m="up"></i>')
        sheet.text(all_well(view.snapshot), "strong")
        sheet.put("</p>")
    sheet.put('<nav aria-label="Sections">')
    for place, backend in enumerate(view.snapshot.backends):
        sheet.put(f'<a href="#b{place}">{escape(backend.name)}')
        for server in backend.servers[:_MAX_MARKS]:
            sheet.mark(mark_of(server), more=' class="m"')
            sheet.put("</i>")
        sheet.put("</a>")
    sheet.put("</nav></section>")
    if view.scope:
        sheet.put(f"<p>Only sections with \u201c{escape(view.scope)}\u201d in their names. ")
        sheet.put(f'<a href="{escape(view.uri)}">Show all</a></p>')


def _write_troubles(sheet: Sheet, found: Sequence[Trouble]) -> None:
    sheet.put('<ul class="ill">')
    for trouble in found[:_MAX_TROUBLES]:
        sheet.put(f'<li><i class="m" data-m="{trouble.mark}"></i>')
        sheet.put(f'<span><a href="#{trouble.anchor}">{escape(trouble.subject)}</a> ')
        sheet.text(trouble.words)
        sheet.put("</span></li>")
    sheet.put("</ul>")
    if len(found) > _MAX_TROUBLES:
        sheet.put("<p>And ")
        sheet.text(f"{number(len(found) - _MAX_TROUBLES)} more")
        sheet.put("</p>")


def write_finding(sheet: Sheet, finding: Finding) -> None:
    """Write where a client is remembered, and where it would go now."""
    sheet.put(f'<section class="found"><h2>Where is {escape(finding.client)}?</h2>')
    if finding.problem:
        sheet.put(f"<p>{escape(finding.problem)}</p>")
    elif not finding.entries:
        sheet.put("<p>No stick table remembers it.</p>")
    for entry in finding.entries:
        left = "for ever" if entry.remaining is None else f"for {span(entry.remaining)} more"
        uses = f"; {number(entry.uses)} open now" if entry.uses else ""
        sheet.put("<p>At ")
        sheet.text(entry.server, "b")
        sheet.put(f", as {escape(entry.table)} remembers ")
        sheet.text(f"{left}{uses}.")
        sheet.put("</p>")
    for backends, steps in finding.explained:
        sheet.put(f"<h3>A new connection to {escape(_listed(backends))}</h3><ol>")
        for step in steps:
            sheet.text(step, "li")
        sheet.put("</ol>")
    sheet.put("</section>")
