"""Where one client of a configuration goes, and why: from an address to steps in words. No I/O.

    topic      tells
    arrival    where it comes in, and whom else this holds for
    entry      what the stick rules do with it
    servers    who can be chosen, and who cannot and why
    hash ...   how the policy chooses; see :mod:`dsbalance.explanation`
    decision   where it goes
    takeover   who takes it when that one is lost, and the next, and so on; for policies that hash
    turns      who gets the first new clients; for those that do not
    retry      what follows when the server refuses before a check has noticed

What it tells is what :class:`dsbalance.balancer.Balancer` did when it was tried on a copy.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from dsbalance.balancer import Balancer
from dsbalance.client_list import Address, ClientList, text_of
from dsbalance.errors import ConfigError, NoServerError
from dsbalance.explanation import Step, explain_choice, explain_servers
from dsbalance.haproxy.lexer import format_time
from dsbalance.model import Balance, Config, StickAction
from dsbalance.policy import Client, built_in, guarded, own_policy
from dsbalance.scenario import Edits, Group, Scenario, Trial, find_groups, resolve, retry

# Enough to see how the turns go round.
_TURNS = 10
_MAX_ATTEMPTS = 8
# RFC 5737: nobody's addresses.
_STRANGERS = int(IPv4Address("192.0.2.1"))
_LABEL_WIDTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Why a client goes where it goes, in one backend.

    Attributes:
        name: The backend's.
        fellows: Other backends that always decide as it does.
        client: Who comes.
        steps: In the order of the decision.
        server: Where it goes; None: it is refused, or waits for any server.
        reason: A :class:`dsbalance.policy.Reason`; empty: it is refused.
    """

    name: str
    fellows: tuple[str, ...]
    client: Address
    steps: tuple[Step, ...]
    server: str | None
    reason: str


def explain(
    config: Config,
    client: str | Address,
    *,
    backend: str | None = None,
    lose: Sequence[str] = (),
    add: Mapping[str, str] | None = None,
    weights: Mapping[str, int] | None = None,
) -> tuple[Account, ...]:
    """Tell where a client goes and why, for each backend.

    Args:
        config: What runs, or is to run. It is not changed.
        client: Its address.
        backend: As the next ones, see :func:`dsbalance.foresight.plan`.
        lose: Servers that are lost.
        add: Servers that are added.
        weights: Weights that are changed.

    >>> from dsbalance.suite import suite
    >>> config = suite(paragon=["10.0.0.11", "10.0.0.12", "10.0.0.13"])
    >>> (account,) = explain(config, "10.1.0.7")
    >>> print(account.server, account.reason, [step.topic for step in account.steps][:3])
    primary-3 hash ['arrival', 'entry', 'servers']

    Raises:
        ConfigError: The client is not one address, or something else that ``plan`` refuses.
    """
    addresses = list(ClientList([client]))
    if len(addresses) != 1:
        raise ConfigError(f"one client can be explained at a time, not {len(addresses)}")
    groups = find_groups(config, backend)
    scenario = Scenario(lose=tuple(lose), add=dict(add or {}), weights=dict(weights or {}))
    edits = resolve(scenario, config, groups)
    return tuple(_Inquiry(config, group, edits, addresses[0]).account() for group in groups)


def account_lines(account: Account, width: int = 80) -> list[str]:
    """Return an account for people."""
    fellows = f", and so at {', '.join(account.fellows)}" if account.fellows else ""
    lines = [f"{text_of(account.client)} at {account.name}{fellows}", ""]
    for step in account.steps:
        lines += textwrap.wrap(
            step.text,
            width,
            initial_indent=f"  {step.topic:<{_LABEL_WIDTH}} ",
            subsequent_indent=" " * (_LABEL_WIDTH + 3),
            break_on_hyphens=False,
        )
        if step.topic == "nearest":
            lines += ["", *_ruler(account, step, width), ""]
    return lines


def account_facts(account: Account) -> dict[str, object]:
    """Return an account for programs; see docs/plan.md for the keys."""
    return {
        "client": text_of(account.client),
        "backend": account.name,
        "fellows": list(account.fellows),
        "server": account.server,
        "reason": account.reason,
        "steps": [{"topic": s.topic, "text": s.text, **s.facts} for s in account.steps],
    }


