"""The tables know every keyword of HAProxy 2.6, and each row can be carried out."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy import keywords as tables
from dsbalance.haproxy.config import GLOBAL_ROWS, read
from dsbalance.haproxy.keywords import Keyword, Verdict, Word, families
from dsbalance.haproxy.proxy_words import PROXY_WORDS
from dsbalance.haproxy.server_words import (
    BIND_WORDS,
    DEFAULT_SERVER_WORDS,
    SERVER_WORDS,
    BindWords,
    ServerWords,
)

KNOWN: dict[str, list[str]] = json.loads(
    (Path(__file__).parent / "data" / "haproxy-keywords.json").read_text(encoding="utf-8")
)
SECTIONS: Mapping[str, Mapping[str, Keyword]] = {
    "global": GLOBAL_ROWS,
    "proxy": PROXY_WORDS,
    "gone": PROXY_WORDS,
}
LINES: Mapping[str, Mapping[str, Word]] = {"bind": BIND_WORDS, "server": SERVER_WORDS}
HAPROXY = shutil.which("haproxy")


def without_a_row(word: str, rows: Mapping[str, object]) -> bool:
    # A family whose words all have one fate, such as `stats`, is one row.
    is_family = word in families(rows)
    return word not in rows and word.split(maxsplit=1)[0] not in rows and not is_family


@pytest.mark.parametrize("where", ["global", "proxy", "gone", "bind", "server"])
def test_every_keyword_of_haproxy_has_a_row(where: str) -> None:
    rows: Mapping[str, object] = {**SECTIONS, **LINES}[where]
    assert [word for word in KNOWN[where] if without_a_row(word, rows)] == []


@pytest.mark.parametrize("where", ["global", "proxy", "bind", "server"])
def test_no_row_is_about_a_keyword_that_haproxy_never_had(where: str) -> None:
    rows: Mapping[str, object] = {**SECTIONS, **LINES}[where]
    known = {*KNOWN[where], *KNOWN["gone"], *KNOWN["later"]}
    known |= {word.split()[0] for word in known}
    # Known to HAProxy 2.6.12, and in none of its lists.
    unlisted = {"nbproc", "ssl-engine", "interface", "no-verifyhost", "tcp-check set-var-fmt"}
    unlisted |= {f"stats {word}" for word in ("bind-process", "maxconn", "socket", "timeout")}
    unlisted |= {"stats show-modules"}
    unlisted |= {"timeout clitimeout", "timeout contimeout", "timeout srvtimeout"}
    assert {word for word in rows if word not in known} <= unlisted


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_the_haproxy_that_is_installed_lists_no_other_option() -> None:
    command = [HAPROXY or "", "-dKall", "-q", "-f", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not re.search(r"^HAProxy version 2\.6", subprocess.getoutput(f"{HAPROXY} -v"), re.M):
        pytest.skip("another version than the one that the tables are for")
    options = re.findall(r"^\toption (\S+)", done.stdout, re.MULTILINE)
    assert len(options) > 30
    assert [word for word in options if f"option {word}" not in PROXY_WORDS] == []


@pytest.mark.parametrize("rows", [GLOBAL_ROWS, PROXY_WORDS])
def test_a_word_that_is_used_is_read_and_a_refused_one_gives_its_reason(
    rows: Mapping[str, Keyword],
) -> None:
    for word, row in rows.items():
        assert (row.parse is not None) == (row.verdict is Verdict.USED), word
        assert bool(row.reason) == (row.verdict is Verdict.REFUSED), word
        assert not (row.is_http and row.verdict is Verdict.NO_EFFECT), word
        assert re.fullmatch("G|D?F?L?B?", row.sections), word
        assert row.sections, word


@pytest.mark.parametrize(
    ("rows", "draft"),
    [(BIND_WORDS, BindWords), (SERVER_WORDS, ServerWords), (DEFAULT_SERVER_WORDS, ServerWords)],
)
def test_a_used_word_of_a_line_sets_a_field_that_there_is(
    rows: Mapping[str, Word], draft: type[BindWords | ServerWords]
) -> None:
    fields = {field.name for field in dataclasses.fields(draft)} | {""}
    for word, row in rows.items():
        if row.verdict is Verdict.USED:
            assert row.field in fields, word
            assert (row.parse is not None) == (row.arguments == 1), word
        assert bool(row.reason) == (row.verdict is Verdict.REFUSED), word


def test_a_word_without_effect_is_listed_once_and_only_that() -> None:
    for word, row in PROXY_WORDS.items():
        if row.verdict is Verdict.NO_EFFECT and "B" in row.sections:
            text = f"backend a\n{word} x\n{word} y\n"
            found = read([("x.cfg", text)])
            assert [(n.line, n.message.split(":")[0]) for n in found.notices] == [(2, word)], word


@pytest.mark.parametrize("where", ["global", "proxy", "gone"])
def test_a_refused_word_is_refused_by_name(where: str) -> None:
    section = "global" if where == "global" else "listen a"
    rows = SECTIONS[where]
    for word in KNOWN[where]:
        row = rows.get(word) or rows.get(word.split()[0])
        if row is None or row.verdict is not Verdict.REFUSED:
            continue
        mode = "mode http\n" if row.is_http else ""
        with pytest.raises(ConfigError) as caught:
            read([("x.cfg", f"{section}\n{word} x y\n{mode}")])
        assert str(caught.value).startswith(f"x.cfg:2: {word.split()[0]}"), word
        assert "refused: " in str(caught.value), word


def test_a_word_of_mode_http_has_no_effect_in_another_mode() -> None:
    for word, row in PROXY_WORDS.items():
        if row.is_http and row.verdict is Verdict.REFUSED:
            found = read([("x.cfg", f"listen a\nbind :1\n{word} x y\n")]).notices
            assert f"x.cfg:3: {word}: has no effect in 'mode tcp'" in map(str, found), word


def test_the_families_are_the_first_words_of_two() -> None:
    assert families({"a b": 1, "a c": 1, "d": 1}) == {"a": ["b", "c"]}
    assert not set(families(PROXY_WORDS)) & set(PROXY_WORDS)


def test_a_table_is_read_from_columns() -> None:
    rows = tables.keywords(
        """
        log        DFLB*  none
        maxconn x  F      lack  write y
        stats      F      http
    """
    )
    assert rows["log"] == Keyword(sections="DFLB", verdict=Verdict.NO_EFFECT, is_option=True)
    assert rows["maxconn x"].reason.endswith("; write y")
    assert not rows["maxconn x"].is_option
    assert [word for word, row in rows.items() if row.is_http] == ["stats"]
    assert tables.words("ssl  0  tls")["ssl"].verdict is Verdict.REFUSED
