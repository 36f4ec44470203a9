"""The examples run as they are, from a checkout, and show what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Name -> what it prints.
SHOWN = {
    "embed": """\
a client is served by a
server a: DRAIN
a client is served by b
""",
    "plain_http": """\
the server was told: 127.0.0.1
the server was told: 127.0.0.1
to one who claims to be somebody else: 10.9.8.7 then 127.0.0.1
a third connection at a time was not let in
""",
}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_says(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (SHOWN[name], "", 0)
