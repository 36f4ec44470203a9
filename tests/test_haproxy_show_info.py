"""``show info``: the lines of HAProxy, in its order and forms, with what is ours in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from captures import capture
from dsbalance.haproxy.show_info import (
    FACTS,
    HAPROXY_VERSION,
    NAME,
    RELEASE_DATE,
    InfoForm,
    InfoQuestion,
    facts,
    read_question,
    show_info,
)
from dsbalance.stats import ProcessSnapshot, Snapshot
from dsbalance.version import VERSION
from pretence import blank

CAPTURE = capture("haproxy-show-info.json")

SNAPSHOT = Snapshot(
    uptime=93784.25,
    process=ProcessSnapshot(
        pid=77,
        node="knot",
        description="some words",
        started_at=1e9 + 0.5,
        maxconn=1000,
        descriptors=2048,
        current=5,
        peak=6,
        total=70,
        requests=80,
        rate=9,
        rate_peak=10,
        bytes_out=11_000,
        bytes_out_rate=12,
        pipes=13,
        pipes_used=14,
        pipes_free=15,
        listeners=16,
        is_stopping=True,
        idle=97,
        logs_dropped=18,
    ),
)


def answer(words: str = "", snapshot: Snapshot = SNAPSHOT) -> str:
    return "".join(show_info(snapshot, read_question(words.split())))


def told(words: str = "", snapshot: Snapshot = SNAPSHOT) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in answer(words, snapshot).splitlines())


# --- beside HAProxy ------------------------------------------------------------------------------


def test_the_lines_are_those_of_haproxy_in_its_order() -> None:
    theirs = [line.split(": ")[0] for line in CAPTURE["text"].split("\n") if line]
    assert list(told()) == theirs


@pytest.mark.parametrize("words", ["typed", "typed float"])
def test_places_names_tags_and_types_are_those_of_haproxy(words: str) -> None:
    def heads(text: str) -> list[str]:
        return [line.rsplit(":", 1)[0] for line in text.split("\n") if line and "7.Up" not in line]

    theirs = heads(CAPTURE[words])
    # HAProxy tags two of its TLS as rates when it is asked for fractions, and as gauges when not.
    kept = [head.replace(":MRP:", ":MGP:") if "SslFront" in head else head for head in theirs]
    assert heads(answer(words)) == kept


@pytest.mark.parametrize("words", ["json", "typed json"])
def test_the_json_has_the_shape_of_that_of_haproxy(words: str) -> None:
    theirs, ours = json.loads(CAPTURE[words]), json.loads(answer(words))
    for cell in (*theirs, *ours):
        del cell["value"]["value"]
    assert ours == theirs
    assert answer(words).startswith('[{"field":{"pos":0,"name":"Name"},"processNum":1,')
    assert answer(words).endswith("}}]\n")


# --- what is ours --------------------------------------------------------------------------------


def test_we_say_that_we_are_haproxy_as_those_demand_who_read_it() -> None:
    lines = told()
    assert (lines["Name"], lines["Version"]) == ("HAProxy", HAPROXY_VERSION)
    assert NAME == "HAProxy"
    assert re.fullmatch(r"2\.6\.12-dsbalance-[\d.]+", HAPROXY_VERSION)
    assert HAPROXY_VERSION.endswith(VERSION)
    assert re.fullmatch(r"\d{4}/\d\d/\d\d", RELEASE_DATE)


def test_each_figure_stands_in_its_line() -> None:
    lines = told()
    expected: dict[str, Any] = {
        "Pid": 77,
        "Uptime": "1d 2h03m04s",
        "Uptime_sec": 93784,
        "node": "knot",
        "description": "some words",
        "Start_time_sec": 1_000_000_000,
        "Maxconn": 1000,
        "Hard_maxconn": 1000,
        "Ulimit-n": 2048,
        "Maxsock": 2048,
        "CurrConns": 5,
        "Tasks": 21,
        "CumConns": 70,
        "CumReq": 80,
        "ConnRate": 9,
        "MaxConnRate": 10,
        "SessRate": 9,
        "MaxSessRate": 10,
        "TotalBytesOut": 11_000,
        "BytesOutRate": 12,
        "Maxpipes": 13,
        "PipesUsed": 14,
        "PipesFree": 15,
        "Listeners": 16,
        "Jobs": 21,
        "Stopping": 1,
        "Idle_pct": 97,
        "DroppedLogs": 18,
    }
    assert {name: lines[name] for name in expected} == {
        name: str(value) for name, value in expected.items()
    }
    others = {"Name", "Version", "Release_date", "Build info", "Nbthread", "Nbproc", "Process_num"}
    assert {lines[name] for name in lines if name not in expected.keys() | others} == {"0"}


def test_what_is_not_known_is_zero_and_no_description_is_no_line() -> None:
    process = blank(ProcessSnapshot, pid=1, node="knot")
    lines = told("", replace(SNAPSHOT, process=process, uptime=0.0))
    assert (lines["Maxconn"], lines["Ulimit-n"], lines["Uptime"]) == ("0", "0", "0d 0h00m00s")
    assert "description" not in lines
    assert lines["Stopping"] == "0"


# --- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", InfoQuestion()),
        ("nonsense", InfoQuestion()),
        ("typed json", InfoQuestion(form=InfoForm.JSON)),
        ("json typed", InfoQuestion(form=InfoForm.TYPED)),
        ("desc float", InfoQuestion(is_described=True, is_exact=True)),
    ],
)
def test_of_two_forms_the_last_one_counts(words: str, expected: InfoQuestion) -> None:
    assert read_question(words.split()) == expected


def test_fractions_are_told_when_they_are_asked_for() -> None:
    lines = told("float")
    assert (lines["Uptime_sec"], lines["Start_time_sec"]) == ("93784.25", "1000000000.5")
    assert lines["ConnRate"] == "9"
    assert "8.Uptime_sec.1:MDP:flt:93784.25\n" in answer("typed float")
    cells = {cell["field"]["name"]: cell["value"] for cell in json.loads(answer("json float"))}
    assert cells["Uptime_sec"] == {"type": "flt", "value": 93784.25}
    assert cells["Tainted"] == {"type": "str", "value": "0"}


@pytest.mark.parametrize("form", ["", "typed"])
def test_a_description_stands_behind_each_value(form: str) -> None:
    plain, described = answer(form).splitlines(), answer(f"{form} desc").splitlines()
    for line, longer, (fact, _) in zip(plain, described, facts(SNAPSHOT), strict=True):
        assert longer == f'{line}:"{fact.text}"'


def test_every_line_is_explained_once_and_has_a_place_of_its_own() -> None:
    assert len({fact.place for fact in FACTS}) == len({fact.name for fact in FACTS}) == len(FACTS)
    assert all(fact.text and '"' not in fact.text for fact in FACTS)


def test_a_node_may_have_any_name() -> None:
    strange = replace(SNAPSHOT, process=replace(SNAPSHOT.process, node='a"b\nc', description="é"))
    assert '50.node.1:COS:str:a"b c\n' in answer("typed", strange)
    cells = {cell["field"]["name"]: cell["value"] for cell in json.loads(answer("json", strange))}
    assert cells["node"]["value"] == 'a"b\nc'
    assert len(answer("", strange).splitlines()) == len(FACTS)
