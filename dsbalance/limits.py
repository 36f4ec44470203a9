"""How many sessions the system's limits allow. Asked once, at the start."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from dsbalance.errors import ConfigError, Problem
from dsbalance.model import Config
from dsbalance.splice import MAX_PIPES

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Two sockets: the client's and the server's.
_PER_SESSION = 2
# Standard streams, the poller, the wake-up pair, logs, a resolver, what the program around us has.
_SPARE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a process may use.

    Attributes:
        maxconn: Sessions at a time; None: the system has no limit to plan with.
        pipes: Pipes of the splicing path.
        most: Sessions that the descriptors allow; None: as ``maxconn``.
    """

    maxconn: int | None
    pipes: int
    most: int | None = None


def make_budget(config: Config, limit: int | None) -> Budget:
    """Return what ``config`` may use when the process may open ``limit`` descriptors.

    Raises:
        ConfigError: Its ``maxconn`` does not fit, or not even one session does.
    """
    if limit is None:
        return Budget(maxconn=config.maxconn, pipes=MAX_PIPES)
    # Streams are few among sessions: a sixteenth of the descriptors is plenty for their pipes.
    pipes = min(MAX_PIPES, limit // 32)
    fixed = _SPARE + _sockets(config) + 2 * pipes
    fits = (limit - fixed) // _PER_SESSION
    if config.maxconn is not None and config.maxconn > fits:
        needed = fixed + _PER_SESSION * config.maxconn
        raise ConfigError(
            Problem(
                f"maxconn {config.maxconn} needs {needed} descriptors, and this process may open"
                f" {limit} (ulimit -n); {max(fits, 0)} sessions would fit",
                subject="global maxconn",
            )
        )
    if fits < 1:
        raise ConfigError(
            f"this process may open {limit} descriptors (ulimit -n), which leaves none for a"
            f" session; at least {fixed + _PER_SESSION} are needed"
        )
    return Budget(maxconn=config.maxconn or fits, pipes=pipes, most=fits)


def wanted_descriptors(config: Config) -> int | None:
    """Return how many descriptors ``config`` asks for; None: as many as there are."""
    if config.maxconn is None:
        return None
    return _SPARE + _sockets(config) + 2 * MAX_PIPES + _PER_SESSION * config.maxconn


def descriptor_limit() -> int | None:
    """Return how many descriptors this process may open; None: nobody can tell (Windows)."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit(wanted: int | None) -> None:
    """Raise the soft limit towards ``wanted``, None: as far as the hard one lets us.

    Only for a program of our own: a library has no business with its host's limits.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in (soft, hard):
        return
    new = hard if wanted is None else min(hard, wanted)
    if new > soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (new, hard))


def _sockets(config: Config) -> int:
    """Count the sockets that are open whether there are sessions or not."""
    listeners = sum(len(bind.ports) for frontend in config.frontends for bind in frontend.binds)
    checks = sum(
        server.check is not None for backend in config.backends for server in backend.servers
    )
    sockets = len(config.sockets) + (config.maxconn_stats if config.sockets else 0)
    return listeners + checks + sockets + len(config.logs)
