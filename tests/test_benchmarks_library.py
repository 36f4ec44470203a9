"""The library's benchmarks work, and page and picture show what the results say.

Here a figure may be anything: the machine is busy with the tests.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
QUICK = ("--rounds", "1", "--count", "small")
# Name -> how many lines there are of dsbalance.
LIBRARY = {
    "ring.py": 17,
    "route.py": 6,
    "plan.py": 3,
    "parsing.py": 4,
    "startup.py": 2,
    "table.py": 1,
}

on_linux = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc"
)


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / name), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def module(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> Any:
    return module(monkeypatch, "contest")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    return module(monkeypatch, "report")


# --- the programs --------------------------------------------------------------------------------


@on_linux
@pytest.mark.parametrize("name", LIBRARY)
def test_a_quick_round_measures_whatever_is_asked_for(name: str) -> None:
    done = run(name, *QUICK, "--rivals", "dsbalance")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [line for line in lines if line["rival"].startswith("dsbalance")]
    assert len(ours) == LIBRARY[name]
    for line in lines:
        assert (line["failed"], line["n"], len(line["rounds"])) == ([], 1, 1)
        assert {"claim", "unit", "versions"} <= line.keys()
        # Without its rival, nobody is compared.
        assert line.get("bars", {}).keys() <= line.keys() | {"relative", "relative_cpu"}


@on_linux
def test_the_ring_does_nothing_that_must_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ring = module(monkeypatch, "ring")
    for each in ring.all_rings(ROOT)[:3]:
        assert each.package == "dsbalance"
        assert ring.err(each, 5000) == dict.fromkeys(ring.MUST_NOT, 0)


def test_a_ring_that_moves_keys_without_need_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = module(monkeypatch, "ring")

    class Modulo(dict[str, int]):
        """Whoever loses one of ten servers moves nine keys of ten."""

        def lookup(self, key: str) -> str:
            return list(self)[hash(key) % len(self)]

    bad = ring.Ring(
        name="modulo",
        package="",
        module="",
        make=Modulo,
        lookup=lambda made: made.lookup,
        add=Modulo.__setitem__,
        remove=Modulo.__delitem__,
    )
    keys = ring.clients("text", 2000)
    assert ring.collateral(bad, keys) > 50
    forwards, backwards = (bad.owners(weights, keys) for weights in (ring.UNEVEN, ring.BACKWARDS))
    assert ring.differing(forwards, forwards) == 0
    assert ring.differing(forwards, backwards) > 50


def test_a_call_that_takes_long_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = module(monkeypatch, "table")
    longest = table.Longest()
    longest.time(lambda key: sum(range(1_000_000)) if key == b"2" else None, [b"1", b"2", b"3"])
    longest.time(lambda _key: None, [b"4"])
    figures = longest.figures("some")
    assert 1 < figures["some_cpu_ms"] <= figures["some_ms"]


# --- rounds and lines ----------------------------------------------------------------------------


class Someone:
    """A rival; its module is there."""

    def __init__(self, name: str, module: str = "json") -> None:
        self.name = self.package = name
        self.module = module


def lines_of(contest: Any, capsys: Any, rounds: int, figures: Mapping[str, list[Any]]) -> list[Any]:
    """Return the lines of a contest, where each rival has these figures or errors in turn."""
    turns = {name: iter(values) for name, values in figures.items()}

    def measure(rival: Someone) -> dict[str, float]:
        value = next(turns[rival.name])
        if isinstance(value, Exception):
            raise value
        return {"rate": value, "cpu_us": 100 / value}

    contest.run([Someone(name) for name in figures], rounds, measure)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rivals_are_compared_within_a_round(contest: Any, capsys: Any) -> None:
    it = contest.Contest("x", "y", "other", bars={"ours": {"relative": (2.0, None)}})
    figures = {"ours": [20.0, 200.0, 2.0], "other": [10.0, 50.0, 2.0]}
    ours, other = lines_of(it, capsys, 3, figures)
    assert ours["relative"] == {"min": 1.0, "median": 2.0, "max": 4.0}
    assert ours["relative_cpu"] == {"min": 0.25, "median": 0.5, "max": 1.0}
    assert ours["rate"] == {"min": 2.0, "median": 20.0, "max": 200.0}
    assert [figures["rate"] for figures in ours["rounds"]] == [20.0, 200.0, 2.0]
    assert other["relative"] == {"min": 1.0, "median": 1.0, "max": 1.0}
    assert ours["bars"] == {"relative": [2.0, None]}
    assert "bars" not in other


def test_a_round_that_went_wrong_does_not_count_and_is_told(contest: Any, capsys: Any) -> None:
    it = contest.Contest("x", "y", "other")
    figures: dict[str, list[Any]] = {
        "ours": [ValueError("it stood still"), 30.0],
        "other": [1.0, 10.0],
    }
    ours, _ = lines_of(it, capsys, 2, figures)
    assert (ours["failed"], ours["n"]) == (["it stood still"], 1)
    assert ours["relative"]["median"] == 3.0


def test_whoever_is_not_here_is_left_out_with_the_reason(contest: Any, capsys: Any) -> None:
    rivals = [Someone("ours"), Someone("gone", "no_such_module"), Someone("unwanted")]
    present, absent = contest.sort_out(rivals, ["ours", "gone"])
    assert present == rivals[:1]
    assert absent == {"gone": "not installed: No module named 'no_such_module'"}
    assert "gone is left out" in capsys.readouterr().err
    it = contest.Contest("x", "y", "gone", absent=absent)
    ours, gone = lines_of(it, capsys, 1, {"ours": [1.0]})
    assert "relative" not in ours
    assert (gone["absent"], gone["n"]) == (absent["gone"], 0)


def test_cpu_is_what_this_process_has_spent_while_it_was_metered(contest: Any) -> None:
    meter = contest.rig.Meter()
    spent = 0.0
    for _ in range(2):
        before = time.process_time()
        with meter:
            sum(range(1_500_000))
        spent += time.process_time() - before
        sum(range(3_000_000))
    figures = meter.sample(units=2).metrics
    assert figures["cpu_us"] == pytest.approx(figures["user_us"] + figures["system_us"])
    assert spent / 2 < 2e-6 * figures["cpu_us"] < spent * 2
    assert 0 < figures["rate"] < 2 / (spent / 2)


# --- the page and the picture --------------------------------------------------------------------


def result(rival: str, **words: Any) -> dict[str, Any]:
    """Return a result line with a rate, and with whatever else is said."""
    spread = {"min": 9.0, "median": 10.0, "max": 11.0}
    line = {"claim": "asking", "unit": "question", "rival": rival, "failed": [], "n": 1}
    return line | {"rate": spread, "versions": {"python": "3"}} | words


def test_the_page_and_the_picture_are_what_the_results_give(report: Any) -> None:
    found = report.read(report.RESULTS)
    assert report.PAGE.read_text(encoding="utf-8") == report.page(found)
    assert report.PICTURE.read_text(encoding="utf-8") == report.picture(found)


def test_a_table_has_every_rival_and_tells_who_is_not_in_it(report: Any) -> None:
    lines = [result("ours"), result("other"), result("gone", n=0, absent="not installed")]
    del lines[2]["rate"]
    table, notes = report.figures(lines)
    assert table.splitlines() == [
        "|  | question/s | least to most |",
        "| :-- | --: | --: |",
        "| ours | 10 | 9 to 11 |",
        "| other | 10 | 9 to 11 |",
    ]
    assert notes == "- gone is not in it: not installed"


@pytest.mark.parametrize(
    ("key", "bounds", "value", "verdict"),
    [
        ("relative", [1.3, None], 1.3, "rate x other at least 1.3, it is 1.3: met"),
        ("relative", [1.3, None], 1.2, "rate x other at least 1.3, it is 1.2: **missed**"),
        ("full_cpu_ms", [None, 1.0], 0.5, "full CPU ms at most 1, it is 0.5: met"),
        ("full_cpu_ms", [None, 1.0], 1.1, "full CPU ms at most 1, it is 1.1: **missed**"),
        ("errors", [0.0, 0.0], 0, "errors exactly 0, it is 0: met"),
        ("errors", [0.0, 0.0], 2946, "errors exactly 0, it is 2,950: **missed**"),
        ("bytes", [None, 200.0], None, "bytes at most 200, not measured"),
    ],
)
def test_what_is_asked_is_met_or_missed(
    report: Any, key: str, bounds: list[float | None], value: float | None, verdict: str
) -> None:
    line = result("ours", bars={key: bounds}, against="other")
    if value is not None:
        line[key] = {"min": 0.0, "median": value, "max": 1e6}
    assert report.verdict(line, key) == verdict


def test_a_result_that_must_not_be_is_bold(report: Any) -> None:
    words = {"case": "reset", "wanted": "RST"}
    lines = [result("ours", result="RST", **words), result("other", result="FIN", **words)]
    table, _ = report.outcomes(lines)
    assert table.splitlines()[2:] == ["| ours | RST |", "| other | **FIN** |"]


def test_a_bar_is_as_long_as_its_figure(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"dsbalance": 50.0, "other": 100.0, "other, tuned": 400.0}
    lines = [
        result(name, rate={"min": 1.0, "median": rate, "max": 500.0})
        for name, rate in rates.items()
    ]
    drawn = report.picture({"bulk": lines})
    assert drawn == report.picture({"bulk": lines})
    bars = [line for line in drawn.splitlines() if 'height="12"' in line]
    widths = [float(bar.partition(' width="')[2].partition('"')[0]) for bar in bars]
    longest = module(monkeypatch, "picture").BAR
    assert widths == [longest / 2, longest], "variants are for the tables"
    assert ["ours" in bar for bar in bars] == [True, False]


# --- the one command -----------------------------------------------------------------------------


def test_every_program_that_claims_something_has_its_place(
    report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = module(monkeypatch, "run").benchmarks()
    assert tuple(found) == report.ORDER
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in found if f"`{name}.py`" not in page] == []


@on_linux
def test_a_quick_run_shows_a_page_and_keeps_nothing() -> None:
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*.jsonl")}
    done = run("run.py", "--quick", "--only", "route")
    assert (done.returncode, done.stderr) == (0, "")
    assert "### Decisions for known clients" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*.jsonl")} == before
