"""Where logs go is validated where it is made."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.errors import ConfigError
from dsbalance.log_options import (
    BackendLog,
    Facility,
    FrontendLog,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)


def test_the_numbers_are_those_of_rfc_5424() -> None:
    assert (Facility.KERN, Facility.CRON, Facility.LOCAL0, Facility.LOCAL7) == (0, 9, 16, 23)
    assert (Severity.EMERG, Severity.ERR, Severity.INFO, Severity.DEBUG) == (0, 3, 6, 7)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:514", "[::1]:65535", "syslog.example:1", "/dev/log", "stdout", "stderr"],
)
def test_a_target_is_an_address_a_path_or_a_stream(address: str) -> None:
    target = LogTarget(address=address)
    assert (target.facility, target.level, target.floor) == (16, 7, 0)
    assert (target.format, target.length) == (LogFormat.RFC3164, 1024)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        *(
            ({"address": address}, "expects ADDRESS:PORT, an absolute path, stdout or stderr")
            for address in ("", "127.0.0.1", "::1:514", "h:0", "h:65536", "dev/log", "a b:1")
        ),
        ({"address": "/" + "x" * 107}, "the path of a socket has at most 107 bytes, this one 108"),
        ({"length": 79}, "length must be 80 to 65535, not 79"),
        ({"length": 65536}, "length must be 80 to 65535, not 65536"),
        ({"format": "xml"}, "format must be one of rfc3164, rfc5424, short, raw, not 'xml'"),
        (
            {"level": 6},
            "level must be one of emerg, alert, crit, err, warning, notice, info, debug, not 6",
        ),
    ],
)
def test_what_a_target_cannot_be_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LogTarget(**{"address": "stdout"} | said)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_every_facility_and_level_is_a_member_and_no_number() -> None:
    for word in ("facility", "level", "floor"):
        with pytest.raises(ConfigError, match=f"{word} must be one of"):
            LogTarget(**{"address": "stdout", word: 1})  # type: ignore[arg-type]


def test_a_word_may_stand_for_a_format() -> None:
    assert LogTarget(address="stdout", format="raw").format is LogFormat.RAW  # type: ignore[arg-type]
    assert FrontendLog(line="tcplog").line is LineFormat.TCPLOG  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FrontendLog, BackendLog])
def test_a_tag_is_part_of_a_line(kind: type[FrontendLog | BackendLog]) -> None:
    assert kind(tag="a b").tag == "a b"
    for tag, message in (("", "the tag is empty"), ("a\nb", "the control character '\\\\n'")):
        with pytest.raises(ConfigError, match=message):
            kind(tag=tag)
