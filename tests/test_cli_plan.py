"""``plan`` and ``explain`` on the command line; what they say is tested where it is worked out."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dsbalance import cli
from dsbalance.haproxy.writer import write
from dsbalance.suite import suite

ROOT = Path(__file__).resolve().parent.parent
SUITE = ["--paragon", "10.0.0.11,10.0.0.12,10.0.0.13"]


@pytest.fixture
def cfg(tmp_path: Path) -> str:
    """The suite's file: three Paragon servers, two of Phoenix."""
    path = tmp_path / "suite.cfg"
    addresses = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    path.write_text(write(suite(paragon=addresses, phoenix=addresses[:2])), encoding="utf-8")
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command says that goes well."""
    assert cli.main(words) == cli.EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_plan_is_shown_for_a_file(cfg: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "-f", cfg, "--clients", "10.1.0.0/24", "--lose", "primary-2"]
    text = said(capsys, *words)
    assert text.startswith("254 clients: primary-2 is lost.\n\nparagon and paragon-http:\n")
    assert "\nphoenix and phoenix-http:\n" in text
    assert "\x1b" not in text
    alone = said(capsys, *words, "--backend", "phoenix-http")
    assert "paragon" not in alone


def test_a_plan_needs_no_file_for_the_suite(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "plan", *SUITE, "--clients", "10.1.0.7")
    assert "\nprimary-3 " in text


def test_changes_can_be_combined_and_repeated(cfg: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "-f", cfg, "--clients", "10.1.0.7", "--lose", "primary-1,primary-2"]
    words += ["--lose", "paragon/primary-3", "--add", "paragon/x=10.0.0.9", "--weight", "x=3"]
    facts = json.loads(said(capsys, *words, "--weight", "primary-1=2", "--json"))
    assert facts["change"] == {
        "lose": ["primary-1", "primary-2", "paragon/primary-3"],
        "add": {"paragon/x": "10.0.0.9"},
        "weights": {"x": 3, "primary-1": 2},
    }


def test_clients_come_from_words_and_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "printers.txt"
    path.write_text("10.1.0.2  # the lobby\n10.1.0.9-10.1.0.10\n", encoding="utf-8")
    clients = f"10.1.0.0/30,{path}"
    lines = said(capsys, "plan", *SUITE, "--clients", clients, "--clients", "::1", "--csv")
    assert [line.partition(",")[0] for line in lines.splitlines()] == [
        *("client", "10.1.0.1", "10.1.0.2", "10.1.0.9", "10.1.0.10", "::1"),
    ]


def test_an_explanation_is_shown_for_each_backend(
    cfg: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "explain", "10.1.0.7", "-f", cfg)
    first, second = text.split("\n\n10.1.0.7 at phoenix")
    assert first.startswith("10.1.0.7 at paragon, and so at paragon-http\n\n  arrival ")
    assert "decision" in second
    words = ["explain", "10.1.0.7", *SUITE, "--json", "--lose", "primary-1", "--weight"]
    (facts,) = json.loads(said(capsys, *words, "primary-2=0"))
    assert facts["server"] == "primary-3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clients", "10.1.0.0/33"], "'10.1.0.0/33' is not a network"),
        (["--clients", "nobody.txt"], "nobody.txt: cannot read: No such file"),
        (["--clients", ","], "there is no client"),
        (["--clients", "10.0.0.0/8"], "a plan takes 100,000 at the most"),
        (["--clients", "::1", "--lose", "x"], "there is no server 'x'; there is primary-1"),
        (["--clients", "::1", "--add", "primary-1=10.0.0.9"], "add: say BACKEND/primary-1"),
        (["--clients", "::1", "--add", "paragon/x=a", "--add", "paragon/x=b"], "named twice"),
        (["--clients", "::1", "--weight", "primary-1=1", "--weight", "primary-1=2"], "named twice"),
        (["--clients", "::1", "--weight", "primary-1=257"], "weight must be 0 to 256"),
        (["--clients", "::1", "--backend", "x"], "no backend with servers 'x'"),
    ],
)
def test_wrong_input_is_named(
    words: list[str], message: str, cfg: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "-f", cfg, *words]) == cli.EXIT_WRONG
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dsbalance: ")
    assert message in captured.err


def test_a_bad_line_of_a_list_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "printers.txt"
    path.write_bytes(b"10.1.0.2\n\nlobby\nprinter\n")
    assert cli.main(["plan", *SUITE, "--clients", str(path)]) == cli.EXIT_WRONG
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"dsbalance: {path}:3: 'lobby' is not an address")
    assert second.startswith(f"dsbalance: {path}:4: 'printer' ")
    path.write_bytes(b"10.1.0.2\n\xff\n")
    assert cli.main(["plan", *SUITE, "--clients", str(path)]) == cli.EXIT_WRONG
    assert f"{path}:2: byte 0xff is not UTF-8" in capsys.readouterr().err


def test_a_bad_file_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("listen a\n    dance\n", encoding="utf-8")
    assert cli.main(["explain", "10.1.0.7", "-f", str(path)]) == cli.EXIT_WRONG
    assert f"{path}:2: " in capsys.readouterr().err


def test_a_change_that_a_file_does_not_allow_has_the_line_of_its_backend(
    cfg: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--clients", "::1", "--add", "paragon/primary-1=10.0.0.9"]
    assert cli.main(["plan", "-f", cfg, *words]) == cli.EXIT_WRONG
    assert re.search(
        r"suite\.cfg:\d+: server 'primary-1' is given 2 times", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words",
    [
        ["plan", *SUITE],
        ["plan", "--clients", "::1"],
        ["plan", "--clients", "::1", "-f", "x.cfg", *SUITE],
        ["plan", "--clients", "::1", *SUITE, "--json", "--csv"],
        ["plan", "--clients", "::1", *SUITE, "--add", "x"],
        ["plan", "--clients", "::1", *SUITE, "--add", "=10.0.0.9"],
        ["plan", "--clients", "::1", *SUITE, "--weight", "x=heavy"],
        ["plan", "--clients", "::1", *SUITE, "--weight", "x=-1"],
        ["plan", "--clients", "::1", *SUITE, "--weight", "x=" + "9" * 5000],
        ["explain", *SUITE],
        ["explain", "::1"],
        ["explain", "::1", "::2", *SUITE],
        ["-f", "x.cfg", "plan", "--clients", "::1"],
    ],
)
def test_wrong_words_are_a_matter_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err.splitlines()[-1].isprintable()


def test_a_weight_that_is_no_number_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for weight in ("heavy", "9" * 5000):
        with pytest.raises(SystemExit):
            cli.main(["plan", *SUITE, "--clients", "::1", "--weight", f"x={weight}"])
        assert "a weight is a number of 0 to 256" in capsys.readouterr().err


# -- how it is shown


class Terminal(io.TextIOWrapper):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        """All that was written."""
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("environment", "encoding", "is_coloured", "has_blocks"),
    [
        ({"TERM": "xterm"}, "utf-8", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "utf-8", False, True),
        ({"TERM": "dumb"}, "utf-8", False, True),
        ({"TERM": "xterm"}, "ascii", True, False),
        ({"TERM": "xterm"}, "cp1252", True, False),
    ],
)
def test_a_picture_suits_the_terminal(
    environment: dict[str, str],
    encoding: str,
    is_coloured: bool,
    has_blocks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "100", "WT_SESSION": "1", **environment}.items():
        monkeypatch.setenv(name, value)
    out = Terminal(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    words = ["--clients", "10.1.0.0/24", "--lose", "primary-1"]
    assert cli.main(["plan", *SUITE, *words]) == cli.EXIT_OK
    assert ("\x1b[" in out.text) is is_coloured
    assert ("█" in out.text) is has_blocks
    bare = re.sub(r"\x1b\[[\d;]*m", "", out.text)
    assert 80 < max(map(len, bare.splitlines())) < 100


def test_an_explanation_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = said(capsys, "explain", "10.1.0.7", *SUITE)
    assert 100 < max(map(len, text.splitlines())) < 120


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the commands of a page whose output follows, and that output."""
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m dsbalance ((?:plan|explain) .*)$", text, re.M)
    outputs = re.findall(r"^```text\n(.*?)^```", text, re.M | re.S)
    return list(zip(commands, outputs, strict=True))


@pytest.mark.parametrize(
    ("command", "shown"), blocks(ROOT / "docs" / "plan.md"), ids=["plan", "explain"]
)
def test_the_page_shows_what_is_shown(command: str, shown: str) -> None:
    words = shlex.split(command.replace("suite.cfg", "examples/suite.cfg"))
    done = subprocess.run(
        [sys.executable, "-m", "dsbalance", *words],
        cwd=ROOT,
        env={"COLUMNS": "81", "PYTHONIOENCODING": "utf-8", "PATH": ""},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == shown


def test_the_readme_has_part_of_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Look ahead$.*?^```text\n(.*?)^```", readme, re.M | re.S)
    assert section in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
