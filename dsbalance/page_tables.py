"""The tables of the page: a section's frontends, servers and total; the stick tables. No I/O.

A section is a backend with the frontends whose clients go there by default: what a ``listen`` is
under one name. The columns are those of HAProxy's page that say how much there is to do: queue,
session rate, sessions, each now, at the most, and its limit; then the last minutes as curves.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from dsbalance.errands import quoted
from dsbalance.history import Track
from dsbalance.page_parts import (
    WELL,
    ago,
    check_words,
    highest,
    mark_of,
    mark_of_backend,
    mark_of_frontend,
    number,
    reason_words,
    size,
    span,
    state_words,
    trouble_words,
)
from dsbalance.sheet import Sheet
from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot, TableSnapshot
from dsbalance.view import View

ACTIONS = ("ready", "drain", "maint")
"""What can be asked for on the page."""

MAX_SERVERS = 100
"""How many servers a page shows: more would take the loop's time, and nobody reads them."""

_LIMITED = ("Cur", "Max", "Limit")
# All tables of the page have the same, so that their columns stand below each other.
_COLUMNS = "".join(
    f"<col class={kind}>" * count
    for kind, count in (("n", 1), ("s", 1), ("q", 9), ("w", 2), ("l", 1), ("c", 2))
)
_Three = tuple[str, str, str]


class _Heights(NamedTuple):
    """What the curves of a table are as high as, so that its servers can be compared."""

    sessions: float
    rates: float


def write_sections(sheet: Sheet, view: View) -> None:
    """Write the tables of all sections."""
    snapshot = view.snapshot
    room = MAX_SERVERS
    for place, backend in enumerate(snapshot.backends):
        if room <= 0:
            left = len(snapshot.backends) - place
            sheet.put(f'<p class="more">{left} more sections are not shown. Those with NAME in ')
            sheet.put("their names: <code>;scope=NAME</code>; all of them: <code>;csv</code>.</p>")
            break
        leading = [front for front in snapshot.frontends if front.backend == backend.name]
        _write_section(sheet, view, f"b{place}", leading, backend)
        room -= len(backend.servers) + 1
    names = {backend.name for backend in snapshot.backends}
    others = [front for front in snapshot.frontends if front.backend not in names]
    if others:
        sheet.put('<section class="box" id="others"><h2>Other frontends</h2>')
        _begin_table(sheet, "Frontends that lead to no section of this page", view, is_http=False)
        sheet.put("<tbody>")
        for frontend in others:
            _write_frontend(sheet, view, frontend, frontend.name)
        sheet.put("</tbody></table></section>")


def _write_section(
    sheet: Sheet,
    view: View,
    anchor: str,
    frontends: list[FrontendSnapshot],
    backend: BackendSnapshot,
) -> None:
    name = escape(backend.name)
    mode = "HTTP" if backend.is_http else "TCP"
    told = f"{mode}, balance {backend.balance}" if view.shows_legends else mode
    sheet.put(f'<section class="box" id="{anchor}"><h2>{name} <small>{escape(told)}</small></h2>')
    _begin_table(sheet, f"Frontends, servers and total of {name}", view, is_http=backend.is_http)
    sheet.put("<tbody>")
    for frontend in frontends:
        called = "Frontend" if frontend.name == backend.name else f"Frontend {frontend.name}"
        _write_frontend(sheet, view, frontend, called)
    sheet.put("</tbody><tbody>")
    servers = backend.servers[:MAX_SERVERS]
    tracks = [view.history.find(("server", backend.name, server.name)) for server in servers]
    known = [track for track in tracks if track is not None]
    heights = _Heights(highest(t.sessions for t in known), highest(t.rates for t in known))
    for row, (server, track) in enumerate(zip(servers, tracks, strict=True)):
        _begin_server(sheet, view, f"{anchor}s{row}", server)
        _write_curves(sheet, track, heights)
        if view.is_admin:
            _write_buttons(sheet, view, f"{backend.name}/{server.name}", server.admin)
        sheet.put("</tr>")
    sheet.put("</tbody><tbody>")
    _write_backend(sheet, view, backend)
    sheet.put("</tbody></table>")
    if len(backend.servers) > MAX_SERVERS:
        left = len(backend.servers) - MAX_SERVERS
        sheet.put(f'<p class="more">{left} more servers: see <code>;csv</code>.</p>')
    sheet.put("</section>")


