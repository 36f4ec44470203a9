"""Bugs of the stick table."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/sticky.py",
    tests=("tests/test_sticky.py", "tests/test_sticky_model.py"),
    mutants=(
        Mutant(
            # Of cachetools: after a mass expiry in a table of 1e6 the next call takes 782 ms.
            bug="all that has expired is swept by the next call",
            old="self.sweep(now, _SWEEP)\n        if not self.remove(key):",
            new="self.sweep(now, len(self))\n        if not self.remove(key):",
        ),
        Mutant(
            # The way to its first key leads over the slots of all that were deleted there, and the
            # insertion that finds it full copies it.
            bug="the table is one plain dict that is deleted from at its front",
            old="self._ranking = Ranking(math.ceil(size / _SHARD_SIZE))",
            new="self._ranking = Ranking(1)",
        ),
        Mutant(
            # As observed on HAProxy 2.6.12.
            bug="a source that is known costs somebody an entry in a full table",
            old="        if not self.remove(key):\n"
            "            if self.normalise(key) != key:\n"
            '                raise ValueError(f"{key!r} is not a key of this table")\n'
            "            if len(self) == self.size and not self._make_room(now):\n"
            "                return False\n",
            new="        if self.normalise(key) != key:\n"
            '            raise ValueError(f"{key!r} is not a key of this table")\n'
            "        if len(self) == self.size and not self._make_room(now):\n"
            "            return False\n"
            "        self.remove(key)\n",
        ),
        Mutant(
            # As observed on HAProxy 2.6.12.
            bug="the TTL of an entry in use runs on from when its session began",
            old="self._ranking.append(shard, key, complex(now, number))",
            new="self._ranking.append(shard, key, complex(now - self._ttl, number))",
        ),
        Mutant(
            bug="the first of two sessions to end lets the entry go",
            old="if uses > 1:",
            new="if uses > 2:",
        ),
        Mutant(
            bug="who comes back to another server still counts for the old one",
            old="if entry is None or self._census.names[entry.imag] != server:",
            new="if entry is None:",
        ),
        Mutant(
            bug="a match gives an entry its time again, but leaves it where it stood in the order",
            old="entry = idle.pop(key, None)\n        if entry is None:\n"
            "            return shard.busy.get(key)\n        touched",
            new="entry = idle.get(key)\n        if entry is None:\n"
            "            return shard.busy.get(key)\n        touched",
        ),
        Mutant(
            bug="an entry answers once more at the moment when its time is over",
            old="if touched <= now - self._ttl:",
            new="if touched < now - self._ttl:",
        ),
        Mutant(
            bug="a look prolongs an entry",
            old="return None if entry.real <= now - self._ttl else self._census.names[entry.imag]",
            new="return self.match(key, now)",
        ),
        Mutant(
            bug="what is stored under a session whose entry was removed expires under it",
            old="        if key in shard.uses:\n            shard.busy[key] = server",
            new="        if key in shard.busy:\n            shard.busy[key] = server",
        ),
        Mutant(
            bug="a client that comes by IPv4 to an IPv6 socket is another one",
            old="return packed[12:] if packed.startswith(_MAPPED) else packed",
            new="return packed",
        ),
        Mutant(
            bug="the shard that was touched first gives its oldest, whichever is older by now",
            old="removed = self._take(self._ranking.bound if looks <= _LOOKS else now, 1)",
            new="removed = self._take(now, 1)",
        ),
    ),
)
