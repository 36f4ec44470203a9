"""What a log target gets, byte by byte: the forms of RFC 3164 and 5424, and the short ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.syslog import Envelope
from dsbalance.log_options import Facility, LogFormat, LogTarget, Severity

WHEN = datetime(2026, 11, 3, 4, 18, 7, 750_000)
OFFSET = WHEN.astimezone().isoformat()[-6:]


def seal(
    line: str = "hello",
    severity: Severity = Severity.INFO,
    host: str | None = None,
    end: bytes = b"",
    **target: Any,
) -> bytes | None:
    where = LogTarget(address="127.0.0.1:514", **target)
    envelope = Envelope(where, tag="haproxy", host=host, pid=17840, end=end)
    return envelope.seal(severity, line, WHEN.timestamp())


@pytest.mark.parametrize(
    ("form", "host", "message"),
    [
        (LogFormat.RFC3164, None, "<134>Nov  3 04:18:07 haproxy[17840]: hello"),
        (LogFormat.RFC3164, "vm", "<134>Nov  3 04:18:07 vm haproxy[17840]: hello"),
        (
            LogFormat.RFC5424,
            None,
            f"<134>1 2026-11-03T04:18:07.750000{OFFSET} - haproxy 17840 - - hello",
        ),
        (
            LogFormat.RFC5424,
            "vm",
            f"<134>1 2026-11-03T04:18:07.750000{OFFSET} vm haproxy 17840 - - hello",
        ),
        (LogFormat.SHORT, "vm", "<6>hello"),
        (LogFormat.RAW, "vm", "hello"),
    ],
)
def test_each_format_has_its_own_head(form: LogFormat, host: str | None, message: str) -> None:
    assert seal(format=form, host=host) == message.encode()


@pytest.mark.parametrize("form", [LogFormat.RFC3164, LogFormat.RFC5424])
def test_each_message_has_its_own_time(form: LogFormat) -> None:
    envelope = Envelope(LogTarget(address="/", format=form), tag="t", host=None, pid=1, end=b"")
    moments = [WHEN.timestamp() + part for part in (0, 0.125, 1, 1.125, 3600, 0)]
    sealed = [envelope.seal(Severity.INFO, "", moment) or b"" for moment in moments]
    assert sealed[0] == sealed[5]
    for message, clock in zip(sealed, ("18:07", "18:07", "18:08", "18:08"), strict=False):
        assert f"04:{clock}".encode() in message
    assert b"05:18:07" in sealed[4]
    if form is LogFormat.RFC5424:
        assert b":07.875000" in sealed[1]


@pytest.mark.parametrize("facility", [*Facility])
@pytest.mark.parametrize("severity", [*Severity])
def test_the_number_is_made_of_facility_and_severity(
    facility: Facility, severity: Severity
) -> None:
    message = seal(severity=severity, facility=facility)
    assert message is not None
    assert message.startswith(b"<%d>" % (facility * 8 + severity))


def test_what_is_less_grave_than_the_level_is_left_out() -> None:
    assert seal(severity=Severity.INFO, level=Severity.NOTICE) is None
    assert seal(severity=Severity.NOTICE, level=Severity.NOTICE) is not None
    assert seal(severity=Severity.EMERG, level=Severity.NOTICE) is not None


@pytest.mark.parametrize(
    ("severity", "told"), [(Severity.EMERG, 5), (Severity.NOTICE, 5), (Severity.INFO, 6)]
)
def test_what_is_graver_than_the_floor_is_sent_as_if_it_were_not(
    severity: Severity, told: int
) -> None:
    sent = seal(severity=severity, floor=Severity.NOTICE, format=LogFormat.SHORT)
    assert sent == b"<%d>hello" % told


def test_a_long_message_is_cut_with_its_head_and_without_its_end() -> None:
    message = seal("x" * 200, length=80, end=b"\n")
    assert message is not None
    assert len(message) == 81
    assert message.startswith(b"<134>Nov  3 04:18:07 haproxy[17840]: xxx")
    assert message.endswith(b"x\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a\nb", b"a#0Ab"),
        ("a\r\x1b[2J", b"a#0D#1B[2J"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", b"#C3#A9"),
        ("\udcff", b"#ED#B3#BF"),
        ("\u2028", b"#E2#80#A8"),
    ],
)
def test_what_could_begin_another_line_is_written_as_numbers(line: str, told: bytes) -> None:
    assert seal(line, format=LogFormat.RAW) == told


@given(st.text(), st.sampled_from(LogFormat), st.integers(80, 300))
def test_whatever_is_said_a_message_is_one_printable_line(
    line: str, form: LogFormat, length: int
) -> None:
    message = seal(line, format=form, length=length, end=b"\n")
    assert message is not None
    *text, end = message
    assert end == 10
    assert len(text) <= length
    assert all(0x20 <= byte < 0x7F for byte in text)