def _begin_table(sheet: Sheet, caption: str, view: View, *, is_http: bool) -> None:
    """Write the head of a table; ``caption`` is HTML."""
    sheet.put(f"<table><caption>{caption}</caption><colgroup>{_COLUMNS}")
    sheet.put("<col class=a></colgroup><thead><tr>" if view.is_admin else "</colgroup><thead><tr>")
    sheet.put('<th scope="col" rowspan="2">Name</th><th scope="col" rowspan="2">State</th>')
    for title, width in (("Queue", 3), ("Session rate", 3), ("Sessions", 6)):
        sheet.put(f'<th scope="colgroup" colspan="{width}" class="g">{title}</th>')
    sheet.put('<th scope="colgroup" colspan="2" class="g">Last 5 minutes</th>')
    if view.is_admin:
        sheet.put('<th scope="col" rowspan="2"><span class="sr">Change</span></th>')
    sheet.put("</tr><tr>")
    for title in (*_LIMITED * 3, "Total", "LbTot", "Last"):
        edge = ' class="g"' if title == "Cur" else ""
        sheet.put(f'<th scope="col"{edge}>{title}</th>')
    what = "Requests/s" if is_http else "Open"
    sheet.put(f'<th scope="col" class="g">{what}</th><th scope="col">Bytes/s</th></tr></thead>')


def _write_frontend(sheet: Sheet, view: View, frontend: FrontendSnapshot, called: str) -> None:
    sheet.mark(mark_of_frontend(frontend), "tr", ' class="f"')
    _write_name(sheet, called, ", ".join(frontend.addresses) if view.shows_legends else "")
    sheet.put('<td class="s">')
    sheet.text(frontend.status, "b")
    denied = frontend.denied + frontend.requests_denied
    sheet.text(f"{number(denied)} denied" if denied else "", "small")
    sheet.put("</td>")
    _write_numbers(
        sheet,
        queue=("", "", ""),
        rate=(number(frontend.rate), number(frontend.rate_peak), ""),
        sessions=(number(frontend.current), number(frontend.peak), number(frontend.maxconn)),
        totals=(number(frontend.total), "", ""),
    )
    _write_curves(sheet, view.history.find(("frontend", frontend.name)))
    sheet.put("<td></td></tr>" if view.is_admin else "</tr>")


def _begin_server(sheet: Sheet, view: View, anchor: str, server: ServerSnapshot) -> None:
    mark = mark_of(server)
    sheet.mark(mark, "tr", f' class="v" id="{anchor}"')
    told = [server.address or server.host] if view.shows_legends else []
    told += ["backup"] if server.is_backup else []
    told += [f"weight {server.asked_weight}"] if server.asked_weight != 1 else []
    _write_name(sheet, server.name, ", ".join(told))
    gone = server.seconds_in_state
    sheet.put('<td class="s">')
    sheet.text(state_words(server), "b")
    sheet.text(f"since {view.clock.since(gone)} ({span(gone)})")
    sheet.text("" if mark in WELL else reason_words(server), "em")
    sheet.text(check_words(server), "small")
    sheet.text(trouble_words(server), "small")
    sheet.put("</td>")
    _write_numbers(
        sheet,
        queue=(number(server.queued), number(server.queued_peak), number(server.maxqueue)),
        rate=(number(server.rate), number(server.rate_peak), ""),
        sessions=(number(server.current), number(server.peak), number(server.maxconn)),
        totals=(number(server.total), number(server.chosen), ago(server.since_used)),
    )


