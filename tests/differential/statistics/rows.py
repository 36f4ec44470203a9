"""What ``show stat`` says of one case, in a form that can be compared.

What cannot be equal is masked: a ``~`` stands for whatever number it is; an empty place stays
empty, and so does the ``-1`` of what never was. In HTTP mode HAProxy counts bytes in a form of its
own; the bytes on the wire, which we count, are in columns of one of its modules, and take their
place.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Row: TypeAlias = dict[str, str]
# By the names of the rows, in their order.
Rows: TypeAlias = dict[str, Row]

MASK = "~"
# Behind it stand the columns of HAProxy's modules.
_LAST = "agg_check_status"
# How the proxies of a case are called.
_NAME = re.compile(r"\b(front|back)\d+")
_WIRE = {"bin": "h1_bytes_in", "bout": "h1_bytes_out"}


def parse(answer: str) -> dict[str, Rows]:
    """Return the rows of a CSV, by their proxies."""
    found: dict[str, Rows] = {}
    for row in csv.DictReader(io.StringIO(answer.removeprefix("# ").strip())):
        found.setdefault(row["pxname"], {})[row["svname"]] = row
    return found


def comparable(rows: Rows, masked: Iterable[str], number: int = 0) -> Rows:
    """Return the rows with all columns that are compared, and masks where nothing can be equal.

    Args:
        rows: Those of one case.
        masked: Columns that are not compared.
        number: That of the case, which is in the names of its proxies: it becomes 0.
    """
    columns = set(masked)
    front = rows["FRONTEND"]
    found = {name: _comparable(row, front, columns) for name, row in rows.items()}
    for row in found.values():
        row["iid"] = str(int(row["iid"]) - 2 * number)
    return found


def _comparable(row: Row, front: Row, masked: set[str]) -> Row:
    found = {}
    for column in row:
        value = _value(row, front, column)
        found[column] = MASK if column in masked and value not in {"", "-1"} else value
        if column == _LAST:
            break
    return found


def _value(row: Row, front: Row, column: str) -> str:
    if column in _WIRE and row["mode"] == "http" and _WIRE[column] in front:
        return _wire(row, front, column)
    # An asterisk says that a check is under way.
    return _NAME.sub(r"\1", row[column].removeprefix("* "))


def _wire(row: Row, front: Row, column: str) -> str:
    """Return bytes on the wire where HAProxy says what they are, and a mask elsewhere.

    It says so of the frontend. Who has the same number in its own form has the same bytes, unless
    the frontend has had some that were no request and are not in that number.
    """
    if row is front or (row[column] == front[column] != "0" and front["ereq"] == "0"):
        return front[_WIRE[column]]
    return row[column] if row[column] == "0" else MASK


def differences(theirs: Rows, ours: Rows) -> list[str]:
    """Return what is not equal, a line each."""
    found = [f"{name}: no such row here" for name in theirs if name not in ours]
    found += [f"{name}: a row that HAProxy has not" for name in ours if name not in theirs]
    if [*ours] != [*theirs] and not found:
        found.append(f"rows in the order {', '.join(ours)}")
    for name in theirs.keys() & ours.keys():
        their, our = theirs[name], ours[name]
        found += [
            f"{name} {column}: {our.get(column)!r} instead of {value!r}"
            for column, value in their.items()
            if our.get(column) != value and not _may_be(our.get(column), value)
        ]
    return sorted(found)


def _may_be(ours: str | None, theirs: str) -> bool:
    """Return whether one of two values is a mask, and the other one a number at least."""
    return MASK in {ours, theirs} and {ours, theirs}.isdisjoint({None, "", "-1"})


def told(rows: Rows) -> dict[str, str]:
    """Return the rows as JSON has them: what is 0 or empty is told by where it is."""
    return {name: ",".join(row.values()) for name, row in rows.items()}


def untold(lines: Mapping[str, str], columns: list[str]) -> Rows:
    """Return what :func:`told` told."""
    return {name: dict(zip(columns, line.split(","), strict=True)) for name, line in lines.items()}
