"""Those who take turns: ``roundrobin`` and ``static-rr``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .policies import Policy
from .ring import map_slots
from .servers import Offer, Server


@dataclass(eq=False)
class Turn:
    """Where a server stands: its next turn, its last, what it is owed beyond whole turns."""

    name: str
    share: int = 0
    line: str = ""
    key: int = 0
    next: int = 0
    last: int = 0
    owed: int = 0


class RoundRobin(Policy):
    """Three lines, of those whose round has yet to begin, is under way, and comes after it.

    The lines are one list; within a line the lowest key is first, and among equals whoever came
    first. Time is counted in turns: in a round each server has as many as its share.
    """

    reason = "roundrobin"

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.round = 0
        self.now = 0
        self.coming = 0
        self.is_begun = False

    # -- those who come and go

    def adapt(self, servers: Sequence[Server]) -> None:
        shares = {server.name: server.share for server in servers}
        if not self.is_begun:
            self.is_begun = True
            self.coming = self.round = self.now = sum(shares.values())
            for name, share in shares.items():
                self.begin(Turn(name, share))
            return
        for turn in self.turns:
            if turn.line and turn.name not in shares:
                turn.line = ""
                self.coming -= turn.share
        for name, share in shares.items():
            known = self.turn(name)
            if not known.line:
                self.come(known, share)
            elif known.share != share:
                self.weigh(known, share)

    def turn(self, name: str) -> Turn:
        """What is known of a server; one that was gone still has what it was owed."""
        return next((turn for turn in self.turns if turn.name == name), Turn(name))

    def come(self, turn: Turn, share: int) -> None:
        turn.share = share
        self.coming += share
        turn.next = self.now + (self.coming + self.round - self.now) // share
        self.requeue(turn)

    def weigh(self, turn: Turn, share: int) -> None:
        self.coming += share - turn.share
        turn.share = share
        if turn.line == "init":
            self.begin(turn)
            return
        if turn.line == "next":
            turn.next += self.round
        before, step = turn.next, self.coming // share
        turn.next = min(turn.last + step, before)
        turn.owed = 0
        if turn.next < self.now + 2:
            turn.next = self.now + step
        self.requeue(turn)

    # -- the lines

    def put(self, turn: Turn, line: str, key: int) -> None:
        """Let a server stand in a line, behind its equals."""
        self.turns = [other for other in self.turns if other is not turn] + [turn]
        turn.line, turn.key = line, key

    def begin(self, turn: Turn) -> None:
        """Let a server wait for its round to begin."""
        self.put(turn, "init", 4096 - turn.share)

    def requeue(self, turn: Turn) -> None:
        if turn.next >= 2 * self.round or turn.next >= self.round + self.coming:
            turn.next -= self.round
            self.put(turn, "next", 4096 - turn.share)
        else:
            self.put(turn, "now", 256 * turn.next + (4096 + turn.owed - turn.share) // 16)

    def first(self, line: str) -> Turn | None:
        standing = [turn for turn in self.turns if turn.line == line]
        return min(standing, key=lambda turn: turn.key, default=None)

    def swap(self) -> None:
        """End a round: who was to come after it begins the next one."""
        for turn in self.turns:
            turn.line = {"next": "init", "init": "next"}.get(turn.line, turn.line)
        self.now = self.round = self.coming

    def take(self) -> Turn | None:
        """Take whoever is next out of the lines, and work out the turn after."""
        running, fresh = self.first("now"), self.first("init")
        turn = running if fresh is None or (running and running.next <= self.now) else fresh
        if turn is None:
            return None
        if turn is fresh:
            turn.next = turn.owed = 0
        if not turn.next:
            turn.next = self.now
        turn.last = turn.next
        turn.next += self.coming // turn.share
        turn.owed += self.coming % turn.share
        if turn.owed >= turn.share:
            turn.owed -= turn.share
            turn.next += 1
        turn.line = ""
        self.now += 1
        return turn

    # -- the choice

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        free = {server.name for server in offer.servers if not server.is_full}
        if not self.round:
            self.now = self.round = self.coming
        aside: list[Turn] = []
        avoided: Turn | None = None
        is_swapped = False
        while True:
            turn = self.take()
            if turn is None:
                if is_swapped:
                    turn = avoided
                    break
                self.swap()
                is_swapped = True
                continue
            if turn.name in free and turn.name != avoid:
                break
            if turn.name in free:
                avoided = turn
            aside.append(turn)
        if turn is not None:
            self.requeue(turn)
        # The last one first.
        for other in aside[::-1]:
            if other is turn:
                continue
            if is_swapped:
                self.begin(other)
            else:
                self.requeue(other)
        return turn.name if turn else ""


class StaticRoundRobin(Policy):
    """A map of all turns, walked round and round; it is made anew when somebody comes or goes."""

    reason = "static-rr"

    def __init__(self) -> None:
        self.at = 0

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        owners = map_slots([server.weight for server in offer.servers], offer.weights)
        if not owners:
            return ""
        # The map may have become smaller than when it was walked last.
        self.at = self.at if self.at < len(owners) else 0
        found = {}
        for step in range(len(owners)):
            at = (self.at + step) % len(owners)
            server = offer.servers[owners[at]]
            if not server.is_full:
                found[server.name == avoid] = at
                if server.name != avoid:
                    break
        if not found:
            return ""
        at = found.get(False, found.get(True, 0))
        self.at = at + 1
        return offer.servers[owners[at]].name
