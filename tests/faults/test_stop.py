"""How the real program ends: with status 0, in its time, and with whom it should have served."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from actors import connect, until
from faults.program import Program
from faults.stage import ON_ONE_PATH, Stage

Start: TypeAlias = Callable[..., Program]

GREETING = b"a".ljust(16)


def is_closed(address: tuple[str, int]) -> bool:
    """Return whether nobody listens any more."""
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_usr1_lets_those_who_are_there_finish_and_nobody_in(stage: Stage, start: Start) -> None:
    """Case 49: SIGUSR1: the port closes, sessions go on, and with the last one the program ends."""
    stage.greeter("a")
    program = start()
    client = program.client().hear(GREETING)
    program.signal(signal.SIGUSR1)
    until(lambda: is_closed(program.addresses["front"]))
    client.say(b"still").hear(b"still")
    client.finish().hear_end()
    assert program.wait() == 0


def test_usr1_has_a_limit(stage: Stage, start: Start) -> None:
    """Case 49: whoever is there when ``hard-stop-after`` is over is sent home; status 0."""
    stage.greeter("a")
    program = start(replace(stage.config(), hard_stop_after=0.1))
    client = program.client().hear(GREETING)
    program.signal(signal.SIGUSR1)
    client.hear_end()
    assert program.wait() == 0


def test_term_ends_at_once(stage: Stage, start: Start) -> None:
    """Case 49: SIGTERM: the port, every session and the program end; status 0."""
    stage.greeter("a")
    program = start()
    client = program.client().hear(GREETING)
    program.signal(signal.SIGTERM)
    client.hear_end()
    assert program.wait() == 0
    assert is_closed(program.addresses["front"])


@ON_ONE_PATH
def test_term_ends_a_drain(stage: Stage, start: Start) -> None:
    """Case 49: who does not want to wait for the last session after all; status 0."""
    stage.greeter("a")
    program = start()
    client = program.client().hear(GREETING)
    program.signal(signal.SIGUSR1)
    until(lambda: is_closed(program.addresses["front"]))
    client.say(b"still").hear(b"still")
    program.signal(signal.SIGTERM)
    client.hear_end()
    assert program.wait() == 0
