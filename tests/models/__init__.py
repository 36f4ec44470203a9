"""What the core has to do, said once more: slowly, plainly, and without a line of its code.

    model                     of                   keeps
    Ring                      hashring.HashRing    every node in one list, walked from end to end
    map_slots, share_slots    hashmap              nothing
    Gate, Watch               gate, placement      a state, and the results in a row against it
    Consistent, MapBased      policy               nothing
    RoundRobin                turns                one list of turns
    StaticRoundRobin          turns                where it was
    LeastConn                 policy               the servers as they stand in line
    First, Random             policy               nothing
    Table                     sticky.StickTable    rows with the time of their last touch
    Relay                     relay.next_step      two streams of bytes, and who has gone how
    Balancer                  balancer.Balancer    sessions, in the order in which they came there

What can be worked out is not kept: each question is answered anew from what has happened.

Sources: the HAProxy 2.6 manual, and for what it leaves open what was observed on HAProxy 2.6.12;
RFC 9293 for the relay; the specification of XXH32; where we differ from HAProxy on purpose, the
module's docstring.
"""

from .balancer import Balancer, News, Session
from .gate import Gate, Watch
from .policies import Consistent, First, LeastConn, MapBased, Policy, Random
from .relay import Relay
from .ring import (
    CIRCLE,
    Ring,
    base_of,
    load_slots,
    map_slots,
    mixed,
    nobody,
    share_slots,
    source_value,
    xxh32,
)
from .servers import FULL, Offer, Server, throttle, warmth_after
from .table import Row, Table
from .turns import RoundRobin, StaticRoundRobin

__all__ = [
    "CIRCLE",
    "FULL",
    "Balancer",
    "Consistent",
    "First",
    "Gate",
    "LeastConn",
    "MapBased",
    "News",
    "Offer",
    "Policy",
    "Random",
    "Relay",
    "Ring",
    "RoundRobin",
    "Row",
    "Server",
    "Session",
    "StaticRoundRobin",
    "Table",
    "Watch",
    "base_of",
    "load_slots",
    "map_slots",
    "mixed",
    "nobody",
    "share_slots",
    "source_value",
    "throttle",
    "warmth_after",
    "xxh32",
]
