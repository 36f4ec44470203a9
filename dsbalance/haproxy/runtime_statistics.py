"""Commands of the runtime API that show the statistics. No I/O.

Source: the HAProxy 2.6 management guide, 9.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsbalance.haproxy import show_info, show_stat
from dsbalance.haproxy.runtime_command import Call, Command, RefusedError, command, in_pieces
from dsbalance.stats_options import Level

# Rows of one piece of an answer: two or three milliseconds' work.
_STRIDE = 20


def _show_stat(call: Call) -> Iterator[str]:
    snapshot = call.steering.snapshot()
    is_trusted = call.visit.level >= Level.OPERATOR
    try:
        question = show_stat.read_question(call.words, snapshot, shows_legends=is_trusted)
    except LookupError:
        raise RefusedError("No such proxy.\n") from None
    return in_pieces(show_stat.show_stat(snapshot, question), _STRIDE)


def _show_info(call: Call) -> Iterator[str]:
    question = show_info.read_question(call.words)
    return in_pieces(show_info.show_info(call.steering.snapshot(), question), _STRIDE)


COMMANDS: tuple[Command, ...] = (
    command("show info", Level.USER, _show_info, "the process as a whole", takes="[<form>]"),
    command(
        "show stat",
        Level.USER,
        _show_stat,
        "what was counted, of all or of some",
        takes="[<px> <kind> <sid>] [<form>]",
    ),
)
