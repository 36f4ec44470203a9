"""What the statistics, logs and state files of a section come to when all files are read. No I/O.

Source: HAProxy 2.6 configuration manual, 3.1 and 4.2; where it is silent, HAProxy 2.6.12 was
observed.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsbalance.haproxy.sections import GlobalSection, Section, Settings, StateSource
from dsbalance.haproxy.statement import Report
from dsbalance.log_options import BackendLog, FrontendLog, LineFormat

# 1 is that of the runtime API.
_FIRST = 2


def numbers_of(sections: Sequence[Section], report: Report) -> dict[Section, int]:
    """Return the id of each section, as HAProxy numbers them; nothing: as we do without them.

    Observed on HAProxy 2.6.12, with a ``stats socket``: who has none gets the lowest that is free
    and not below its place in the file, the first of which is 2; who is disabled has one too.
    """
    owners: dict[int, Section] = {}
    for section in sections:
        if section.id is None:
            continue
        other = owners.setdefault(section.id, section)
        if other is not section:
            message = f"{section}: id {section.id} is taken by the {other.kind} of "
            report.problem(section.place, f"{message}{other.place.file}:{other.place.line}")
    numbers: dict[Section, int] = {}
    number = _FIRST
    for section in sections:
        while section.id is None and number in owners:
            number += 1
        numbers[section] = number if section.id is None else section.id
        number += 1
    return {} if not owners and _is_in_order(numbers) else numbers


def _is_in_order(numbers: dict[Section, int]) -> bool:
    """Return whether the frontends, and then the other backends, have the numbers from 2 on."""
    active = [section for section in numbers if not section.settings.is_disabled]
    ordered = sorted(active, key=lambda section: not section.takes_clients)
    if len({section.name for section in active}) < len(active):
        return False
    return [numbers[section] for section in ordered] == [*range(_FIRST, _FIRST + len(ordered))]


def frontend_log(settings: Settings) -> FrontendLog | None:
    """Return what is logged of the clients of a section; None: nothing is."""
    if not settings.log_targets:
        return None
    line = settings.log_line
    if line is LineFormat.HTTPLOG and not settings.http.is_on:
        line = LineFormat.TCPLOG
    return FrontendLog(
        targets=settings.log_targets,
        line=line,
        skips_null=settings.logs_no_null,
        skips_normal=settings.logs_no_normal,
        raises_errors=settings.logs_errors_apart,
        tag=settings.log_tag,
    )


def backend_log(settings: Settings) -> BackendLog | None:
    """Return what is logged of the servers of a section; None: nothing is."""
    if not settings.log_targets:
        return None
    return BackendLog(
        targets=settings.log_targets,
        tells_checks=settings.logs_checks,
        tag=settings.log_tag,
    )


def own_state_file(section: Section) -> str | None:
    """Return the path of the file that a section's servers have for themselves."""
    settings = section.settings
    if settings.state_source is not StateSource.LOCAL:
        return None
    return state_path(settings.state_file_name or section.name, section.process)


def state_path(name: str | None, process: GlobalSection) -> str | None:
    """Return the path of a state file; ``server-state-base`` is where one begins that is short."""
    base = process.state_base
    if name is None or base is None or name.startswith("/"):
        return name
    return f"{base.rstrip('/')}/{name}"


def note_idle_words(section: Section, report: Report) -> None:
    """Add notices for what is said of logs, or of the state of servers, and comes to nothing."""
    settings, process = section.settings, section.process
    place = settings.log_line_place
    if place is not None and section.is_frontend:
        word = f"option {settings.log_line}"
        if not settings.log_targets:
            report.notice_once(place, f"{word}: has no effect without a 'log' line")
        elif settings.log_line is LineFormat.HTTPLOG and not settings.http.is_on:
            report.notice_once(place, f"{word}: in 'mode tcp' it is 'option tcplog'")
    is_global = settings.state_source is StateSource.GLOBAL
    if section.is_backend and is_global and process.state_file is None:
        message = "load-server-state-from-file: there is no 'server-state-file' in global"
        report.notice_once(section.place, message)
