"""Whose turn it is: ``balance roundrobin`` and ``static-rr``, turn by turn as HAProxy. No I/O.

``static-rr`` walks through a table of slots that is filled anew when a server comes or goes.

``roundrobin`` has no table: time goes on by one with each choice, and every server knows when its
next turn is due. A round lasts as many instants as all servers have sixteenths of weight:

    tree  holds those                         by
    curr  whose turn is still to come         the instant, then the fraction that was left over
    init  who have had no turn yet            weight, the heaviest first
    next  who have had all turns of the round weight, the heaviest first

    whoever is due in ``curr`` is taken; else the first of ``init``; else the first of ``curr``
    nobody is left: ``init`` and ``next`` change places, and a round begins
    after its turn a server goes to ``curr``, or to ``next`` if its time is behind the round's end

So a weight may change, and a server come or go, in the middle of a round. Who is full is set aside
for the length of one choice; so is ``avoid``, which is taken if nobody else is left.

Source: observed on HAProxy 2.6.12, of which ``tests/data/haproxy-sequences.json`` is a record; its
manual promises the shares alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import ClassVar

from dsbalance.candidates import SHARES_PER_WEIGHT, Candidates, Client, Reason
from dsbalance.hashmap import HashMap
from dsbalance.model import Server

# The heaviest server there can be, in sixteenths.
_HEAVIEST = 256 * SHARES_PER_WEIGHT


class _Turn:
    """One server of the rotation, or one that has left it and may come back.

    Attributes:
        name: The server's.
        share: Its weight in sixteenths.
        due: The instant of its next turn; 0: it has had none in this life.
        last: The instant of its last turn.
        rest: What divisions have left over, to be paid by an instant. It outlives an absence.
        tree: Where it stands; None: nowhere.
        place: Its record there.
    """

    __slots__ = ("due", "last", "name", "place", "rest", "share", "tree")

    def __init__(self, name: str) -> None:
        self.name = name
        self.share = self.due = self.last = self.rest = 0
        self.tree: _Tree | None = None
        self.place: tuple[int, int] = (0, 0)

    def leave(self) -> None:
        """Stand nowhere; until now it has stood somewhere."""
        assert self.tree is not None
        self.tree.remove(self)
        self.tree = None


class _Tree:
    """Servers by a key, and by their arrival where keys are equal. O(servers)."""

    __slots__ = ("_arrivals", "_places", "_turns")

    def __init__(self) -> None:
        self._arrivals = 0
        self._places: list[tuple[int, int]] = []
        self._turns: dict[tuple[int, int], _Turn] = {}

    def __iter__(self) -> Iterator[_Turn]:
        return iter(self._turns.values())

    def first(self) -> _Turn | None:
        """Return who stands first; None: nobody is here."""
        return self._turns[self._places[0]] if self._places else None

    def add(self, turn: _Turn, key: int) -> None:
        """Let a server that stands nowhere stand behind those of its key."""
        self._arrivals += 1
        turn.tree = self
        turn.place = (key, self._arrivals)
        self._turns[turn.place] = turn
        insort(self._places, turn.place)

    def remove(self, turn: _Turn) -> None:
        """Forget a server that stands here."""
        del self._turns[turn.place]
        del self._places[bisect_left(self._places, turn.place)]


class RoundRobin:
    """``balance roundrobin``: each in turn, the heavier ones more often. O(servers)."""

    __slots__ = (
        "_candidates",
        "_curr",
        "_init",
        "_length",
        "_next",
        "_next_length",
        "_now",
        "_turns",
    )
    reason: ClassVar[Reason] = Reason.ROUNDROBIN

    def __init__(self) -> None:
        self._candidates: Candidates | None = None
        self._turns: dict[str, _Turn] = {}
        self._curr, self._init, self._next = _Tree(), _Tree(), _Tree()
        # Instants of this round and of the next one, and how many of this one have gone.
        self._length = self._next_length = self._now = 0

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return whose turn it is among those with room; ``avoid`` only if there is no other."""
        if servers is not self._candidates:
            self.adapt(servers)
        if not self._length:
            self._now = self._length = self._next_length
        aside: list[_Turn] = []
        avoided = chosen = None
        is_new_round = False
        while chosen is None:
            turn = self._take()
            if turn is None:
                if is_new_round:
                    break
                is_new_round = True
                self._begin_round()
                continue
            server = servers.get(turn.name)
            if servers.is_full(server):
                aside.append(turn)
            elif avoid is not None and turn.name == avoid.name:
                avoided = turn
                aside.append(turn)
            else:
                chosen = turn
                self._put_back(turn)
        if chosen is None and avoided is not None:
            chosen = avoided
            aside.remove(avoided)
            self._put_back(avoided)
        for turn in reversed(aside):
            if is_new_round:
                self._init.add(turn, _HEAVIEST - turn.share)
            else:
                self._put_back(turn)
        return None if chosen is None else servers.get(chosen.name)

    def adapt(self, servers: Candidates) -> None:
        """Take in who has come or gone, or has another weight, since the last call."""
        is_start = self._candidates is None
        self._candidates = servers
        for turn in [turn for turn in self._turns.values() if turn.name not in servers]:
            if turn.tree is not None:
                turn.leave()
                self._next_length -= turn.share
            if not servers.is_known(turn.name):
                del self._turns[turn.name]
        for server in servers:
            share = servers.shares[server.name]
            turn = self._turns.setdefault(server.name, _Turn(server.name))
            if turn.tree is None:
                self._next_length += share
                turn.share = share
                if is_start:
                    self._init.add(turn, _HEAVIEST - share)
                else:
                    self._join(turn)
            elif turn.share != share:
                self._next_length += share - turn.share
                self._reweight(turn, share)
        if is_start:
            self._length = self._now = self._next_length

    def _take(self) -> _Turn | None:
        """Take out whose turn it is in this round, and let an instant go by."""
        turn = self._curr.first()
        if turn is None or turn.due > self._now:
            fresh = self._init.first()
            if fresh is not None:
                fresh.due = fresh.rest = 0
                turn = fresh
        if turn is None:
            return None
        if not turn.due:
            turn.due = self._now
        turn.last = turn.due
        step, rest = divmod(self._next_length, turn.share)
        turn.due += step
        turn.rest += rest
        if turn.rest >= turn.share:
            turn.rest -= turn.share
            turn.due += 1
        turn.leave()
        self._now += 1
        return turn

    def _begin_round(self) -> None:
        """Let those begin again who have had all their turns."""
        self._init, self._next = self._next, self._init
        self._length = self._now = self._next_length

    def _put_back(self, turn: _Turn) -> None:
        """Let a server that stands nowhere wait for its next turn."""
        if turn.due >= min(2 * self._length, self._length + self._next_length):
            turn.due -= self._length
            self._next.add(turn, _HEAVIEST - turn.share)
            return
        key = 256 * turn.due + (_HEAVIEST + turn.rest - turn.share) // SHARES_PER_WEIGHT
        self._curr.add(turn, key)

    def _join(self, turn: _Turn) -> None:
        """Give a server that has come a first turn in proportion to its weight."""
        left = self._next_length + self._length - self._now
        turn.due = self._now + left // turn.share
        self._put_back(turn)

    def _reweight(self, turn: _Turn, share: int) -> None:
        """Move a server's next turn to where its new weight has it, but not behind the old one."""
        turn.share = share
        if turn.tree is self._init:
            turn.leave()
            self._init.add(turn, _HEAVIEST - share)
            return
        if turn.tree is self._next:
            turn.due += self._length
        turn.leave()
        step = self._next_length // share
        turn.due = min(turn.last + step, turn.due)
        turn.rest = 0
        if turn.due < self._now + 2:
            turn.due = self._now + step
        self._put_back(turn)

    def check(self) -> None:
        """Assert what is true between two choices. O(servers)."""
        standing = [turn for tree in (self._curr, self._init, self._next) for turn in tree]
        offered = self._candidates or ()
        assert sorted(turn.name for turn in standing) == sorted(s.name for s in offered)
        assert sum(turn.share for turn in standing) == self._next_length
        assert all(turn is self._turns[turn.name] and turn.rest >= 0 for turn in standing)


