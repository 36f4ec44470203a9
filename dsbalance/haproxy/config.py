"""From the text of haproxy.cfg to a Config, or to every problem with its file and line. No I/O.

    line                                      becomes
    global, defaults, frontend, backend, ...  a new section, and the end of the one before
    a keyword that is used                    part of the draft of its section
    a keyword without effect here             a notice, once for each keyword
    a keyword that is refused or unknown      a problem
    a keyword of mode http                    likewise, or a notice, when its section has its mode
    no KEYWORD                                the keyword turned round, where it is an option
    # dsbalance: WORD ...                     a word of ours, which HAProxy skips

    when all files have been read
    no problem                                a Reading: the Config, and what is worth knowing
    any problem                               one ConfigError with all of them, by file and line

Several files are one configuration, as with HAProxy's ``-f A -f B``: what ``defaults`` says holds
in the next file too, a section does not go on there. Nothing is passed over in silence.

Source: HAProxy 2.6 configuration manual, 2 to 5; where it is silent, HAProxy 2.6.12 was observed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dsbalance.errors import ConfigError, Problem
from dsbalance.haproxy.assembly import assemble, places
from dsbalance.haproxy.keywords import (
    GLOBAL_WORDS,
    OTHER_SECTIONS,
    PREPROCESSOR,
    Keyword,
    Verdict,
    families,
)
from dsbalance.haproxy.lexer import parse_integer, parse_time, quoted, split
from dsbalance.haproxy.log_words import LOG_PROCESS_WORDS
from dsbalance.haproxy.proxy_words import PROXY_WORDS
from dsbalance.haproxy.sections import (
    GlobalSection,
    Kind,
    PlacedPercentage,
    Section,
    Settings,
)
from dsbalance.haproxy.statement import Arguments, Place, Report
from dsbalance.haproxy.stats_words import STATS_PROCESS_WORDS
from dsbalance.model import MAX_PERCENT, Config
from dsbalance.policy import load_policy

# What stands before the words of ours in a comment.
_OURS = "dsbalance:"
_OUR_WORDS = ("bounded-clients", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read from one or more files.

    Attributes:
        config: What they say.
        notices: What has no effect here, or is perhaps not meant, in the order of the lines.
        places: Where each object stands, by the subject that a :class:`Problem` names it with:
            ``frontend F``, ``frontend F, bind B``, ``frontend F, errorfile STATUS``, ``backend B``,
            ``backend B, server S``, ``backend B, errorfile STATUS``, ``global maxconn``.
    """

    config: Config
    notices: tuple[Problem, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)


def read(
    texts: Iterable[tuple[str, str]], environment: Mapping[str, str] = MappingProxyType({})
) -> Reading:
    """Read files that are one configuration.

    A ``# dsbalance: policy`` comment imports the policy that it names and calls it once, to find
    out whether it can be loaded.

    Args:
        texts: Name and text of each file, in their order.
        environment: The variables that ``"${NAME}"`` may name.

    >>> reading = read([("x.cfg", '''
    ... defaults
    ...     timeout connect 3s
    ...     timeout client 1h
    ...     timeout server 1h
    ... listen paragon
    ...     bind :5022
    ...     server primary-1 10.0.0.11
    ... ''')])
    >>> [server.host for server in reading.config.backends[0].servers]
    ['10.0.0.11']
    >>> reading.notices
    ()

    Raises:
        ConfigError: With every problem of all files, but not more than 1000.
    """
    reader = _Reader(environment)
    order: dict[str, int] = {}
    for filename, text in texts:
        order.setdefault(filename, len(order))
        reader.read_file(filename, text)

    def place(problem: Problem) -> tuple[int, int]:
        return order[problem.file], problem.line

    config = reader.finish()
    if config is None:
        raise ConfigError(*sorted(reader.report.problems, key=place))
    return Reading(
        config=config,
        notices=tuple(sorted(reader.report.notices, key=place)),
        places=reader.places(),
    )


