"""The demo: a server dies and comes back, and nobody who talks to it through the balancer notices.

    scene      what happens                         what has to be seen
    meeting    twelve printers begin to talk        each has one server for all ports of a group
    loss       the busiest server is killed         its printers move, all of them, and nobody else
    return     it is started again                  it is trusted after a while; nobody moves back
    newcomer   a new printer comes                  the server that came back takes it
    drain      the busiest server is drained        its printers stay, a new one goes elsewhere

Whatever is not seen, and each request that fails, is a reason for the status 1. Nothing is staged:
the servers are processes that answer with TLS on the suite's ports, and one of them is killed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from dsbalance.demo_printers import PAUSE, Move
from dsbalance.demo_screen import Screen, in_words, make_screen
from dsbalance.demo_stage import Stage, open_stage
from dsbalance.errors import ConnectError
from dsbalance.model import Check

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_INTERRUPTED = 130

# How long the story takes on a machine that has time for it, and the pauses for those who read.
_LENGTH = 22.0
# What the checks need is no shorter, however short the pauses are.
_SHORTEST = 9.0
_BREATH = 1.5
# What has not happened after so many seconds is not going to.
_LIMIT = 30.0
# Between two looks at what goes on.
_LOOK = 0.1
# Somebody else has killed a server: it is away for so many seconds.
_ABSENCE = 5.0
_WIDTH = 78


def demo(*, keep: bool = False, seconds: float | None = None, out: TextIO | None = None) -> int:
    """Show a failover, from beginning to end, with nothing but this machine.

    Args:
        keep: Whether to run on when the story is over, until Ctrl-C.
        seconds: How long the story takes, about, 9 at least: the printers and the pauses adapt.
            None: 22.
        out: Where it is shown; None: the standard output.

    Returns:
        0: the story was seen in full and no request failed. 1: it was not, or it cannot be shown
        on this machine; the reasons are written. 130: Ctrl-C.
    """
    out = sys.stdout if out is None else out
    pace = 1.0 if seconds is None else max(seconds, _SHORTEST) / _LENGTH
    began = time.monotonic()
    with contextlib.ExitStack() as exits:
        exits.enter_context(_silence())
        ctrl_c = _CtrlC()
        exits.enter_context(ctrl_c.watched())
        try:
            stage = open_stage(pause=PAUSE * pace)
            exits.callback(stage.close)
            show = Show(stage, make_screen(out, os.environ), pace, began)
            show.ctrl_c = ctrl_c
            return _play(show, keep=keep)
        except ConnectError as error:
            out.write(f"The demo cannot run here. {error}\n")
            return EXIT_WRONG


def _play(show: Show, *, keep: bool) -> int:
    try:
        show.play()
        if keep:
            show.run_on()
    except _Interrupted:
        show.end(is_interrupted=True)
        return EXIT_INTERRUPTED
    show.end()
    return EXIT_WRONG if show.reasons else EXIT_OK


class _Interrupted(Exception):  # noqa: N818 - not an error
    """Ctrl-C was pressed."""


class _CtrlC:
    """Ctrl-C as a fact that is looked at, so that it never strikes between a start and its end.

    Attributes:
        is_pressed: Whether it was; once is enough.
    """

    def __init__(self) -> None:
        self.is_pressed = False

    def press(self, *_: object) -> None:
        """Be the handler of the signal."""
        self.is_pressed = True

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look for it, on the main thread; on others no Ctrl-C arrives."""
        try:
            previous = signal.signal(signal.SIGINT, self.press)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous or signal.SIG_DFL)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the log off the screen: what it says there, the screen says in its own way."""
    log = logging.getLogger("dsbalance")
    was, nobody = log.propagate, logging.NullHandler()
    log.addHandler(nobody)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate = was
        log.removeHandler(nobody)


class Show:
    """The story, as it is played on one stage and told on one screen.

    Attributes:
        reasons: What was not as it has to be.
        facts: What was seen, in the order of the scenes.
        ctrl_c: What ends it early.
    """

    def __init__(self, stage: Stage, screen: Screen, pace: float, began: float) -> None:
        self.reasons: list[str] = []
        self.facts: list[str] = []
        self.ctrl_c = _CtrlC()
        self._stage = stage
        self._screen = screen
        self._pace = pace
        self._began = began
        # Name of a server whose process is gone -> when it is to start again.
        self._absent: dict[str, float] = {}

    # -- the scenes

    def play(self) -> None:
        """Play all scenes."""
        stage = self._stage
        self._say(
            f"In the next {_LENGTH * self._pace:.0f} s a server is killed and comes back, another"
            " one is drained, and no request fails. Ctrl-C ends it."
        )
        pids = ", ".join(f"{name} (process {stub.pid})" for name, stub in stage.servers.items())
        self._say(f"Three servers have started: {pids}.")
        ports = " ".join(map(str, sorted(stage.ports)))
        self._say(f"The balancer is in front of them, on {stage.ground.balancer}, ports {ports}.")
        self._meet()
        lost = self._busiest()
        self._lose(lost)
        self._return(lost)
        self._welcome(lost)
        self._drain(self._busiest())

    def _meet(self) -> None:
        stage = self._stage
        now = time.monotonic()
        stage.add_printers()
        self._say(
            f"{len(stage.printers)} printers begin to talk to it, each from an address of its own"
            f" and on all {len(stage.ports)} ports."
        )
        # A server begins one failure away from DOWN; the first check puts that right.
        for server in stage.servers:
            self._await_state(server, "UP")
        groups = " and for ".join(f"all its {len(g.ports)} {g.title} ports" for g in stage.groups)
        if self._hear_all(now, "at the start"):
            self._say(f"Each printer has one server for {groups}.")
        self._learn(
            f"Each printer had one server for {groups}, and saw that server's own certificate: the"
            " balancer passes TLS on untouched. On plain HTTP it told the server the printer's own"
            " address, in X-Forwarded-For."
        )
        self._pause()

    def _lose(self, lost: str) -> None:
        stage, ledger = self._stage, self._stage.ledger
        served = {key for key, server in ledger.owners().items() if server == lost}
        printers = self._printers(lost)
        before = ledger.tally()
        stub = stage.servers[lost]
        self._absent[lost] = math.inf
        killed_at = time.monotonic()
        stub.kill()
        # In between it may still have answered, and others instead of it.
        dead_at = time.monotonic()
        self._say(f"{lost} is KILLED (process {stub.pid}). It served {_numbers(printers)}.")
        # The lasting sessions tell first, within a round: before the checks have noticed.
        first = {(printer, stage.groups[0].name) for printer in printers}
        self._until(
            lambda: first <= {move[:2] for move in ledger.moves(killed_at)},
            f"the printers of {lost} did not move",
        )
        heirs = _names(move.new for move in ledger.moves(killed_at))
        self._say(f"All of them have had answers from others: {heirs}.")
        if all(state.startswith("UP") for state in stage.states()[lost]):
            self._say("No check has noticed yet: what is refused is sent on at once.")
        self._await_state(lost, "DOWN")
        self._hear_all(dead_at, f"after {lost} was killed")
        moves, now = ledger.moves(killed_at), ledger.tally()
        strays = {move[:2] for move in moves} ^ served
        is_right = self._demand(
            not strays, f"not the printers of {lost}, and they alone, moved: {_keys(strays)}"
        )
        self._demand(len(moves) <= len(served), "a printer moved to and fro")
        waits = (a.wait for a in ledger.since(0.0) if a.asked_at + a.wait >= killed_at)
        slowest = in_words(max(waits, default=0.0))
        if is_right:
            self._say(f"Nobody else has moved. The longest wait for an answer: {slowest}.")
        repeated = now.repeated - before.repeated
        self._learn(
            f"{lost} was killed. Its {len(printers)} printers went on with"
            f" {_names(move.new for move in moves)}; the other"
            f" {len(stage.printers) - len(printers)} kept their servers. The longest wait for an"
            f" answer was {slowest}."
        )
        again = "no request was under way on them"
        if repeated:
            again = f"requests under way, which were sent again: {repeated}"
        self._learn(
            f"{now.cut - before.cut + repeated} open connections died with {lost}, and the printers"
            f" opened new ones; {again}."
        )
        self._pause()

    def _return(self, lost: str) -> None:
        stage = self._stage
        started_at = time.monotonic()
        self._say(f"{lost} is started again, and has to pass some checks first.")
        self._start(lost)
        self._await_state(lost, "UP")
        self._hear_all(time.monotonic(), f"after {lost} came back")
        moves = stage.ledger.moves(started_at)
        if self._demand(not moves, f"printers moved when {lost} came back: {_keys(moves)}"):
            self._say(f"{lost} is back. The printers that left it stay where they are.")
        self._pause()

    def _welcome(self, lost: str) -> None:
        servers = self._newcomer(lost)
        self._demand(servers == {lost}, f"the new printer was to be served by {lost}")
        self._learn(
            f"{lost} came back. The printers that had left it stayed where they were, and a new"
            " printer went to it."
        )
        self._pause()

    def _drain(self, drained: str) -> None:
        stage = self._stage
        printers = self._printers(drained)
        stage.drain(drained)
        drained_at = time.monotonic()
        self._say(f"{drained} is put into DRAIN, for maintenance: nobody new goes there.")
        servers = self._newcomer(drained)
        self._demand(drained not in servers, f"a new printer went to {drained}, which is drained")
        self._hear_all(drained_at, f"while {drained} was drained")
        moves = stage.ledger.moves(drained_at)
        if self._demand(not moves, f"printers left {drained} in drain: {_keys(moves)}"):
            self._say(f"Its {len(printers)} printers have stayed. It is made ready again.")
        stage.ready(drained)
        self._learn(
            f"{drained} was drained, for maintenance. Its {len(printers)} printers stayed, and a"
            f" new one went to {_names(servers)}."
        )
        self._pause()

    # -- afterwards

    def run_on(self) -> None:
        """Go on until Ctrl-C; whoever kills a server gets it back."""
        stage = self._stage
        kill = "taskkill /F /PID" if os.name == "nt" else "kill -9"
        words = ", ".join(f"{kill} {stub.pid} ({name})" for name, stub in stage.servers.items())
        self._say(
            f"The story is over, and the printers talk on until Ctrl-C. Kill a server yourself:"
            f" {words}. It comes back after {_ABSENCE:.0f} s. Or be a client:"
            f" curl -k https://{stage.ground.balancer}:{stage.ports[0]}/"
        )
        while True:
            self._look()

    def end(self, *, is_interrupted: bool = False) -> None:
        """Say what there was to see, and what is next."""
        for failure in self._stage.ledger.failures():
            self.reasons.append(f"a request failed: {failure}")
        self._screen.close("\n".join(self._last_words(is_interrupted=is_interrupted)))

    def _last_words(self, *, is_interrupted: bool) -> Iterator[str]:
        tally = self._stage.ledger.tally()
        elapsed = in_words(time.monotonic() - self._began)
        yield f"The demo {'was interrupted' if is_interrupted else 'is over'} after {elapsed}."
        yield ""
        yield from _item(f"{tally.answered} requests were answered and {tally.failed} failed.")
        for fact in self.facts:
            yield from _item(fact)
        if self.reasons:
            yield ""
            yield "WRONG:"
            for reason in self.reasons:
                yield from _item(reason)
        if not is_interrupted:
            yield ""
            yield from _about(self._stage.check, self._stage.config.backends[0].servers[0].check)
            yield from _next_steps()

    # -- telling and looking

    def _say(self, text: str) -> None:
        self._screen.event(time.monotonic() - self._began, text)

    def _learn(self, fact: str) -> None:
        """Keep what a scene has shown, unless something was wrong."""
        if not self.reasons:
            self.facts.append(fact)

    def _demand(self, is_so: bool, reason: str) -> bool:
        """Return what was demanded; if it is not so, that is a reason, and said."""
        if not is_so:
            self.reasons.append(reason)
            self._say(f"WRONG: {reason}.")
        return is_so

    def _until(self, fact: Callable[[], bool], reason: str) -> None:
        """Look on until something is so; ``reason`` is what to say if it never is."""
        deadline = time.monotonic() + _LIMIT
        while not fact() and time.monotonic() < deadline:
            self._look()
        self._demand(fact(), reason)

    def _pause(self) -> None:
        until = time.monotonic() + _BREATH * self._pace
        while time.monotonic() < until:
            self._look()

    def _look(self) -> None:
        """Show how things are, and start again who was killed by somebody else."""
        self._tell_changes()
        now = time.monotonic()
        for name, stub in self._stage.servers.items():
            if not stub.is_running and name not in self._absent:
                self._absent[name] = now + _ABSENCE
                self._say(f"{name} was KILLED by somebody else; it comes back in {_ABSENCE:.0f} s.")
            if self._absent.get(name, math.inf) <= now:
                self._start(name)
                self._say(f"{name} is started again (process {stub.pid}).")
        self._screen.update(self._stage.view(now - self._began))
        if self.ctrl_c.is_pressed:
            raise _Interrupted
        time.sleep(_LOOK)

    def _tell_changes(self) -> None:
        owners = {group.name: group.title for group in self._stage.groups}
        with contextlib.suppress(queue.Empty):
            while True:
                change = self._stage.changes.get_nowait()
                # That it was drained has been said already.
                if change.backend in owners and {change.old, change.new} == {"UP", "DOWN"}:
                    title = owners[change.backend]
                    self._say(f"The checks of {title} say that {change.server} is {change.new}.")

    # -- what the scenes have in common

    def _busiest(self) -> str:
        """Return the server with the most printers."""
        return max(self._stage.servers, key=lambda server: len(self._printers(server)))

    def _printers(self, server: str) -> list[int]:
        """Return the printers of a server; to keep the words short, those of the first group."""
        owners, first = self._stage.ledger.owners(), self._stage.groups[0].name
        return [n for n in self._stage.printers if owners.get((n, first)) == server]

    def _start(self, name: str) -> None:
        stub = self._stage.servers[name]
        stub.start()
        stub.wait()
        self._absent.pop(name, None)

    def _newcomer(self, server: str) -> set[str]:
        """Let a printer begin that the hash gives to ``server``; return who serves it."""
        began = time.monotonic()
        printer = self._stage.add_printer(server).number
        self._hear(began, {printer}, f"printer {printer} was not served on all ports")
        servers = {a.server for a in self._stage.ledger.since(began) if a.printer == printer}
        names = _names(servers)
        self._say(f"Printer {printer} is new; its hash: {server}; its server: {names}.")
        return servers

    def _hear(self, instant: float, printers: Iterable[int], reason: str) -> None:
        """Wait until these printers have had an answer at each port since ``instant``."""
        stage = self._stage
        wanted = {(printer, port) for printer in printers for port in stage.ports}
        self._until(
            lambda: wanted <= {(a.printer, a.port) for a in stage.ledger.since(instant)}, reason
        )

    def _await_state(self, server: str, word: str) -> None:
        """Wait until the balancer takes a server for ``word`` in every group, without doubt."""
        self._until(
            lambda: set(self._stage.states()[server]) == {word},
            f"the balancer did not take {server} for {word}",
        )
        self._tell_changes()

    def _hear_all(self, instant: float, when: str) -> bool:
        """Wait for everybody at each port, and see that each printer has one server in a group."""
        stage = self._stage
        self._hear(instant, tuple(stage.printers), f"not every printer was served {when}")
        self._demand(not stage.mistold(instant), f"servers were told wrong addresses {when}")
        servers: dict[tuple[int, str], set[str]] = {}
        names = {port: group.name for group in stage.groups for port in group.ports}
        for answer in stage.ledger.since(instant):
            servers.setdefault((answer.printer, names[answer.port]), set()).add(answer.server)
        torn = [key for key, found in servers.items() if len(found) > 1]
        return self._demand(not torn, f"printers had several servers {when}: {_keys(torn)}")


def _numbers(printers: Iterable[int]) -> str:
    found = sorted(printers)
    numbers = " ".join(map(str, found))
    return f"{len(found)} printers: {numbers}" if len(found) > 1 else f"printer {numbers}"


def _names(servers: Iterable[str]) -> str:
    return " and ".join(sorted(set(servers))) or "nobody"


def _keys(found: Iterable[Move | tuple[int, str]]) -> str:
    """Return printers with their groups, in words."""
    return ", ".join(sorted({f"{key[0]} ({key[1]})" for key in found}))


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False
    )


def _about(real: Check, ours: Check | None) -> Iterator[str]:
    """Yield what is not real about the demo."""
    assert ours is not None
    minute = real.rise * real.interval
    text = (
        f"The demo is in a hurry: it checks every {ours.interval:g} s and trusts a server again"
        f" after {ours.rise} good checks. The real preset checks every {real.interval:g} s, takes a"
        f" server to be down after {real.fall} bad ones in a row, and trusts it again after"
        f" {real.rise} good ones, which is {'a minute' if minute == 60 else f'{minute:g} s'}."
    )
    yield from textwrap.wrap(text, _WIDTH)
    yield ""


def _next_steps() -> Iterator[str]:
    python = Path(sys.executable).stem
    yield "What next:"
    for words, what in (
        ("demo --keep", "the same, and then kill servers yourself"),
        (
            "suite --paragon 10.0.0.11,10.0.0.12,10.0.0.13 > suite.cfg",
            "write the file for your servers",
        ),
        ("-f suite.cfg", "run it"),
    ):
        yield f"  {python} -m dsbalance {words}"
        yield f"      {what}"
