"""Bugs of bodies whose length is known before."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/bodies.py",
    tests=("tests/test_bodies.py",),
    mutants=(
        Mutant(
            bug="what stands behind a body goes to the server as a part of it",
            old="            data = data[:count]\n",
            new="",
        ),
        Mutant(
            bug="a body that comes to its last byte exactly waits for one more",
            old="if count >= self.blind:",
            new="if count > self.blind:",
        ),
        Mutant(
            bug="what was spliced does not count",
            old="        self.blind -= count\n        self.is_complete",
            new="        self.is_complete",
        ),
        Mutant(
            bug="a body that was spliced to its end goes on",
            old="        self.is_complete = not self.blind\n",
            new="",
        ),
    ),
)
