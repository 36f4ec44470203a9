"""Why a policy chooses whom it chooses: the steps of one choice in words. Changes nothing. No I/O.

    policy                  topics, in this order
    source, consistent      hash, ring, nearest; limit, if there is one; avoid, if asked; order
    source, map-based       hash, slot
    random                  draw
    any other that ships    turn
    one of the user's own   policy
    whatever it is          only, or nobody, where there is no choice

    a backend at work       entry; servers and the policy's topics, unless the entry decides

It reads what the policy and its candidates know, and decides nothing itself: a test holds that the
server it names is the one that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field

from dsbalance.balancer import Balancer
from dsbalance.candidates import Candidates, Client, Policy, Reason
from dsbalance.hashing import Random, SourceConsistent, SourceMap
from dsbalance.hashring import NODES_PER_WEIGHT, source_hash
from dsbalance.memory import Found
from dsbalance.model import Server
from dsbalance.policy import BuiltIn, Guarded

_U32 = 0xFFFF_FFFF
# What a policy goes by that keeps turns or looks at loads.
_RULES: Mapping[Reason, str] = {
    Reason.ROUNDROBIN: "each server has its turn, the heavier ones more often",
    Reason.STATIC_RR: "each server has its turn, in an order that the weights of the file fix",
    Reason.LEASTCONN: "it is whoever has the fewest sessions for its weight",
    Reason.FIRST: "it is the lowest id that has room",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a decision.

    Attributes:
        topic: What it is about, one word; the words stay.
        text: What there is to say, in sentences.
        facts: The same as numbers and names, which JSON can hold.
    """

    topic: str
    text: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def explain_choice(
    policy: BuiltIn | Guarded, client: Client, servers: Candidates, avoid: Server | None = None
) -> tuple[Step, ...]:
    """Return the steps by which a policy would choose now.

    Args:
        policy: The one that would be asked; it has been told of ``servers``, and is not changed.
        client: Who comes.
        servers: Those that it is offered.
        avoid: The one that has just failed.
    """
    if not servers.servers:
        return (Step(topic="nobody", text="Nobody can take a client."),)
    if isinstance(policy, Guarded):
        text = "A policy of your own decides; it is asked when a client comes."
        return (Step(topic="policy", text=text),)
    if isinstance(policy, Random):
        return (_draw(policy),)
    if not isinstance(policy, SourceConsistent | SourceMap):
        return (_turn(policy, client, servers, avoid),)
    if len(servers) == 1:
        only = servers.servers[0].name
        text = f"{only} is the only one to choose from, so nothing is hashed."
        return (Step(topic="only", text=text, facts={"server": only}),)
    if isinstance(policy, SourceMap):
        return (_hash(client, policy.hash_of(client)), _slot(policy, client))
    return tuple(_by_ring(policy, client, servers, avoid))


def explain_servers(balancer: Balancer) -> Step:
    """Tell who can be chosen, and of everybody else why not."""
    chosen = [server.name for server in balancer.candidates]
    others = {}
    for name, state in balancer.states.items():
        if name in chosen:
            continue
        if not state.is_usable:
            is_weightless = state.is_running and not state.server.weight
            others[name] = "has weight 0" if is_weightless else f"is {state.word}"
        else:
            others[name] = "is a backup, for when nobody else is left"
    kind = " (backups, for nobody else is left)" if balancer.candidates.is_backup else ""
    parts = [f"To choose from: {', '.join(chosen) or 'nobody'}{kind}."]
    parts += (f"{name} {why}." for name, why in others.items())
    return Step(topic="servers", text=" ".join(parts), facts={"usable": chosen, "others": others})


def explain_now(balancer: Balancer, client: Client, now: float) -> tuple[Step, ...]:
    """Return the steps by which a backend at work would send a client to a server now."""
    steps = []
    for found in balancer.memory.look_up(client, now):
        step = _entry(found)
        steps.append(step)
        if found.is_kept:
            return tuple(steps)
    if not steps:
        steps.append(Step(topic="entry", text="No stick entry says where it goes."))
    steps.append(explain_servers(balancer))
    return (*steps, *explain_choice(balancer.policy, client, balancer.candidates))


def _entry(found: Found) -> Step:
    """Tell what one entry does."""
    text = f"A stick entry says {found.says}"
    if found.state is None:
        text += ", which is no server of this backend."
    elif found.is_kept:
        text += ", and so it goes there."
    else:
        text += f", which is {found.state.word}."
    name = None if found.state is None else found.state.name
    facts = {"says": found.says, "server": name, "kept": found.is_kept}
    return Step(topic="entry", text=text, facts=facts)


