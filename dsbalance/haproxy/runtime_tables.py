"""Commands of the runtime API that concern stick tables. No I/O.

An entry is told as HAProxy does it, ``server_id`` and ``server_key`` being what is stored. There is
no address in memory to show in front: what stands there is made of the key.

Source: the HAProxy 2.6 management guide, 9.3; the answers were observed on HAProxy 2.6.12. On
purpose different: a key that is no address is refused instead of taken for 0.0.0.0, an IPv4 address
may be looked up in a table of IPv6 ones, and a server has to exist to be written.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Iterator
from itertools import islice

from dsbalance.haproxy.runtime_command import (
    Call,
    Command,
    RefusedError,
    command,
    in_pieces,
    whole_number,
)
from dsbalance.stats import TableSnapshot
from dsbalance.stats_options import Level
from dsbalance.sticky import Entry

# Entries that are looked at for one piece of an answer: a millisecond's work.
_STRIDE = 250
_MAX_FILTERS = 4

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "le": operator.le,
    "ge": operator.ge,
    "lt": operator.lt,
    "gt": operator.gt,
}
_STORED = ("server_id", "server_key")
# What a table of HAProxy's may store besides.
_OTHER_TYPES = frozenset(
    {
        *("gpt", "gpt0", "gpc", "gpc_rate", "gpc0", "gpc0_rate", "gpc1", "gpc1_rate"),
        *("conn_cnt", "conn_rate", "conn_cur", "sess_cnt", "sess_rate"),
        *("http_req_cnt", "http_req_rate", "http_err_cnt", "http_err_rate"),
        *("http_fail_cnt", "http_fail_rate"),
        *("bytes_in_cnt", "bytes_in_rate", "bytes_out_cnt", "bytes_out_rate"),
    }
)
_CLEAR_USAGE = (
    'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>\n'
)
_SET_USAGE = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n"
_SHOW_USAGE = (
    'Optional argument only supports "data.<store_data_type>" <operator> <value> and key <key>\n'
)

Filter = Callable[[int], bool]
"""Whether an entry is meant, by the id of its server."""


class _Names:
    """What the servers in a table are called elsewhere: the id of a name, the name of an id."""

    __slots__ = ("_ids", "_names")

    def __init__(self, call: Call, table: str) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for backend in call.steering.snapshot().backends:
            if backend.name == table:
                for server in backend.servers:
                    self._ids[server.name] = self._ids[server.address] = server.id
                    self._names[server.id] = server.name

    def id(self, server: str) -> int:
        return self._ids.get(server, 0)

    def name(self, number: int) -> str:
        """Return the name of a server, or refuse."""
        if number not in self._names:
            raise RefusedError("No such server.\n")
        return self._names[number]


def _show_table(call: Call) -> str | Iterator[str]:
    if not call.word(0):
        return in_pieces(map(_title, call.steering.snapshot().tables), _STRIDE)
    table = _find_table(call)
    names = _Names(call, table.name)
    if not call.word(1):
        is_meant: Filter = _everything
    elif call.word(1) == "key":
        return _show_entry(call, table, names)
    elif call.word(1).startswith("data."):
        is_meant = _filter(call)
    else:
        raise RefusedError(_SHOW_USAGE)
    if call.visit.level < Level.OPERATOR:
        return f"{_title(table)}# contents not dumped due to insufficient privileges\n"
    return _rows(call, table, names, is_meant)


def _show_entry(call: Call, table: TableSnapshot, names: _Names) -> str:
    key = _key(call, table)
    if call.visit.level < Level.OPERATOR:
        raise RefusedError("Permission denied\n")
    entry = call.steering.find_entry(table.name, key)
    return "" if entry is None else _title(table) + _row(entry, table, names)


def _rows(call: Call, table: TableSnapshot, names: _Names, is_meant: Filter) -> Iterator[str]:
    yield _title(table)
    entries = iter(call.steering.entries(table.name))
    while stride := list(islice(entries, _STRIDE)):
        # Empty, if none of them is meant: the others have their turn all the same.
        yield "".join(
            _row(entry, table, names) for entry in stride if is_meant(names.id(entry.server))
        )


def _title(table: TableSnapshot) -> str:
    return f"# table: {table.name}, type: {table.type}, size:{table.size}, used:{table.used}\n"


def _row(entry: Entry, table: TableSnapshot, names: _Names) -> str:
    key = ipaddress.ip_address(entry.key)
    text = f"::ffff:{key}" if table.type == "ipv6" and key.version == 4 else str(key)
    expires = 0 if entry.remaining is None else int(entry.remaining * 1000)
    return (
        f"0x{int(key):x}: key={text} use={entry.uses} exp={expires}"
        f" server_id={names.id(entry.server)} server_key={entry.server or '-'}\n"
    )


def _set_table(call: Call) -> str:
    if not call.word(0):
        raise RefusedError(_SET_USAGE)
    table = _find_table(call)
    if not call.word(1):
        return ""
    if call.word(1).startswith("data."):
        raise RefusedError(
            'content-based lookup is only supported with the "show" and "clear" actions\n'
        )
    if call.word(1) != "key":
        raise RefusedError(_SET_USAGE)
    key = _key(call, table)
    server = None
    for place in range(3, len(call.words), 2):
        number = _stored_value(call, place)
        server = _Names(call, table.name).name(number)
    call.steering.set_entry(table.name, key, server)
    return ""


def _stored_value(call: Call, place: int) -> int:
    """Return the id of a server that is to be stored, or refuse."""
    word = call.word(place)
    if not word.startswith("data."):
        raise RefusedError('"data.<type>" followed by a value expected\n')
    _demand_type(word.removeprefix("data."), "")
    number = whole_number(call.word(place + 1))
    if number is None or word != "data.server_id":
        raise RefusedError("Require a valid integer value to store\n")
    return number


def _clear_table(call: Call) -> str | Iterator[str]:
    if not call.word(0):
        raise RefusedError(_CLEAR_USAGE)
    table = _find_table(call)
    if call.word(1) == "key":
        key = _key(call, table)
        if call.steering.clear_entries(table.name, [key]):
            raise RefusedError("Entry currently in use, cannot remove\n")
        return ""
    if call.word(1) and not call.word(1).startswith("data."):
        raise RefusedError(_CLEAR_USAGE)
    is_meant = _filter(call) if call.word(1) else _everything
    return _clear(call, table.name, is_meant)


def _clear(call: Call, table: str, is_meant: Filter) -> Iterator[str]:
    names = _Names(call, table)
    entries = iter(call.steering.entries(table))
    while stride := list(islice(entries, _STRIDE)):
        keys = [entry.key for entry in stride if is_meant(names.id(entry.server))]
        call.steering.clear_entries(table, keys)
        yield ""


def _find_table(call: Call) -> TableSnapshot:
    for table in call.steering.snapshot().tables:
        if table.name == call.word(0):
            return table
    raise RefusedError("No such table\n")


def _key(call: Call, table: TableSnapshot) -> bytes:
    """Return the key that stands behind ``key``, as the table has it, or refuse."""
    if not call.word(2):
        raise RefusedError("Key value expected\n")
    try:
        address = ipaddress.ip_address(call.word(2))
    except ValueError:
        raise RefusedError("Invalid key\n") from None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
        if address.version == 6 and (table.type == "ip" or "%" in call.word(2)):
            raise RefusedError("Invalid key\n")
    return address.packed


def _everything(_number: int) -> bool:
    return True


def _filter(call: Call) -> Filter:
    """Return what the words ``data.TYPE OPERATOR VALUE`` demand, all of them, or refuse."""
    words = call.words[1:]
    demands: list[tuple[Callable[[int, int], bool], int]] = []
    for place in range(0, len(words), 3):
        if len(demands) == _MAX_FILTERS:
            # Counted from the first word of the command, from 1.
            raise RefusedError(
                f"Detected extra data in filter, {place + 4}th word of input,"
                f" after '{words[place - 1]}'\n"
            )
        entry = f"Filter entry #{len(demands) + 1}: "
        kind, symbol, value = (*words[place : place + 3], "", "")[:3]
        _demand_type(kind.removeprefix("data."), entry)
        if symbol not in _COMPARISONS:
            raise RefusedError(
                f'{entry}Require and operator among "eq", "ne", "le", "ge", "lt", "gt"\n'
            )
        number = whole_number(value)
        if number is None or kind != "data.server_id":
            raise RefusedError(f"{entry}Require a valid integer value to compare against\n")
        demands.append((_COMPARISONS[symbol], number))
    return lambda number: all(compare(number, than) for compare, than in demands)


def _demand_type(kind: str, entry: str) -> None:
    if kind in _OTHER_TYPES:
        raise RefusedError(f"{entry}Data type not stored in this table\n")
    if kind not in _STORED:
        raise RefusedError(f"{entry}Unknown data type\n")


COMMANDS: tuple[Command, ...] = (
    command(
        "clear table",
        Level.OPERATOR,
        _clear_table,
        "remove entries that no session holds (filter: as show table)",
        takes="<table> [<filter>]",
        is_change=True,
    ),
    command(
        "set table",
        Level.OPERATOR,
        _set_table,
        "write an entry, or touch it (data: data.server_id <id>)",
        takes="<table> key <key> [<data>]",
        is_change=True,
    ),
    command(
        "show table",
        Level.USER,
        _show_table,
        "the tables, or one (filter: key <key>, data.server_id eq|ne|... <id>)",
        takes="[<table> [<filter>]]",
    ),
)