def _global_maxconn(section: GlobalSection, args: Arguments) -> None:
    maxconn = parse_integer(args.only("a number of sessions")) or None
    # Of this one word HAProxy keeps the first.
    if section.maxconn is None:
        section.maxconn = maxconn
        section.maxconn_place = args.place
    else:
        args.report.notice(args.place, "maxconn: given before, the first one counts")


def _hard_stop_after(section: GlobalSection, args: Arguments) -> None:
    seconds = parse_time(args.only("a time, such as 30s")) or None
    if section.hard_stop_after is not None:
        args.report.notice(args.place, "hard-stop-after: given before, the last one counts")
    section.hard_stop_after = seconds


GLOBAL_ROWS: Mapping[str, Keyword] = {
    **GLOBAL_WORDS,
    **LOG_PROCESS_WORDS,
    **STATS_PROCESS_WORDS,
    "hard-stop-after": Keyword(sections="G", parse=_hard_stop_after),
    "maxconn": Keyword(sections="G", repeats=True, parse=_global_maxconn),
}
_KINDS = {kind.value: kind for kind in Kind}
_SECTIONS = (*_KINDS, *OTHER_SECTIONS)
_FAMILIES = families(PROXY_WORDS)
# HAProxy warns of other words that stand in a section that they are not for, and goes on.
_NOWHERE_ELSE = ("server", "tcp-request connection")


