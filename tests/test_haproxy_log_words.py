"""The words of logs: where messages go, and what is said of a session."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import Reading, read
from dsbalance.log_options import (
    BackendLog,
    Facility,
    FrontendLog,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)

HERE = LogTarget(address="127.0.0.1:514", facility=Facility.LOCAL0)
THERE = LogTarget(address="127.0.0.1:514", facility=Facility.LOCAL1)
ELSEWHERE = LogTarget(address="127.0.0.1:514", facility=Facility.LOCAL2)


def reading(text: str) -> Reading:
    return read([("x.cfg", text)])


def problem(text: str) -> str:
    """Return the one thing that is wrong, without its place."""
    with pytest.raises(ConfigError) as caught:
        reading(text)
    (found,) = caught.value.problems
    return found.message


def frontend_log(lines: str, above: str = "", mode: str = "http") -> FrontendLog | None:
    text = f"{above}\ndefaults\ntimeout client 1s\nfrontend f\nmode {mode}\nbind :1\n{lines}\n"
    text += f"default_backend b\nbackend b\nmode {mode}\n"
    return reading(text).config.frontends[0].log


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("127.0.0.1 local0", {"address": "127.0.0.1:514"}),
        ("127.0.0.1:5140 daemon", {"address": "127.0.0.1:5140", "facility": Facility.DAEMON}),
        ("[::1] cron2", {"address": "[::1]:514", "facility": Facility.CRON2}),
        ("[::1]:1 local0", {"address": "[::1]:1"}),
        ("syslog.example local0", {"address": "syslog.example:514"}),
        *(
            (f"{prefix}@127.0.0.1 local0", {"address": "127.0.0.1:514"})
            for prefix in ("udp", "udp4")
        ),
        ("ipv6@[::1]:5 local0", {"address": "[::1]:5"}),
        ("/dev/log local0", {"address": "/dev/log"}),
        ("unix@/x local0", {"address": "/x"}),
        ("stdout format raw local0", {"address": "stdout", "format": LogFormat.RAW}),
        ("stderr len 80 local0", {"address": "stderr", "length": 80}),
        (
            "stderr len 65535 format short local0 info",
            {
                "address": "stderr",
                "length": 65535,
                "format": LogFormat.SHORT,
                "level": Severity.INFO,
            },
        ),
        (
            "/x local0 debug emerg",
            {"address": "/x", "level": Severity.DEBUG, "floor": Severity.EMERG},
        ),
        (
            "/x local0 err notice",
            {"address": "/x", "level": Severity.ERR, "floor": Severity.NOTICE},
        ),
    ],
)
def test_a_log_line_says_where_to_and_what(words: str, said: dict[str, Any]) -> None:
    assert reading(f"global\nlog {words}\n").config.logs == (LogTarget(**said),)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "log: expects ADDRESS FACILITY, such as 127.0.0.1:514 local0"),
        ("127.0.0.1", "log: expects a facility, such as local0"),
        ("127.0.0.1 local8", "log: expects a facility: one of kern, user, mail"),
        ("127.0.0.1 LOCAL0", "log: expects a facility: one of kern, user, mail"),
        ("127.0.0.1 local0 loud", "log: expects a level: one of emerg, alert, crit, err"),
        ("127.0.0.1 local0 info loud", "log: expects a level: one of emerg, alert, crit, err"),
        ("127.0.0.1 local0 info err x", "log: unexpected word 'x'"),
        ("127.0.0.1 len 79 local0", "log: expects a whole number of 80 to 65535, not '79'"),
        ("127.0.0.1 format xml local0", "log: expects one of rfc3164, rfc5424, short, raw"),
        ("127.0.0.1 format iso local0", "log: format iso is refused: HAProxy has it"),
        ("127.0.0.1 format raw len 80 local0", "log: expects a facility"),
        ("127.0.0.1 sample 1:2 local0", "log: sample is refused"),
        ("ring@x local0", "log: expects ADDRESS:PORT, an absolute path, stdout or stderr"),
        ("unix@x local0", "log: expects ADDRESS:PORT, an absolute path, stdout or stderr"),
        (":514 local0", "log: expects the address of one host, not ':514'"),
        ("127.0.0.1:514-515 local0", "log: expects the address of one host"),
        ("::1 local0", "log: "),
        ("global", "log: global: belongs in another section"),
    ],
)
def test_a_wrong_log_line_is_refused(words: str, message: str) -> None:
    assert problem(f"global\nlog {words}\n").startswith(message)


def test_no_log_takes_back_what_stands_above_it() -> None:
    text = "global\nlog /a local0\nno log\nlog /b local0\n"
    assert [target.address for target in reading(text).config.logs] == ["/b"]
    assert problem("global\nno log /a\n") == "log: unexpected word '/a'"
    assert problem("listen a\nbind :1\nno log /a\n") == "log: unexpected word '/a'"


@pytest.mark.parametrize(
    ("lines", "targets"),
    [
        ("", (THERE,)),
        ("log global", (THERE, HERE)),
        ("log global\nlog global", (THERE, HERE)),
        ("log 127.0.0.1 local2", (THERE, ELSEWHERE)),
        ("log 127.0.0.1 local2\nlog 127.0.0.1 local2", (THERE, ELSEWHERE, ELSEWHERE)),
        ("no log\nlog global", (HERE,)),
        ("log global\nno log\nlog global", (HERE,)),
        ("no log", None),
    ],
)
def test_a_section_logs_to_what_it_says_and_what_it_inherits(
    lines: str, targets: tuple[LogTarget, ...] | None
) -> None:
    above = "global\nlog 127.0.0.1 local0\ndefaults x\nlog 127.0.0.1 local1\n"
    text = f"{above}frontend f from x\nmode http\nbind :1\nstats enable\n{lines}\n"
    text += f"backend b from x\n{lines}\n"
    config = reading(text).config
    expected = None if targets is None else FrontendLog(targets=targets)
    assert config.frontends[0].log == expected
    assert config.backends[0].log == (None if targets is None else BackendLog(targets=targets))


def test_what_global_says_later_is_not_meant() -> None:
    text = "global\nlog 127.0.0.1 local0\nlisten a\nbind :1\nlog global\n"
    config = reading(f"{text}global\nlog 127.0.0.1 local1\n").config
    assert config.logs == (HERE, THERE)
    assert config.frontends[0].log == FrontendLog(targets=(HERE,))


# --- lines ---------------------------------------------------------------------------------------

TO = "log 127.0.0.1 local0\n"


@pytest.mark.parametrize(
    ("lines", "mode", "said"),
    [
        ("", "tcp", {}),
        ("option tcplog", "tcp", {"line": LineFormat.TCPLOG}),
        ("option tcplog", "http", {"line": LineFormat.TCPLOG}),
        ("option httplog", "http", {"line": LineFormat.HTTPLOG}),
        ("option httplog", "tcp", {"line": LineFormat.TCPLOG}),
        ("option tcplog\noption httplog", "http", {"line": LineFormat.HTTPLOG}),
        ("log-format %ci", "http", {"line": LineFormat.HTTPLOG}),
        ("log-format %ci", "tcp", {"line": LineFormat.TCPLOG}),
        ("option httpslog", "http", {"line": LineFormat.HTTPLOG}),
        ("option dontlognull", "tcp", {"skips_null": True}),
        ("option dontlognull\nno option dontlognull", "tcp", {}),
        ("option dontlog-normal", "tcp", {"skips_normal": True}),
        ("option log-separate-errors", "tcp", {"raises_errors": True}),
        ("log-tag x", "tcp", {"tag": "x"}),
    ],
)
def test_a_frontend_says_of_a_session_what_its_options_ask_for(
    lines: str, mode: str, said: dict[str, Any]
) -> None:
    assert frontend_log(f"{TO}{lines}", mode=mode) == FrontendLog(targets=(HERE,), **said)


def test_a_backend_tells_of_checks_where_that_is_asked_for() -> None:
    text = f"defaults\noption log-health-checks\nlog-tag x\nbackend b\n{TO}"
    assert reading(text).config.backends[0].log == BackendLog(
        targets=(HERE,), tells_checks=True, tag="x"
    )


def test_the_process_has_its_tag_and_name_in_the_logs() -> None:
    config = reading("global\nlog-tag x\nlog-send-hostname\n").config
    assert (config.log_tag, config.log_hostname) == ("x", "")
    assert reading("global\nlog-send-hostname n\n").config.log_hostname == "n"
    config = reading("global\n").config
    assert (config.log_tag, config.log_hostname) == ("haproxy", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("option httplog clf", "option httplog: clf is refused: HAProxy has it"),
        ("option tcplog clf", "option tcplog: unexpected word 'clf'"),
        ("option dontlognull x", "option dontlognull: unexpected word 'x'"),
        ("no option tcplog", "option tcplog: 'no' may not stand before it"),
        ("log-tag", "log-tag: expects a text for the name of the program"),
        ('log-tag "a\\nb"', "log-tag: the tag has the control character"),
        ("log-format", "log-format: expects a format"),
    ],
)
def test_a_wrong_line_is_refused(line: str, message: str) -> None:
    assert problem(f"listen a\nbind :1\n{line}\n").startswith(message)


def test_a_name_of_this_machine_is_one_line() -> None:
    assert problem('global\nlog-send-hostname "a\\nb"\n').startswith("log-send-hostname: the name")


def test_a_format_of_ones_own_is_noticed_once() -> None:
    text = f"defaults\ntimeout client 1s\n{TO}frontend f\nmode http\nbind :1\nstats enable\n"
    found = reading(f"{text}log-format %ci\nlisten l\nbind :2\nlog-format %cp\n").notices
    message = "lines have no other form here than that of 'option httplog' or 'option tcplog'"
    assert [str(notice) for notice in found] == [f"x.cfg:8: log-format: {message}"]