def _write_backend(sheet: Sheet, view: View, backend: BackendSnapshot) -> None:
    sheet.mark(mark_of_backend(backend), "tr", ' class="t"')
    _write_name(sheet, "Backend", "")
    sheet.put('<td class="s">')
    sheet.text(backend.status, "b")
    serving = backend.active or backend.backups
    backups = "" if backend.active or not backend.backups else ", backups alone"
    sheet.text(f"{serving} of {len(backend.servers)} serve{backups}")
    sheet.put("</td>")
    _write_numbers(
        sheet,
        queue=(number(backend.queued), number(backend.queued_peak), ""),
        rate=(number(backend.rate), number(backend.rate_peak), ""),
        sessions=(number(backend.current), number(backend.peak), number(backend.fullconn)),
        totals=(number(backend.total), number(backend.chosen), ago(backend.since_used)),
    )
    _write_curves(sheet, view.history.find(("backend", backend.name)))
    sheet.put("<td></td></tr>" if view.is_admin else "</tr>")


def _write_name(sheet: Sheet, name: str, told: str) -> None:
    sheet.put(f'<th scope="row"><i class="m"></i>{escape(name)}')
    sheet.put(f"<small>{escape(told)}</small></th>" if told else "</th>")


def _write_numbers(
    sheet: Sheet, *, queue: _Three, rate: _Three, sessions: _Three, totals: _Three
) -> None:
    for label, (current, most, limit) in (
        ("Queue", queue),
        ("Rate", rate),
        ("Sessions", sessions),
    ):
        sheet.cell(current, label, is_first=True)
        sheet.cell(most, "Max")
        sheet.cell(limit, "Limit")
    for label, value in zip(("Total", "LbTot", "Last"), totals, strict=True):
        sheet.cell(value, label)


def _write_curves(sheet: Sheet, track: Track | None, heights: _Heights | None = None) -> None:
    """Write the curves of a row; without ``heights`` each is as high as it gets."""
    if track is None or not track.rates:
        sheet.curve((), 0, "Open", "")
        sheet.curve((), 0, "Bytes", "")
        return
    tops = heights or _Heights(highest((track.sessions,)), highest((track.rates,)))
    sheet.curve(track.sessions, tops.sessions, "Open", number(track.sessions[-1]))
    sheet.curve(track.rates, tops.rates, "Bytes", f"{size(track.rates[-1])}/s")


def _write_buttons(sheet: Sheet, view: View, path: str, now: str) -> None:
    """Write what can be asked of a server; ``now`` is what was asked last."""
    sheet.put('<td class="a">')
    for action in ACTIONS:
        if action == now:
            sheet.put(f'<span aria-current="true">{action}</span>')
        else:
            where = f"{view.uri};ask={action};on={quoted(path)}{view.words}"
            called = f"{action} {path}"
            sheet.put(f'<a href="{escape(where)}" aria-label="{escape(called)}" data-ask>')
            sheet.put(f"{action}</a>")
    sheet.put("</td>")


def write_tables(sheet: Sheet, view: View) -> None:
    """Write how many clients each server has in each stick table."""
    tables = view.snapshot.tables
    if not tables:
        return
    sheet.put('<section class="sticks"><h2>Who is remembered</h2>')
    for table in tables:
        _write_table(sheet, table)
    sheet.put("</section>")


def _write_table(sheet: Sheet, table: TableSnapshot) -> None:
    life = "for ever" if table.expire is None else f"for {span(table.expire)} of silence"
    sheet.put(f'<div class="box"><table class="stick"><caption>{escape(table.name)} <small>')
    sheet.text(number(table.used))
    sheet.put(f" of {number(table.size)} clients, {life}</small></caption><thead><tr>")
    sheet.put('<th scope="col">Server</th><th scope="col">Clients</th>')
    sheet.put('<th scope="col" colspan="2">Share</th></tr></thead><tbody>')
    counts = dict(table.counts)
    total = max(1, sum(counts.values()))
    for name in sorted(counts)[:MAX_SERVERS]:
        share = 100 * counts[name] / total
        sheet.put(f'<tr><th scope="row">{escape(name)}</th>')
        sheet.cell(number(counts[name]), "Clients")
        sheet.cell(f"{share:.0f} %", "Share")
        sheet.put('<td class="b"><svg viewBox="0 0 100 8" preserveAspectRatio="none"')
        sheet.put(' aria-hidden="true"><rect height="8" data-l="width" width="')
        sheet.hole(f"{share:.1f}")
        sheet.put('"/></svg></td></tr>')
    sheet.put("</tbody></table></div>")
