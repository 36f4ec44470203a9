"""Bugs of the table that says what trouble leads to in HTTP mode."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/fates.py",
    tests=("tests/test_fates.py",),
    mutants=(
        Mutant(
            bug="a client that sent no request is kept for the next one",
            old="(_HEAD, _CLIENT, _REFUSED): Fate(Ending.REQUEST_REFUSED, 400),",
            new="(_HEAD, _CLIENT, _REFUSED): Fate(Ending.REQUEST_REFUSED, 400, Leave.STAY),",
        ),
        Mutant(
            bug="an answer of ours is written into the middle of a response",
            old="(_ANSWERING, _SERVER, _SILENT): Fate(Ending.SERVER_TIMEOUT),",
            new="(_ANSWERING, _SERVER, _SILENT): Fate(Ending.SERVER_TIMEOUT, 504),",
        ),
        Mutant(
            bug="a slow server is taken for one that spoke nonsense",
            old="(_ASKING, _SERVER, _SILENT): Fate(Ending.SERVER_SILENT, 504, Leave.STAY),",
            new="(_ASKING, _SERVER, _SILENT): Fate(Ending.SERVER_SILENT, 502, Leave.STAY),",
        ),
        Mutant(
            bug="a client that rests too long is told what it did not ask for",
            old="(_IDLE, _CLIENT, _SILENT): Fate(Ending.NORMAL),",
            new="(_IDLE, _CLIENT, _SILENT): Fate(Ending.REQUEST_TIMEOUT, 408),",
        ),
        Mutant(
            bug="half a response that only its end would have ended looks whole",
            old="return replace(end, leave=Leave.RESET)",
            new="return end",
        ),
        Mutant(
            bug="nobody thought of a client that resets while it waits for a server",
            old="    (_PLACING, _CLIENT, _RESET): Fate(Ending.CONNECT_ABORTED),\n",
            new="",
        ),
    ),
)