class _Reader:
    """All files while they are read."""

    __slots__ = (
        "_defaults",
        "_environment",
        "_global",
        "_is_skipped",
        "_named",
        "_names",
        "_place",
        "_section",
        "_sections",
        "report",
    )

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.report = Report()
        self._environment = environment
        self._global = GlobalSection()
        self._sections: list[Section] = []
        # The last `defaults`, and all those with a name.
        self._defaults = Settings()
        self._named: dict[str, list[Section]] = {}
        # ("frontend" or "backend", name) -> the section that has it.
        self._names: dict[tuple[str, str], Section] = {}
        # Where the reader is; None is outside all sections, or in one that is skipped.
        self._place = Place("", 0)
        self._section: GlobalSection | Section | None = None
        self._is_skipped = False

    def read_file(self, filename: str, text: str) -> None:
        """Read one file; a section does not go on from the file before."""
        self._section = None
        self._is_skipped = False
        lines = text.split("\n")
        if lines[0].startswith("\ufeff"):
            self.report.problem(
                Place(filename, 1), "the file starts with a byte-order mark; save it without one"
            )
            lines[0] = lines[0][1:]
        if lines[-1]:
            self.report.notice(
                Place(filename, len(lines)),
                "the last line has no line end: the file may have been cut, and HAProxy refuses it",
            )
        for number, line in enumerate(lines, 1):
            if line and not line.isspace():
                self._place = Place(filename, number)
                self._read_line(line)
            if self.report.is_full:
                break
        self._end_section()

    def finish(self) -> Config | None:
        """Return the configuration, or None if there is a problem."""
        config = assemble(self._global, self._sections, self.report)
        return None if self.report.problems else config

    def places(self) -> dict[str, Place]:
        """Return where everything stands."""
        return places(self._global, self._sections)

    def _read_line(self, line: str) -> None:
        try:
            words, comment = split(line, self._variable)
        except ConfigError as error:
            if "stats" in line and "auth" in line:
                # The sentence would have a part of the line in it, perhaps a password.
                self.report.problem(
                    self._place, "stats auth: a quote, an escape or a variable is malformed"
                )
            else:
                self.report.failed(self._place, error)
            return
        if comment and (comment := comment.lstrip()).startswith(_OURS):
            self._comment(comment.removeprefix(_OURS).split())
        # A variable that is empty may end a line; in its middle HAProxy would drop what follows.
        while words and not words[-1]:
            words.pop()
        if "" in words:
            self.report.problem(
                self._place, f"word {words.index('') + 1} is empty; perhaps a variable is not set"
            )
        elif words:
            self._statement(words)

    def _variable(self, name: str, default: str | None) -> str:
        """Return the value of an environment variable, or of one of HAProxy's own."""
        if name.startswith("."):
            if name == ".LINE":
                return str(self._place.line)
            if name == ".FILE":
                return self._place.file
            if name == ".SECTION":
                return self._section_name()
            raise ConfigError(f"the variables with a dot are .FILE, .LINE and .SECTION, not {name}")
        if name in self._environment:
            return self._environment[name]
        if default is None:
            message = f"the variable {name} is not set, and taken as empty"
            self.report.notice_once(self._place, message)
        return default or ""

    def _section_name(self) -> str:
        if isinstance(self._section, Section):
            return self._section.name or self._section.kind.value
        return "" if self._section is None else Kind.GLOBAL.value

    def _statement(self, words: list[str]) -> None:
        first = words[0]
        if first in _KINDS:
            self._open(_KINDS[first], words[1:])
        elif first in OTHER_SECTIONS:
            self._open_other(first)
        elif first in PREPROCESSOR:
            self.report.problem(self._place, f"{first}: refused: {PREPROCESSOR[first].reason}")
        elif self._section is not None:
            self._keyword(self._section, words)
        elif not self._is_skipped:
            self.report.problem(
                self._place, self.report.unknown(first, "before the first section", _SECTIONS)
            )

    def _open_other(self, word: str) -> None:
        self._end_section()
        self._is_skipped = True
        row = OTHER_SECTIONS[word]
        if row.verdict is Verdict.REFUSED:
            self.report.problem(self._place, f"{word}: refused: {row.reason}")
        else:
            self.report.no_effect(self._place, f"section {word}")

    def _open(self, kind: Kind, words: list[str]) -> None:
        self._end_section()
        self._is_skipped = False
        if kind is Kind.GLOBAL:
            if words:
                self.report.problem(self._place, f"global: unexpected word {quoted(words[0])}")
            self._section = self._global
            return
        words, base = _without_base(words)
        settings = self._base(kind, base)
        name = words[0] if words else ""
        section = Section(kind, name, self._place, settings, self._global)
        if len(words) > 1:
            self.report.problem(
                self._place, f"{kind}: expects from DEFAULTS or nothing, not {quoted(words[1])}"
            )
        if kind is Kind.DEFAULTS:
            self._defaults = section.settings
            if name:
                self._named.setdefault(name, []).append(section)
        elif not words:
            self.report.problem(self._place, f"{kind}: expects a name")
        else:
            self._register(section)
        self._section = section

    def _base(self, kind: Kind, name: str | None) -> Settings:
        """Return what a new section starts from: ``from NAME``, or the last ``defaults``."""
        if name is None:
            return Settings() if kind is Kind.DEFAULTS else self._defaults.inherited()
        found = self._named.get(name, [])
        if not found:
            self.report.problem(self._place, f"{kind}: there is no defaults {quoted(name)} above")
            return self._defaults.inherited()
        if len(found) > 1:
            # Not all of them: there may be thousands, and as many sections that name them.
            lines = " and ".join(f"{d.place.file}:{d.place.line}" for d in (found[0], found[-1]))
            self.report.problem(self._place, f"{kind}: defaults {quoted(name)} stands at {lines}")
        return found[-1].settings.inherited()

    def _register(self, section: Section) -> None:
        """Add a proxy, whose names have to be its own."""
        sides = (("frontend", section.is_frontend), ("backend", section.is_backend))
        for side, has_side in sides:
            if not has_side:
                continue
            other = self._names.setdefault((side, section.name), section)
            if other is not section:
                self.report.problem(
                    self._place,
                    f"{section}: the name is taken by the {other.kind} of "
                    f"{other.place.file}:{other.place.line}",
                )
                return
        self._sections.append(section)

    def _end_section(self) -> None:
        section = self._section
        if isinstance(section, Section):
            settings = section.settings
            if section.has_own_checks and not settings.has_tcp_check:
                self.report.notice(
                    section.place,
                    f"{section}: 'tcp-check connect' has no effect without 'option tcp-check'",
                )
        self._section = None

    def _keyword(self, section: GlobalSection | Section, words: list[str]) -> None:
        kind = section.kind if isinstance(section, Section) else Kind.GLOBAL
        rows = PROXY_WORDS if isinstance(section, Section) else GLOBAL_ROWS
        is_negated = words[0] == "no" and len(words) > 1
        is_negated = is_negated or (words[0] == "default" and words[1:2] == ["option"])
        keyword, rest = _two_or_one(words[1:] if is_negated else words)
        row = rows.get(keyword)
        if row is None:
            self._unknown(keyword, kind, rows)
        elif is_negated and not row.is_option:
            self.report.problem(self._place, f"{keyword}: 'no' may not stand before it")
        elif row.verdict is Verdict.NO_EFFECT or (row.verdict is Verdict.REFUSED and is_negated):
            self.report.no_effect(self._place, f"no {keyword}" if is_negated else keyword)
        elif row.verdict is Verdict.REFUSED and not row.is_http:
            self.report.problem(self._place, f"{keyword}: refused: {row.reason}")
        elif kind.letter not in row.sections:
            self._misplaced(keyword, kind)
        else:
            args = Arguments(keyword, rest, self._place, self.report, is_negated=is_negated)
            self._apply(section, row, args)

    def _unknown(self, keyword: str, kind: Kind, rows: Mapping[str, Keyword]) -> None:
        other = GLOBAL_ROWS if rows is PROXY_WORDS else PROXY_WORDS
        if keyword in other:
            message = f"{keyword}: does not belong in a {kind} section"
        else:
            message = self.report.unknown(keyword, f"in a {kind} section", (*rows, *_SECTIONS))
        self.report.problem(self._place, message)

    def _misplaced(self, keyword: str, kind: Kind) -> None:
        """Report a keyword that stands in a section of another kind than it is for."""
        if kind is Kind.DEFAULTS or keyword in _NOWHERE_ELSE:
            self.report.problem(self._place, f"{keyword}: does not belong in a {kind} section")
        else:
            # HAProxy warns and goes on.
            self.report.notice(self._place, f"{keyword}: has no effect in a {kind} section")

    def _apply(self, section: GlobalSection | Section, row: Keyword, args: Arguments) -> None:
        if isinstance(section, Section):
            if row.is_http and not args.is_negated:
                section.says_http(args.keyword, args.place, row.reason)
            if not row.repeats:
                self._note_repeated(section, args.keyword)
        if row.parse is None:
            return
        try:
            row.parse(section, args)
            args.end()
        except ConfigError as error:
            self.report.failed(self._place, error, args.keyword)

    def _note_repeated(self, section: Section, keyword: str) -> None:
        if keyword in section.seen:
            self.report.notice(self._place, f"{keyword}: given before, the last one counts")
        section.seen.add(keyword)

    def _comment(self, words: list[str]) -> None:
        """Read a comment that starts with ``dsbalance:``."""
        word = words[0] if words else ""
        keyword = f"{_OURS} {word}".rstrip()
        section = self._section
        if word not in _OUR_WORDS:
            message = self.report.unknown(word, f"after {_OURS}", _OUR_WORDS)
            self.report.problem(self._place, message)
        elif isinstance(section, Section) and section.is_backend:
            self._our_word(section, word, Arguments(keyword, words[1:], self._place, self.report))
        else:
            message = f"{keyword}: belongs in a listen or backend section"
            self.report.problem(self._place, message)

    def _our_word(self, section: Section, word: str, args: Arguments) -> None:
        self._note_repeated(section, args.keyword)
        try:
            if word == "policy":
                spec = args.only("PACKAGE.MODULE:NAME")
                load_policy(spec)
                section.policy = spec
            else:
                # Of the mean: 100 would leave no room at all.
                percent = parse_integer(args.only("a percentage above 100"), 101, MAX_PERCENT)
                section.bounded_clients = PlacedPercentage(percent, self._place)
        except ConfigError as error:
            self.report.failed(self._place, error, args.keyword)


def _without_base(words: list[str]) -> tuple[list[str], str | None]:
    """Return the words of a section line without ``from NAME``, and that name."""
    if len(words) > 1 and words[-2] == "from":
        return words[:-2], words[-1]
    return words, None


def _two_or_one(words: list[str]) -> tuple[str, list[str]]:
    """Return the keyword of one or two words, and the words after it."""
    if words[0] in _FAMILIES:
        return " ".join(words[:2]), words[2:]
    return words[0], words[1:]
