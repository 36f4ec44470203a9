"""Who owns a slot: HAProxy's map of a backend, filled anew at each change. No I/O, no clock.

    what                  where
    slots                 one for each unit of weight, when the weights have no common divisor left
    owner of a key        whose slot number ``key modulo slots`` is
    turns of static-rr    the slots in their order

The shares are exact, but whoever loses a member moves most keys.

Source: the HAProxy 2.6 manual, ``hash-type map-based`` and ``balance static-rr``; the order of the
slots was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Generic

from dsbalance.hashring import MAX_WEIGHT, M


class HashMap(Generic[M]):
    """HAProxy's ``hash-type map-based``: a table of slots, as many for each as its weight says.

    It is never changed, so any thread may read it; whoever loses a member makes a new one.

    Attributes:
        slots: Whose each slot is.
    """

    __slots__ = ("slots",)

    def __init__(self, weights: Iterable[tuple[M, int]], all_weights: Sequence[int] = ()) -> None:
        """Fill the table, in O(slots * members).

        Args:
            weights: The usable members in the order of the file, from 0 (no slot) to 256.
            all_weights: What the file says for every server, usable or not: their common divisor
                makes the table smaller. Empty: those of ``weights``.

        Raises:
            ValueError: A weight is out of its range.
        """
        members = [(member, weight) for member, weight in weights if weight]
        for _, weight in members:
            if not 0 < weight <= MAX_WEIGHT:
                raise ValueError(f"weight must be 0 to {MAX_WEIGHT}, not {weight}")
        divisor = math.gcd(*(all_weights or [weight for _, weight in members]))
        # Rounded up: a weight that was changed since need not be a multiple.
        shares = [-(-weight // (divisor or 1)) for _, weight in members]
        total = sum(shares)
        scores = [0] * len(shares)
        self.slots: list[M] = []
        for _ in range(total):
            # Whoever has the most full rounds, the first among equals, gets the slot and pays one.
            scores = [score + share for score, share in zip(scores, shares, strict=True)]
            rounds = [(score + total) // total for score in scores]
            best = rounds.index(max(rounds))
            scores[best] -= total
            self.slots.append(members[best][0])

    def lookup_hash(self, value: int) -> M | None:
        """Return the owner of a hash (:func:`source_hash`), or None if nobody has a weight."""
        return self.slots[value % len(self.slots)] if self.slots else None