class StaticRoundRobin:
    """``balance static-rr``: the slots of a table, one after the other. O(servers).

    The table is filled anew at each change, in O(slots * servers); the walk goes on where it was.
    """

    __slots__ = ("_candidates", "_position", "_slots")
    reason: ClassVar[Reason] = Reason.STATIC_RR

    def __init__(self) -> None:
        self._candidates: Candidates | None = None
        self._slots: list[str] = []
        self._position = 0

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return whose slot is next among those with room; ``avoid`` only if there is no other."""
        if servers is not self._candidates:
            self.adapt(servers)
        count = len(self._slots)
        if self._position >= count:
            # Even if nobody is found: the walk goes on from there, in a larger table perhaps.
            self._position = 0
        start = self._position
        avoided = None
        for index in (*range(start, count), *range(start)):
            server = servers.get(self._slots[index])
            if servers.is_full(server):
                continue
            if avoid is None or server.name != avoid.name:
                self._position = index + 1
                return server
            avoided = index
        if avoided is None:
            return None
        self._position = avoided + 1
        return servers.get(self._slots[avoided])

    def adapt(self, servers: Candidates) -> None:
        """Fill the table anew."""
        self._candidates = servers
        self._slots = HashMap([(s.name, s.weight) for s in servers], servers.weights).slots
