"""Bugs that the tests of the core have to find; ``python3 -m tests.mutants`` plants each of them.

A file holds the bugs of one part: a text of the module, and what stands in its place. Some are
those of other programs, the others are slips that a reader would easily pass over.
"""

from . import balancer, bodies, fates, gate, hashing, loads, policies, relay, ring, table, turns
from .planting import Part

PARTS: dict[str, Part] = {
    "ring": ring.PART,
    "table": table.PART,
    "gate": gate.PART,
    "hashing": hashing.PART,
    "turns": turns.PART,
    "loads": loads.PART,
    "policies": policies.PART,
    "balancer": balancer.PART,
    "relay": relay.PART,
    "fates": fates.PART,
    "bodies": bodies.PART,
}
