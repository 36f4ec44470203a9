"""From HAProxy's CSV back to the snapshot that it tells of: the inverse of ours, written apart."""

from __future__ import annotations

import csv
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.counters import Times
from dsbalance.stats import (
    BackendSnapshot,
    CheckSnapshot,
    FrontendSnapshot,
    ListenerSnapshot,
    ProcessSnapshot,
    Responses,
    ServerSnapshot,
    Snapshot,
)
from pretence import blank

_DATA = Path(__file__).parent / "data"


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# Our word to HAProxy's column, for numbers.
_EVERY = _pairs("current scur peak smax total stot bytes_in bin bytes_out bout")
_SERVICE = _pairs(
    "queued qcur queued_peak qmax connect_errors econ retries wretr response_errors eresp"
    " responses_denied dresp redispatches wredis weight weight asked_weight uweight chosen lbtot"
    " connects connect reuses reuse client_aborts cli_abrt server_aborts srv_abrt errors eint"
    " seconds_in_state lastchg downs chkdown requests req_tot downtime downtime rate rate"
    " rate_peak rate_max"
)
_SERVER = _pairs(
    "check_failures chkfail maxconn slim maxqueue qlimit throttle throttle kept srv_icur"
    " alarms hanafail id sid"
)
_BACKEND = _pairs("active act backups bck fullconn slim requests_denied dreq")
_ENTRANCE = _pairs(
    "requests_denied dreq responses_denied dresp request_errors ereq denied dcon maxconn slim"
)
_FRONTEND = _pairs(
    "requests req_tot request_rate req_rate request_rate_peak req_rate_max rate rate"
    " rate_peak rate_max intercepted intercepted"
)

Row = dict[str, str]


def capture(name: str) -> dict[str, Any]:
    """Return what was recorded of HAProxy under this name."""
    recorded: dict[str, Any] = json.loads((_DATA / name).read_text(encoding="utf-8"))
    return recorded


def rows(text: str) -> list[Row]:
    """Return the rows of HAProxy's CSV by the names of its columns."""
    return list(csv.DictReader(text.removeprefix("# ").rstrip("\n").split("\n")))


def picture(text: str) -> Snapshot:
    """Return the snapshot whose CSV is this."""
    frontends, backends = [], []
    for _, lines in groupby(rows(text), key=lambda row: row["iid"]):
        section: dict[str, list[Row]] = {"0": [], "1": [], "2": [], "3": []}
        for row in lines:
            section[row["type"]].append(row)
        frontends += [_frontend(row, section["3"]) for row in section["0"]]
        backends += [_backend(row, section["2"]) for row in section["1"]]
    return Snapshot(
        uptime=1.0,
        process=blank(ProcessSnapshot, pid=1),
        frontends=tuple(frontends),
        backends=tuple(backends),
    )


def _numbers(row: Row, columns: dict[str, str]) -> dict[str, int]:
    return {word: int(row[column]) for word, column in columns.items() if row[column]}


def _frontend(row: Row, listeners: list[Row]) -> FrontendSnapshot:
    return blank(
        FrontendSnapshot,
        name=row["pxname"],
        id=int(row["iid"]),
        is_http=row["mode"] == "http",
        status=row["status"],
        responses=_responses(row),
        listeners=tuple(map(_listener, listeners)),
        **_numbers(row, _EVERY | _ENTRANCE | _FRONTEND),
    )


def _listener(row: Row) -> ListenerSnapshot:
    words = {"name": row["svname"], "address": row["addr"], "status": row["status"]}
    numbers = _numbers(row, _EVERY | _ENTRANCE | {"id": "sid"})
    return blank(ListenerSnapshot, **words, **numbers)


def _backend(row: Row, servers: list[Row]) -> BackendSnapshot:
    return blank(
        BackendSnapshot,
        name=row["pxname"],
        id=int(row["iid"]),
        is_http=row["mode"] == "http",
        status=row["status"],
        balance=row["algo"],
        servers=tuple(map(_server, servers)),
        **_times(row),
        **_numbers(row, _EVERY | _SERVICE | _BACKEND),
    )


def _server(row: Row) -> ServerSnapshot:
    return blank(
        ServerSnapshot,
        name=row["svname"],
        status=row["status"],
        address=row["addr"],
        port=80,
        op=0 if row["status"].startswith(("DOWN", "MAINT")) else 2,
        is_backup=row["bck"] == "1",
        tracked=row["tracked"] or None,
        check=_check(row),
        **_times(row),
        **_numbers(row, _EVERY | _SERVICE | _SERVER),
    )


def _times(row: Row) -> dict[str, Any]:
    """Return what servers and backends say of times, and of responses."""
    columns = ("qtime", "ctime", "rtime", "ttime")
    since = int(row["lastsess"])
    return {
        "means": Times(*(int(row[column]) / 1000 for column in columns)),
        "longest": Times(*(int(row[f"{column}_max"]) / 1000 for column in columns)),
        "since_used": None if since < 0 else float(since),
        "responses": _responses(row),
    }


def _responses(row: Row) -> Responses:
    parts = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
    return Responses(*(int(row[f"hrsp_{part}"] or 0) for part in parts))


def _check(row: Row) -> CheckSnapshot | None:
    """Return the checks of a server; they pause where HAProxy counts them and says no more."""
    if not row["chkfail"]:
        return None
    status = row["check_status"].removeprefix("* ")
    last = None
    if status not in {"", "INI"}:
        elapsed = int(row["check_duration"]) / 1000
        last = CheckResult(
            status=CheckStatus(status), port=80, detail=row["last_chk"], elapsed=elapsed
        )
    return blank(
        CheckSnapshot,
        last=last,
        is_running=row["check_status"].startswith("* "),
        is_paused=not status,
        **_numbers(row, {part: f"check_{part}" for part in ("rise", "fall", "health")}),
    )
