"""A statement of haproxy.cfg while it is read: its place, its arguments, the report. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from dsbalance.errors import ConfigError, Problem
from dsbalance.haproxy.lexer import printable, quoted


class Place(NamedTuple):
    """Where a statement stands; lines count from 1."""

    file: str
    line: int


class Report:
    """The problems and notices of one reading, in the order in which they were found."""

    __slots__ = ("_listed", "_suggestions", "notices", "problems")

    # A file of another kind is wrong in every line; nobody reads more of either than this.
    MAX_LISTED = 1000
    # A search for the nearest word takes about a millisecond, and a file may be wrong all through.
    MAX_SUGGESTIONS = 10

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notices: list[Problem] = []
        self._listed: set[str] = set()
        self._suggestions = 0

    @property
    def is_full(self) -> bool:
        """Whether no further problem would be listed."""
        return len(self.problems) > self.MAX_LISTED

    @property
    def is_noted_enough(self) -> bool:
        """Whether no further notice would be listed."""
        return len(self.notices) > self.MAX_LISTED

    def problem(self, place: Place, message: str) -> None:
        """Add one thing that is wrong."""
        self._list(self.problems, place, message)

    def failed(self, place: Place, error: ConfigError, prefix: str = "") -> None:
        """Add everything that ``error`` says; ``prefix`` names the word that it is about."""
        for problem in error.problems:
            self.problem(place, f"{prefix}: {problem}" if prefix else str(problem))

    def notice(self, place: Place, message: str) -> None:
        """Add one thing that is worth knowing."""
        self._list(self.notices, place, message)

    def notice_once(self, place: Place, message: str) -> None:
        """Add a notice, if it is the first one of its words."""
        if message not in self._listed:
            self._listed.add(message)
            self.notice(place, message)

    def no_effect(self, place: Place, word: str) -> None:
        """Add a notice about ``word``, the first time that it is met."""
        self.notice_once(place, f"{word}: accepted and without effect here")

    def unknown(self, word: str, where: str, known: Iterable[str]) -> str:
        """Return the sentence for a word that nothing knows."""
        return f"unknown keyword {quoted(word)} {where}{self.suggestion(word, known)}"

    def suggestion(self, word: str, known: Iterable[str]) -> str:
        """Return the end of a sentence that asks whether a near word is meant, or nothing."""
        if self._suggestions == self.MAX_SUGGESTIONS or len(word) > 40:
            return ""
        self._suggestions += 1
        near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)
        return f"; did you mean '{near[0]}'?" if near else ""

    def _list(self, listed: list[Problem], place: Place, message: str) -> None:
        if len(listed) < self.MAX_LISTED:
            listed.append(Problem(printable(message, 300), file=place.file, line=place.line))
        elif len(listed) == self.MAX_LISTED:
            message = f"and more: {self.MAX_LISTED} are listed"
            listed.append(Problem(message, file=place.file, line=place.line))


class Arguments:
    """The words after a keyword, taken one after the other.

    Attributes:
        keyword: One or two words, as in the tables.
        place: Where the statement stands.
        report: Where notices go; problems are raised.
        is_negated: Whether ``no`` stood before the keyword.
    """

    __slots__ = ("_next", "_words", "is_negated", "keyword", "place", "report")

    def __init__(
        self,
        keyword: str,
        words: list[str],
        place: Place,
        report: Report,
        *,
        is_negated: bool = False,
    ) -> None:
        self.keyword = keyword
        self.place = place
        self.report = report
        self.is_negated = is_negated
        self._words = words
        self._next = 0

    def __bool__(self) -> bool:
        return self._next < len(self._words)

    def take(self, expected: str) -> str:
        """Return the next word; ``expected`` says what it should be, for the error.

        Raises:
            ConfigError: There is none.
        """
        if not self:
            raise ConfigError(f"expects {expected}")
        self._next += 1
        return self._words[self._next - 1]

    def peek(self) -> str:
        """Return the next word without taking it; nothing when there is none."""
        return self._words[self._next] if self else ""

    def skip(self, count: int) -> None:
        """Pass over up to ``count`` words."""
        self._next += count

    def end(self) -> None:
        """Raise ConfigError if a word is left."""
        if self:
            raise ConfigError(f"unexpected word {quoted(self._words[self._next])}")

    def only(self, expected: str) -> str:
        """Return the next word, which has to be the last one."""
        word = self.take(expected)
        self.end()
        return word
