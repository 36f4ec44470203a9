"""The files of ``errorfile``: opened once, read once, and sent by the kernel from then on."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dsbalance.errors import ConfigError, Problem
from dsbalance.http_answers import Answer, read_page
from dsbalance.model import Backend, Frontend

# HAProxy takes what fits into one of its buffers; a page may carry a picture.
_MAX_SIZE = 1024 * 1024
# On Windows a file is opened as text otherwise, and its line ends are changed.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Pages:
    """The pages of a proxy.

    Attributes:
        answers: By status and path.
    """

    __slots__ = ("_fds", "answers")

    def __init__(self) -> None:
        self.answers: dict[tuple[int, str], Answer] = {}
        self._fds: list[int] = []

    def read(self, parts: Iterable[Frontend | Backend]) -> None:
        """Open and read the files that ``parts`` name, as far as they are not open yet.

        Raises:
            ConfigError: Some cannot be read, or hold no response; with every problem.
        """
        problems = []
        for part in parts:
            kind = "frontend" if isinstance(part, Frontend) else "backend"
            for status, path in part.http.error_files if part.http is not None else ():
                try:
                    self._read(status, path)
                except (OSError, ConfigError) as error:
                    reason = error.strerror if isinstance(error, OSError) else str(error)
                    subject = f"{kind} {part.name}, errorfile {status}"
                    problems.append(Problem(f"{path}: {reason}", subject=subject))
        if problems:
            raise ConfigError(*problems)

    def close(self) -> None:
        """Close the files; no answer may be sent any more."""
        self.answers.clear()
        while self._fds:
            os.close(self._fds.pop())

    def _read(self, status: int, path: str) -> None:
        if (status, path) in self.answers:
            return
        fd = os.open(path, _FLAGS)
        self._fds.append(fd)
        content = os.read(fd, _MAX_SIZE + 1)
        if len(content) > _MAX_SIZE:
            raise ConfigError(f"it has more than {_MAX_SIZE} bytes")
        self.answers[status, path] = read_page(status, content, fd)
