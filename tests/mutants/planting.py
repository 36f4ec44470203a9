"""What a planted bug is, and how it gets into a copy of the project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug.

    Attributes:
        bug: What is wrong then, in a sentence.
        old: A text that stands in the file exactly once.
        new: What stands there instead.
        file: The file, from the root of the project; empty: that of the part.
    """

    bug: str
    old: str
    new: str
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the core.

    Attributes:
        file: Its module.
        tests: The module's own tests. They have to find every one of the bugs.
        mutants: The bugs.
    """

    file: str
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def planted(mutant: Mutant, part: Part, root: Path) -> tuple[Path, str]:
    """Return the file below ``root`` that a bug is in, and its text with the bug.

    Raises:
        ValueError: The old text is not there, or more than once.
    """
    path = root / (mutant.file or part.file)
    text = path.read_text(encoding="utf-8")
    if (count := text.count(mutant.old)) != 1:
        raise ValueError(f"{path.name}: {count} places read {mutant.old!r}")
    return path, text.replace(mutant.old, mutant.new)
