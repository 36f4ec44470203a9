"""What makes a value of the model acceptable. No I/O.

A check returns what is wrong, as a sentence without its subject, or nothing; :func:`demand` raises
all that was found about one value at once. Each message says what was expected.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Sequence

from dsbalance.errors import ConfigError, Problem

# Names may stand in statistics, logs and the runtime API: HAProxy allows letters, digits, `-_.:`.
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What no number of a configuration reaches; Python refuses to write one of 4,300 digits.
_MAX_BITS = 64
# HAProxy refuses timers of 2^31 ms and more (24.8 days).
_MAX_SECONDS = 2**31 / 1000


def choose(value: object, field: str, kind: type[enum.StrEnum]) -> None:
    """Let a word in ``field`` of ``value`` stand for the member of ``kind`` that it names.

    Raises:
        ConfigError: It names none.
    """
    word = getattr(value, field)
    if isinstance(word, kind):
        return
    try:
        # The only way to set what is frozen; it is not shared with anybody yet.
        object.__setattr__(value, field, kind(word))
    except ValueError:
        raise ConfigError(f"{field} must be one of {', '.join(kind)}, not {word!r}") from None


def demand(*findings: str | None, subject: str = "", name: object = "") -> None:
    """Raise ConfigError, about ``subject`` of that name, if any finding is a sentence."""
    if any(findings):
        subject = f"{subject} {name}".strip()
        raise ConfigError(*(Problem(text, subject=subject) for text in findings if text))


def identifier(text: object, word: str = "a name", most: int | None = None) -> str | None:
    """Return what is wrong with a name, or with another word that is made as names are."""
    if isinstance(text, str) and _NAME.fullmatch(text) and (most is None or len(text) <= most):
        return None
    count = "" if most is None else f"up to {most} "
    return f"{word} is made of {count}letters, digits and '-_.:', not {text!r}"


def text_line(word: str, text: str | None) -> str | None:
    """Return what is wrong with a text that goes into a line: it would end it, or is empty.

    None as a text is one that is not there, and as it should be.
    """
    if text is None:
        return None
    if not text:
        return f"{word} is empty"
    if control := _CONTROL.search(text):
        return f"{word} has the control character {control[0]!r}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{word} is no text"
    return None


def whole(
    word: str, number: object, low: int, high: int | None = None, *, is_optional: bool = False
) -> str | None:
    """Return what is wrong with a number: a share of 1.5 would fail later, in front of a client."""
    if number is None and is_optional:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        return f"{word} must be a whole number, not {number!r}"
    if number.bit_length() > _MAX_BITS:
        return f"{word} must not have so many digits"
    if number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        return f"{word} must be {bounds}, not {number}"
    return None


def durations(value: object, *fields: str) -> list[str]:
    """Return what is wrong with the ``fields`` of ``value`` that hold seconds, or None."""
    found = []
    for field in fields:
        seconds = getattr(value, field)
        if seconds is None:
            continue
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            found.append(f"{field} must be a number of seconds, not {seconds!r}")
        elif isinstance(seconds, int) and seconds.bit_length() > _MAX_BITS:
            found.append(f"{field} must not have so many digits")
        elif not 0 < seconds < _MAX_SECONDS:
            found.append(f"{field} must be above 0 and below {_MAX_SECONDS:.0f} s, not {seconds}")
    return found


def repeated(word: str, names: Sequence[str]) -> list[str]:
    """Return a sentence for each of ``names`` that is given more than once."""
    # Mostly nothing is, and a Counter takes many times as long as a set.
    if len(set(names)) == len(names):
        return []
    return [f"{word} {name!r} is given {n} times" for name, n in Counter(names).items() if n > 1]
