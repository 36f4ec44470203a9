"""What stands on the pages holds: their files are read by both programs, and do what is said."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors import Greeter, connect, greeted_by
from dsbalance import Proxy
from dsbalance.haproxy.config import read
from processes import ROOT
from programs import HAPROXY

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```haproxy\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    )
]


@pytest.mark.parametrize("text", BLOCKS)
def test_a_file_on_a_page_has_nothing_wrong_and_nothing_idle(text: str) -> None:
    result = read([("page.cfg", text)])
    assert result.notices == ()


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
@pytest.mark.parametrize("text", BLOCKS)
def test_haproxy_takes_a_file_on_a_page(text: str, tmp_path: Path) -> None:
    file = tmp_path / "page.cfg"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [HAPROXY or "", "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_only_those_come_in_whom_the_page_lets_in(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    """The file about who may come in, with addresses of this machine in place of its own."""
    (text,) = (block.values[0] for block in BLOCKS if "acl printers" in str(block.values[0]))
    front, printer, other, manager, stranger = (loopback() for _ in range(5))
    text = str(text).replace(" 10.20.0.0/16 10.21.0.0/16", f" {printer} {other}")
    text = text.replace(" 10.9.0.0/24", f" {manager}").replace("bind :", f"bind {front}:")
    greeters = {}
    for number in (1, 2, 3):
        host = loopback()
        text = text.replace(f" 10.0.0.1{number}", f" {host}")
        greeters[number] = Greeter(f"primary-{number}", host, 5022)
        stack.callback(greeters[number].close)
    proxy = stack.enter_context(Proxy(read([("page.cfg", text)]).config))
    address = front, 5022

    def come(source: str) -> None:
        """Stay, and see that one was let in."""
        assert stack.enter_context(connect(address, source)).take(8) == b"primary-"

    def is_rejected(source: str) -> bool:
        try:
            return greeted_by(address, source) == ""
        except ConnectionResetError:
            return True

    assert is_rejected(stranger)
    assert greeted_by(address, printer) in ("primary-1", "primary-2")
    assert greeted_by(address, manager) == "primary-3"
    for _ in range(40):
        come(printer)
    assert is_rejected(printer)
    come(other)
    for _ in range(41):
        come(manager)
    proxy.maint("management/primary-3")
    assert greeted_by(address, manager) in ("primary-1", "primary-2")