def _by_ring(
    policy: SourceConsistent, client: Client, servers: Candidates, avoid: Server | None
) -> Iterator[Step]:
    ring = policy.ring
    key = source_hash(client.packed)
    yield _hash(client, policy.hash_of(client))
    yield _ring(ring.weights)
    yield _nearest(policy, client)
    if policy.factor or policy.bound is not None:
        refused = policy.refused(servers)
        yield _limit(policy, servers, refused, ring.lookup(key, avoid=refused.__contains__))
    if avoid is not None:
        refused = policy.refused(servers, avoid)
        following = ring.lookup(key, avoid=refused.__contains__)
        text = f"{avoid.name} has just failed: upwards from the owner's node, it is {following}."
        yield Step(topic="avoid", text=text, facts={"server": following})
    order = ring.preference(key)
    text = f"As one after the other is lost: {', then '.join(order)}."
    yield Step(topic="order", text=text, facts={"servers": order})


def _hash(client: Client, value: int) -> Step:
    """Tell how an address becomes a number."""
    key = source_hash(client.packed)
    if len(client.packed) == 4:
        text = f"{client.address} as a number is {key:#010x}"
    else:
        words = (client.packed[at : at + 4].hex() for at in range(0, 16, 4))
        text = f"{client.address} is {' xor '.join(words)} = {key:#010x}"
    # A number that the avalanche leaves as it is may as well not have been mixed.
    is_mixed = value != key
    text += f", which the avalanche mixes to {value:#010x}." if is_mixed else ", and is not mixed."
    return Step(topic="hash", text=text, facts={"key": key, "mixed": is_mixed, "hash": value})


def _ring(weights: Mapping[str, int]) -> Step:
    shares = ", ".join(f"{name} {nodes}" for name, nodes in weights.items())
    text = (
        f"The ring, of all numbers below 2^32, has {sum(weights.values())} nodes, "
        f"{NODES_PER_WEIGHT} for each unit of weight: {shares}."
    )
    return Step(topic="ring", text=text, facts={"nodes": dict(weights)})


def _nearest(policy: SourceConsistent, client: Client) -> Step:
    """Tell between which nodes a hash lies, and whose it is therefore."""
    value = policy.hash_of(client)
    below, above = policy.ring.neighbours(value)
    owner = policy.ring.lookup_hash(value)
    down, up = (value - below.place) & _U32, (above.place - value) & _U32
    if below.member == above.member:
        verdict = f"Both are {owner}'s"
    elif down == up:
        verdict = f"Both are equally near, and the lower one wins: {owner}"
    else:
        verdict = f"The nearer one wins: {owner}"
    text = (
        f"The node below is {below.member}'s at {below.place:#010x}, {down:,} away; "
        f"the node above is {above.member}'s at {above.place:#010x}, {up:,} away. {verdict}."
    )
    facts = {
        "hash": value,
        "below": {"server": below.member, "place": below.place, "distance": down},
        "above": {"server": above.member, "place": above.place, "distance": up},
        "server": owner,
    }
    return Step(topic="nearest", text=text, facts=facts)


def _limit(
    policy: SourceConsistent, servers: Candidates, refused: Set[str], winner: str | None
) -> Step:
    """Tell who is passed over for having more than its share, and who takes the client then."""
    rules = []
    if policy.factor:
        rules.append((f"hash-balance-factor {policy.factor}", "sessions", servers.served))
    if policy.bound is not None:
        rules.append((f"bounded-clients {policy.bound}", "stick entries", servers.clients))
    parts = []
    for rule, what, count in rules:
        counts = ", ".join(f"{server.name} {count(server)}" for server in servers)
        parts.append(f"{rule} looks at the {what}: {counts}.")
    passed = [server.name for server in servers if server.name in refused]
    if passed:
        have = "has" if len(passed) == 1 else "have"
        parts.append(f"{' and '.join(passed)} {have} too many; the first other is {winner}.")
    else:
        parts.append("Nobody has too many.")
    facts = {"passed_over": passed, "server": winner}
    return Step(topic="limit", text=" ".join(parts), facts=facts)


def _slot(policy: SourceMap, client: Client) -> Step:
    slots = policy.slots
    number = policy.hash_of(client) % len(slots)
    text = (
        f"Of {len(slots)} slots, the remainder gives number {number}, which is {slots[number]}'s."
    )
    facts = {"slots": len(slots), "slot": number, "server": slots[number]}
    return Step(topic="slot", text=text, facts=facts)


def _draw(policy: Random) -> Step:
    text = (
        f"The address plays no part: {policy.draws} are drawn by their weights, and the one with "
        "the fewest sessions for its weight takes the client."
    )
    return Step(topic="draw", text=text, facts={"draws": policy.draws})


def _turn(policy: Policy, client: Client, servers: Candidates, avoid: Server | None) -> Step:
    # A copy takes the turn; what is offered is not copied, for it leads to every session.
    copy: Policy = deepcopy(policy, {id(servers): servers})
    server = copy.choose(client, servers, avoid)
    name = None if server is None else server.name
    reason: Reason = policy.reason  # type: ignore[attr-defined]  # it is one that ships
    loads = {each.name: servers.load(each) for each in servers}
    carried = ", ".join(f"{each} {load}" for each, load in loads.items())
    verdict = f"Now it is {name}." if name else "All are full."
    text = f"The address plays no part: {_RULES[reason]}. Sessions: {carried}. {verdict}"
    return Step(topic="turn", text=text, facts={"sessions": loads, "server": name})
