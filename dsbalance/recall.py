"""Reads the state files that servers are to begin by. Whatever is wrong there, servers begin."""

from __future__ import annotations

import logging
from pathlib import Path

from dsbalance.haproxy.server_state import parse
from dsbalance.model import Config
from dsbalance.server_states import restore
from dsbalance.survey import Parts

_log = logging.getLogger("dsbalance.recall")


def recall_states(parts: Parts) -> None:
    """Let servers begin as the state files of the configuration have them.

    To be called before the ports are open. A file that is missing, or broken, or has lines that
    cannot be used, is a warning.
    """
    for file, names in _wanted(parts.config).items():
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            _log.warning("servers begin as configured: %s: %s", file, error.strerror or error)
            continue
        found = parse(text, file)
        records = [record for record in found.servers if record.backend in names]
        changes, problems = restore(parts.backends, records, parts.loop.now)
        for problem in (*found.problems, *problems):
            _log.warning("%s", problem)
        parts.apply(changes)


def _wanted(config: Config) -> dict[str, set[str]]:
    """Return the files, each with the backends that begin by it."""
    wanted: dict[str, set[str]] = {}
    for backend in config.backends:
        file = config.state_file if backend.loads_state else backend.state_file
        if file is not None:
            wanted.setdefault(file, set()).add(backend.name)
    return wanted
