"""Configurations, from a seed: a policy, and some of what may stand beside it.

What the two do differently on purpose is not drawn: the list is ``docs/differences.md``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .story import Setup

POLICIES = (
    "source-consistent",
    "source-map",
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
)
_CHANCE = 0.4
_FIRST_SERVER, _FIRST_DOOR = 20_001, 21_001
_HASH_TYPES = {
    "map": ("", "hash-type map-based", "hash-type map-based sdbm avalanche"),
    "consistent": (
        "hash-type consistent",
        "hash-type consistent sdbm",
        "hash-type consistent djb2",
        "hash-type consistent wt6 avalanche",
    ),
}


@dataclass(slots=True)
class _Draft:
    """A file while it is drawn.

    Attributes:
        policy: One of ``POLICIES``.
        features: What it is to have.
        chance: What the feature in hand is drawn with.
        proxy: The lines of each proxy before its servers.
        words: The words of each server.
    """

    policy: str
    features: frozenset[str]
    chance: random.Random
    proxy: list[str] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)


def setup_of(seed: int, policies: Sequence[str] = (), features: Sequence[str] = ()) -> Setup:
    """Return the configuration of a seed, the same one each time.

    Args:
        seed: Seeds in a row take the policies in turn.
        policies: Those to take; none: all.
        features: Those to draw from; none: all.
    """
    policies = policies or POLICIES
    features = [name for name in features or FEATURES if _chance(seed, name).random() < _CHANCE]
    if "tracked" in features:
        features += ["watched", "two-proxies"]
    draft = _Draft(policies[seed % len(policies)], frozenset(features), _chance(seed, "file"))
    draft.words = [[] for _ in range(draft.chance.randint(2, 6))]
    draft.proxy += _balance(draft)
    for name, draw in FEATURES.items():
        if name in draft.features:
            draft.chance = _chance(seed, f"words of {name}")
            draw(draft)
    draft.chance = _chance(seed, "rest")
    _redispatch(draft)
    return Setup(_written(draft))


def _chance(seed: int, what: str) -> random.Random:
    """Return chance of its own for each feature, so that a new one leaves the others alone."""
    return random.Random(f"{seed} {what}")


def _balance(draft: _Draft) -> list[str]:
    name, _, kind = draft.policy.partition("-")
    if name != "source":
        return [f"balance {draft.policy}"]
    return ["balance source", *filter(None, [draft.chance.choice(_HASH_TYPES[kind])])]


# -- what may stand beside a policy


def _weights(draft: _Draft) -> None:
    least, top = draft.chance.choice(((0, 3), (1, 3), (1, 10), (1, 100), (1, 256)))
    for words in draft.words:
        words.append(f"weight {draft.chance.randint(least, top)}")


def _ids(draft: _Draft) -> None:
    pool = [*range(1, 8), 1000, 42, 2**20 + 1, 2**20 + 2]
    numbers = draft.chance.sample(pool, len(draft.words))
    for words, number in zip(draft.words, numbers, strict=True):
        if draft.chance.random() < 0.6:
            words.append(f"id {number}")


def _backups(draft: _Draft) -> None:
    count = draft.chance.randint(1, max(1, len(draft.words) // 2))
    for words in draft.chance.sample(draft.words, count):
        words.append("backup")
        if draft.chance.random() < 0.3:
            words.append("non-stick")
    if draft.chance.random() < 0.5:
        draft.proxy.append("option allbackups")


def _disabled(draft: _Draft) -> None:
    draft.chance.choice(draft.words).append("disabled")


def _queue(draft: _Draft) -> None:
    for words in draft.words:
        if draft.chance.random() < 0.7:
            words.append(f"maxconn {draft.chance.randint(1, 3)}")


def _maxqueue(draft: _Draft) -> None:
    # Who is refused at a full queue makes HAProxy look at the limit anew.
    if "minconn" in draft.features:
        return
    for words in draft.words:
        if draft.chance.random() < 0.7:
            # Without a limit of sessions there is no queue.
            limit = [] if "queue" in draft.features else [f"maxconn {draft.chance.randint(1, 3)}"]
            words += [*limit, f"maxqueue {draft.chance.randint(1, 3)}"]


def _minconn(draft: _Draft) -> None:
    draft.proxy.append(f"fullconn {draft.chance.randint(2, 12)}")
    for words in draft.words:
        words[:] = [word for word in words if not word.startswith("maxconn")]
        if draft.chance.random() < 0.8:
            most = draft.chance.randint(2, 6)
            words.append(f"maxconn {most} minconn {draft.chance.randint(1, most)}")


def _bounded(draft: _Draft) -> None:
    if draft.policy == "source-consistent":
        draft.proxy.append(f"hash-balance-factor {draft.chance.choice((101, 110, 125, 200, 400))}")


def _persist(draft: _Draft) -> None:
    draft.proxy.append("option persist")


def _retries(draft: _Draft) -> None:
    draft.proxy.append(f"retries {draft.chance.randint(0, 3)}")


def _watched(draft: _Draft) -> None:
    for words in draft.words:
        words.append("check inter 300ms fastinter 30ms downinter 30ms rise 2 fall 2")


def _observed(draft: _Draft) -> None:
    # A check that comes when a server leaves maintenance, earlier here, would hide what it found.
    if draft.features & {"watched", "disabled"}:
        return
    for words in draft.words:
        if draft.chance.random() < 0.7:
            limit = draft.chance.randint(1, 3)
            deed = draft.chance.choice(("fastinter", "fail-check", "sudden-death", "mark-down"))
            words.append(f"check inter 1d observe layer4 error-limit {limit} on-error {deed}")


def _shutdown(draft: _Draft) -> None:
    for words in draft.words:
        if draft.chance.random() < 0.6:
            words.append("on-marked-down shutdown-sessions")


def _return(draft: _Draft) -> None:
    for words in draft.words:
        if draft.chance.random() < 0.5:
            words.append("on-marked-up shutdown-backup-sessions")


def _slowstart(draft: _Draft) -> None:
    for words in draft.words:
        if draft.chance.random() < 0.6:
            words.append("slowstart 1s")


def _nothing(_: _Draft) -> None:
    """Leave it to the writing of the file: it concerns whole proxies."""


FEATURES: dict[str, Callable[[_Draft], None]] = {
    "weights": _weights,
    "ids": _ids,
    "backups": _backups,
    "disabled": _disabled,
    "stick": _nothing,
    "two-proxies": _nothing,
    "queue": _queue,
    "retries": _retries,
    "watched": _watched,
    "tracked": _nothing,
    "shutdown": _shutdown,
    "return": _return,
    "maxqueue": _maxqueue,
    "minconn": _minconn,
    "bounded": _bounded,
    "persist": _persist,
    "observed": _observed,
    "slowstart": _slowstart,
}
"""What may stand beside a policy -> what draws its words."""


# -- the file


def _redispatch(draft: _Draft) -> None:
    choices = ["option redispatch", *(f"option redispatch {n}" for n in (-1, 1, 2))]
    # Those who wait for a server that is lost are treated differently without it, on purpose.
    if not draft.features & {"queue", "maxqueue", "minconn"}:
        choices += ["", ""]
    draft.proxy += filter(None, [draft.chance.choice(choices)])


def _written(draft: _Draft) -> str:
    proxies = ["alpha", "beta"] if "two-proxies" in draft.features else ["alpha"]
    # Two that share a table are of more use than two that do not.
    owner = draft.chance.choice([*proxies, "memory"]) if "stick" in draft.features else ""
    words = (draft.policy, *(name for name in FEATURES if name in draft.features))
    lines = [
        f"# kind: {' '.join(words)}",
        "global",
        "    nbthread 1",
        "    stats socket SOCKET level admin",
        "defaults",
        "    mode tcp",
        "    timeout connect 50ms",
        "    timeout queue 1h",
        "    timeout client 1h",
        "    timeout server 1h",
    ]
    table = _table(draft.chance)
    if owner == "memory":
        lines += ["backend memory", table]
    for index, name in enumerate(proxies):
        lines += [f"listen {name}", f"    bind DOOR:{_FIRST_DOOR + index}"]
        lines += [f"    {line}" for line in draft.proxy]
        if owner:
            lines += [table] if name == owner else []
            lines += [f"    {rule}" for rule in _rules(draft.chance, name, owner)]
        lines += [
            " ".join((f"    server s{n} SERVERS:{_FIRST_SERVER + n - 1}", *words))
            for n, words in enumerate(_words(draft, name), 1)
        ]
    return "\n".join([*lines, ""])


def _words(draft: _Draft, proxy: str) -> list[list[str]]:
    """Return the words of each server of a proxy; those of the second one may have a leader."""
    if proxy == "alpha" or "tracked" not in draft.features:
        return draft.words
    return [
        [word for word in words if not word.startswith("check")] + [f"track alpha/s{number}"]
        for number, words in enumerate(draft.words, 1)
    ]


def _table(chance: random.Random) -> str:
    kind = chance.choice(("ip", "ip", "ipv6"))
    size = chance.choice(("10k", "10k", "5 nopurge"))
    key = chance.choice(("", "", " srvkey name", " srvkey addr"))
    return f"    stick-table type {kind} size {size} expire 1h{key}"


def _rules(chance: random.Random, proxy: str, owner: str) -> list[str]:
    where = "" if proxy == owner and chance.random() < 0.5 else f" table {owner}"
    kinds = (["on"], ["on"], ["match", "store-request"], ["match"], ["store-request"])
    return [f"stick {kind} src{where}" for kind in chance.choice(kinds)]