def _ruler(account: Account, step: Step, width: int) -> Iterator[str]:
    """Draw the arc of the ring on which a client lies."""
    below, above = (_Mark.of(step.facts[side]) for side in ("below", "above"))
    indent = " " * (_LABEL_WIDTH + 3)
    room = width - len(indent)
    size = room - 2
    at = round((size - 1) * below.distance / max(below.distance + above.distance, 1))
    names = below.server.ljust(room - len(above.server)) + above.server
    places = f"{below.place:#010x}".ljust(room - 10) + f"{above.place:#010x}"
    client = text_of(account.client)
    start = min(max(at + 1 - len(client) // 2, 0), room - len(client))
    yield indent + " " * start + client
    yield f"{indent}|{'-' * at}*{'-' * (size - at - 1)}|"
    yield indent + names
    yield indent + places


@dataclass(frozen=True, slots=True)
class _Mark:
    """A node beside a client."""

    server: str
    place: int
    distance: int

    @classmethod
    def of(cls, facts: object) -> _Mark:
        """Return it from the facts of a step."""
        assert isinstance(facts, dict)
        return cls(**facts)


class _Inquiry:
    """One client at one backend."""

    __slots__ = ("_address", "_client", "_config", "_edits", "_group")

    def __init__(self, config: Config, group: Group, edits: Edits, address: Address) -> None:
        self._config = config
        self._group = group
        self._edits = edits
        self._address = address
        self._client = group.client(address)

    def account(self) -> Account:
        """Ask, and return what came of it."""
        trial = self._trial()
        decision = _decision(trial.balancer, self._client)
        server, reason = decision.facts["server"], decision.facts["reason"]
        assert server is None or isinstance(server, str)
        return Account(
            name=self._group.name,
            fellows=self._group.fellows,
            client=self._address,
            steps=tuple(self._steps(decision)),
            server=server,
            reason=str(reason),
        )

    def _steps(self, decision: Step) -> Iterator[Step]:
        trial = self._trial()
        balancer = trial.balancer
        backend = balancer.backend
        candidates = balancer.candidates
        yield _arrival(self._group, self._client, self._address)
        yield _entry(trial, self._client)
        yield explain_servers(balancer)
        own = own_policy(backend)
        policy = built_in(backend) if own is None else guarded(own, backend)
        policy.adapt(candidates)
        # Who takes over is told below, with the backups.
        steps = explain_choice(policy, self._client, candidates)
        yield from (step for step in steps if step.topic != "order")
        yield decision
        if decision.facts["server"] is None:
            return
        if backend.policy is None and backend.balance is Balance.SOURCE:
            yield self._takeover()
        elif backend.policy is None and backend.balance is not Balance.RANDOM:
            yield _turns(self._trial().balancer)
        yield _retries(self._trial().balancer, self._client)

    def _trial(self) -> Trial:
        """Return a new trial with the change made."""
        trial = Trial(self._config, self._group)
        trial.apply(self._edits)
        return trial

    def _takeover(self) -> Step:
        """Tell who takes the client as one after the other is lost."""
        trial = self._trial()
        order = []
        while (server := _place(trial.balancer, self._client)) is not None:
            order.append(server)
            trial.lose(server)
        text = f"Lost one after the other: {', then '.join(order)}; then nobody is left."
        return Step(topic="takeover", text=text, facts={"servers": order})


def _arrival(group: Group, client: Client, address: Address) -> Step:
    bind = group.bind(address)
    if bind is not None:
        text = f"It comes in at {bind}"
    elif group.binds:
        text = f"No IPv{address.version} client comes in at {group.binds[0]}; suppose this one did"
    else:
        text = "No frontend leads here; suppose it came all the same"
    if client.address != text_of(address):
        text += f", an IPv6 socket, so its address is {client.address}"
    also = f" The same holds for {', '.join(group.fellows)}." if group.fellows else ""
    facts = {"bind": None if bind is None else str(bind), "source": client.address}
    return Step(topic="arrival", text=f"{text}.{also}", facts=facts)


def _entry(trial: Trial, client: Client) -> Step:
    """Tell what the first stick rule does."""
    rules = trial.balancer.backend.stick
    if trial.table is None or all(rule.action is StickAction.STORE_REQUEST for rule in rules):
        what = "where it goes is stored, and not asked" if rules else "nothing is remembered"
        return Step(topic="entry", text=f"No stick rule matches: {what}.", facts={"table": None})
    owner, table = trial.table
    text = f"The table of {owner} is asked first (stick {rules[0].action})"
    if table.normalise(client.packed) is None:
        text += ", but it takes IPv4 addresses alone."
    else:
        expires = "it is evicted"
        if table.ttl is not None:
            expires = f"{format_time(table.ttl)} after the client's last session"
        text += f". A file has no entries; at work one would decide, until {expires}."
    return Step(topic="entry", text=text, facts={"table": owner})


def _decision(balancer: Balancer, client: Client) -> Step:
    try:
        placement = balancer.route(client, 0.0)
    except NoServerError as error:
        text = f"It is refused: {error.reason}."
        return Step(topic="decision", text=text, facts={"server": None, "reason": ""})
    name = None if placement.server is None else placement.server.name
    facts = {"server": name, "reason": placement.reason.value}
    where = "It waits for a place" if name is None else f"It goes to {name}"
    return Step(topic="decision", text=f"{where} ({placement.reason}).", facts=facts)


def _place(balancer: Balancer, client: Client) -> str | None:
    """Return who takes a client that leaves again without a trace."""
    try:
        placement = balancer.route(client, 0.0)
    except NoServerError:
        return None
    server = placement.server
    balancer.release(placement, 0.0)
    return None if server is None else server.name


def _turns(balancer: Balancer) -> Step:
    """Tell who gets the first new clients, when each of them stays."""
    order = []
    for number in range(_STRANGERS, _STRANGERS + _TURNS):
        address = IPv4Address(number)
        placement = balancer.route(Client(str(address), address.packed, 0), 0.0)
        if placement.server is None or placement.is_queued:
            break
        order.append(placement.server.name)
    text = f"The first new clients, if they stay: {', '.join(order)}."
    return Step(topic="turns", text=text, facts={"servers": order})


def _retries(balancer: Balancer, client: Client) -> Step:
    """Tell what follows when every server refuses, one attempt after the other."""
    placement = balancer.route(client, 0.0)
    attempts: list[dict[str, object]] = []
    parts = []
    end = "it is given up"
    while (again := retry(balancer, placement)) is not None:
        if placement.server is None:
            end = "it waits for a place"
            break
        if len(attempts) == _MAX_ATTEMPTS:
            end = "so it goes on"
            break
        name = placement.server.name
        attempts.append({"server": name, "delay": again.delay})
        parts.append(f"{name} {f'after {format_time(again.delay)}' if again.delay else 'at once'}")
    follows = f"the next attempts are {', '.join(parts)}; then {end}" if parts else end
    text = f"If that one refuses before a check has noticed, {follows}."
    return Step(topic="retry", text=text, facts={"attempts": attempts})
