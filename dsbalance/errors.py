"""What can go wrong, as a tree. No I/O.

    DsbalanceError
        ConfigError (ValueError)     a value, a file or an argument is wrong
        ConnectError (OSError)       an address cannot be listened on or resolved
        NoServerError                a backend has nobody who could take a client

Exceptions carry their parts and make their sentence here. They are for callers: once a session
exists, a peer's failure is an event, not an exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class DsbalanceError(Exception):
    """The base of every exception that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    Attributes:
        message: What was found and what was expected, without a final full stop.
        subject: The object that is wrong, such as ``backend paragon``; empty when it is not known.
        file: The configuration file, empty when the value did not come from one.
        line: Its line, from 1; 0 when it is not known.
    """

    message: str
    subject: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        if self.file:
            where = f"{self.file}:{self.line}" if self.line else self.file
            return f"{where}: {self.message}"
        return f"{self.subject}: {self.message}" if self.subject else self.message


class ConfigError(DsbalanceError, ValueError):
    """A configuration is wrong; it says every problem that was found, a line each.

    Attributes:
        problems: At least one, in the order in which they were found.
    """

    problems: tuple[Problem, ...]

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def join(cls, errors: Iterable[ConfigError]) -> ConfigError:
        """Return one error that has the problems of all of ``errors``."""
        return cls(*(problem for error in errors for problem in error.problems))


class ConnectError(DsbalanceError, OSError):
    """An address cannot be resolved or listened on.

    Attributes:
        address: ``host:port`` as it was configured.
        reason: The system's words.
        subject: The bind or server that names the address; empty when it stands alone.
    """

    def __init__(self, address: str, reason: str, subject: str = "") -> None:
        self.address = address
        self.reason = reason
        self.subject = subject
        super().__init__(f"{subject}: {address}: {reason}" if subject else f"{address}: {reason}")


class NoServerError(DsbalanceError):
    """A backend has no server that could take a client.

    Attributes:
        backend: The backend's name.
        reason: Why, in words for a log line.
        is_full: Whether there is one, but nobody else may wait for it.
    """

    def __init__(self, backend: str, reason: str, *, is_full: bool = False) -> None:
        self.backend = backend
        self.reason = reason
        self.is_full = is_full
        super().__init__(f"{backend}: {reason}")
