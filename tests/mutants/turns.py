"""Bugs of those who take turns."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/turns.py",
    tests=("tests/test_turns.py", "tests/test_policy_model.py"),
    mutants=(
        Mutant(
            bug="the first round begins with the lightest",
            old="self._init.add(turn, _HEAVIEST - share)\n                else:",
            new="self._init.add(turn, share)\n                else:",
        ),
        Mutant(
            bug="those who were full go back in the order in which they were passed over",
            old="for turn in reversed(aside):",
            new="for turn in aside:",
        ),
        Mutant(
            bug="whoever was full when a round ended keeps the turn that it had in the old one",
            old="if is_new_round:\n                self._init.add(",
            new="if not aside:\n                self._init.add(",
        ),
        Mutant(
            bug="what a division left over is lost, and a heavy server gets too many turns",
            old="turn.rest += rest",
            new="turn.rest = rest",
        ),
        Mutant(
            bug="the one that just failed is not even taken where there is no other",
            old="if chosen is None and avoided is not None:",
            new="if chosen is not None and avoided is not None:",
        ),
        Mutant(
            bug="whoever is taken at last, though it just failed, waits for the next round",
            old="aside.remove(avoided)\n            self._put_back(avoided)",
            new="pass",
        ),
        Mutant(
            bug="a server that comes back has forgotten what it is owed",
            old="turn.share = share\n                if is_start:",
            new="turn.share = share\n                turn.rest = 0\n                if is_start:",
        ),
        Mutant(
            bug="a server that comes has its first turn as if the round had just begun",
            old="left = self._next_length + self._length - self._now",
            new="left = self._next_length",
        ),
        Mutant(
            bug="a server whose weight falls waits from its last turn on, however soon it was due",
            old="turn.due = min(turn.last + step, turn.due)",
            new="turn.due = turn.last + step",
        ),
        Mutant(
            bug="a weight that is changed makes a turn of the past due at once",
            old="if turn.due < self._now + 2:",
            new="if turn.due < self._now:",
        ),
        Mutant(
            bug="a change of weight leaves the rest of a division by another one",
            old="turn.rest = 0\n        if turn.due",
            new="if turn.due",
        ),
        Mutant(
            bug="a weight that is changed for the next round counts from this one",
            old="if turn.tree is self._next:",
            new="if turn.tree is self._init:",
        ),
        Mutant(
            bug="among those who are due at once the rest does not decide",
            old="(_HEAVIEST + turn.rest - turn.share)",
            new="(_HEAVIEST - turn.share)",
        ),
        Mutant(
            bug="a round that a change makes shorter still has the turns of the longer one",
            old="min(2 * self._length, self._length + self._next_length)",
            new="2 * self._length",
        ),
        Mutant(
            bug="static-rr begins anew whenever somebody comes or goes",
            old="self._slots = HashMap(",
            new="self._position = 0\n        self._slots = HashMap(",
        ),
        Mutant(
            bug="static-rr goes on behind whoever was full, and not behind whoever was taken",
            old="self._position = index + 1",
            new="self._position = start + 1",
        ),
        Mutant(
            bug="static-rr makes its table from the weights of those who are up",
            old="for s in servers], servers.weights).slots",
            new="for s in servers]).slots",
        ),
    ),
)
