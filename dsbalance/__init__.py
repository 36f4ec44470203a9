"""Failover balancing that you can import, and that decides like HAProxy.

>>> from ipaddress import ip_address
>>> from dsbalance import HashRing
>>> ring = HashRing({"primary-1": 1, "primary-2": 1, "primary-3": 1})
>>> printer = ip_address("10.1.2.3")
>>> owner = ring.lookup(printer)
>>> _ = ring.remove(owner)
>>> ring.lookup(printer) != owner
True

Each part is useful alone: :class:`HashRing`, :class:`StickTable`, :class:`HealthChecker`; together
they are a :class:`Proxy`, which runs a :class:`Config`. A configuration is built of values, or read
from a haproxy.cfg with :func:`dsbalance.haproxy.config.read`.

A name is loaded when it is first asked for (PEP 562): who wants a ring pays for a ring.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from dsbalance.version import VERSION

if TYPE_CHECKING:
    from dsbalance.counters import Times
    from dsbalance.door import BackendRule, DoorAction, DoorRule
    from dsbalance.errors import ConfigError, ConnectError, DsbalanceError, NoServerError, Problem
    from dsbalance.explanation import Step
    from dsbalance.foresight import Moment, Plan, plan
    from dsbalance.gate import Gate
    from dsbalance.hashring import HashRing
    from dsbalance.health import CheckResult, HealthChecker
    from dsbalance.http_options import (
        AddressField,
        Deny,
        HeaderAction,
        HeaderRule,
        HttpConnection,
        HttpOptions,
        Redirect,
    )
    from dsbalance.inquiry import Account, explain
    from dsbalance.log_options import (
        BackendLog,
        Facility,
        FrontendLog,
        LineFormat,
        LogFormat,
        LogTarget,
        Severity,
    )
    from dsbalance.model import (
        Backend,
        Balance,
        Bind,
        Check,
        Config,
        Frontend,
        HashKind,
        HashType,
        Keepalive,
        Server,
        StickAction,
        StickRule,
        Table,
        TableType,
    )
    from dsbalance.placement import AdminState, Change
    from dsbalance.policy import Candidates, Client, Policy, Reason
    from dsbalance.proxy import Proxy
    from dsbalance.stats import (
        BackendSnapshot,
        CheckSnapshot,
        FrontendSnapshot,
        ListenerSnapshot,
        ProcessSnapshot,
        Responses,
        ServerSnapshot,
        SessionSnapshot,
        Snapshot,
        TableSnapshot,
    )
    from dsbalance.stats_options import Level, StatsPage, StatsSocket
    from dsbalance.sticky import StickTable
    from dsbalance.words import SendProxy

__all__ = [
    "VERSION",
    "Account",
    "AddressField",
    "AdminState",
    "Backend",
    "BackendLog",
    "BackendRule",
    "BackendSnapshot",
    "Balance",
    "Bind",
    "Candidates",
    "Change",
    "Check",
    "CheckResult",
    "CheckSnapshot",
    "Client",
    "Config",
    "ConfigError",
    "ConnectError",
    "Deny",
    "DoorAction",
    "DoorRule",
    "DsbalanceError",
    "Facility",
    "Frontend",
    "FrontendLog",
    "FrontendSnapshot",
    "Gate",
    "HashKind",
    "HashRing",
    "HashType",
    "HeaderAction",
    "HeaderRule",
    "HealthChecker",
    "HttpConnection",
    "HttpOptions",
    "Keepalive",
    "Level",
    "LineFormat",
    "ListenerSnapshot",
    "LogFormat",
    "LogTarget",
    "Moment",
    "NoServerError",
    "Plan",
    "Policy",
    "Problem",
    "ProcessSnapshot",
    "Proxy",
    "Reason",
    "Redirect",
    "Responses",
    "SendProxy",
    "Server",
    "ServerSnapshot",
    "SessionSnapshot",
    "Severity",
    "Snapshot",
    "StatsPage",
    "StatsSocket",
    "Step",
    "StickAction",
    "StickRule",
    "StickTable",
    "Table",
    "TableSnapshot",
    "TableType",
    "Times",
    "explain",
    "plan",
]

__version__ = VERSION

# Module -> what it gives. The imports above say the same to whoever only reads them.
_HOMES = {
    "counters": ("Times",),
    "errors": ("ConfigError", "ConnectError", "DsbalanceError", "NoServerError", "Problem"),
    "door": ("BackendRule", "DoorAction", "DoorRule"),
    "explanation": ("Step",),
    "foresight": ("Moment", "Plan", "plan"),
    "gate": ("Gate",),
    "hashring": ("HashRing",),
    "health": ("CheckResult", "HealthChecker"),
    "http_options": (
        *("AddressField", "Deny", "HeaderAction", "HeaderRule", "HttpConnection", "HttpOptions"),
        "Redirect",
    ),
    "inquiry": ("Account", "explain"),
    "log_options": (
        *("BackendLog", "Facility", "FrontendLog", "LineFormat", "LogFormat", "LogTarget"),
        "Severity",
    ),
    "model": (
        *("Backend", "Balance", "Bind", "Check", "Config", "Frontend", "HashKind", "HashType"),
        *("Keepalive", "Server", "StickAction", "StickRule", "Table", "TableType"),
    ),
    "placement": ("AdminState", "Change"),
    "policy": ("Candidates", "Client", "Policy", "Reason"),
    "proxy": ("Proxy",),
    "stats": (
        *("BackendSnapshot", "CheckSnapshot", "FrontendSnapshot", "ListenerSnapshot"),
        *("ProcessSnapshot", "Responses", "ServerSnapshot", "SessionSnapshot", "Snapshot"),
        "TableSnapshot",
    ),
    "stats_options": ("Level", "StatsPage", "StatsSocket"),
    "sticky": ("StickTable",),
    "words": ("SendProxy",),
}


def __getattr__(name: str) -> object:
    """Load the module of a public name, or a module itself, when it is first asked for."""
    if name in _HOMES:
        return import_module(f"{__name__}.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
