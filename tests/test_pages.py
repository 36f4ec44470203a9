"""The files of ``errorfile``: read once, refused with their name, closed at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsbalance.errors import ConfigError
from dsbalance.http_options import HttpOptions
from dsbalance.model import Backend, Bind, Frontend
from dsbalance.pages import Pages

PAGE = b"HTTP/1.0 503 Sorry\r\nContent-Type: text/plain\r\n\r\nBack at noon.\n"


def frontend(*files: tuple[int, str]) -> Frontend:
    options = HttpOptions(error_files=files)
    return Frontend(name="f", binds=(Bind(port=80),), backend="b", http=options)


def backend(*files: tuple[int, str]) -> Backend:
    return Backend(name="b", http=HttpOptions(error_files=files))


@pytest.fixture
def page(tmp_path: Path) -> str:
    path = tmp_path / "503.http"
    path.write_bytes(PAGE)
    return str(path)


def test_a_page_is_read_once_however_many_name_it(page: str) -> None:
    pages = Pages()
    before = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    pages.read([frontend((503, page)), backend((503, page))])
    if before:
        assert len(os.listdir("/dev/fd")) == before + 1
    pages.close()
    if before:
        assert len(os.listdir("/dev/fd")) == before


def test_what_a_page_holds_is_sent_from_the_file(page: str) -> None:
    pages = Pages()
    pages.read([backend((503, page))])
    part = pages.answers[503, page].file
    assert part is not None
    os.lseek(part.fd, part.offset, os.SEEK_SET)
    assert os.read(part.fd, part.length) == b"Back at noon.\n"
    pages.close()
    assert not pages.answers


def test_whoever_has_no_http_names_no_page() -> None:
    pages = Pages()
    pages.read([Backend(name="b")])
    assert not pages.answers


def test_every_file_that_is_wrong_is_named_with_its_section(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing.http")
    words = tmp_path / "words.http"
    words.write_text("Back at noon.\n")
    large = tmp_path / "large.http"
    large.write_bytes(PAGE + bytes(1024 * 1024))
    pages = Pages()
    with pytest.raises(ConfigError) as caught:
        pages.read([frontend((503, nothing)), backend((502, str(words)), (504, str(large)))])
    first, second, third = map(str, caught.value.problems)
    assert nothing in first
    assert "frontend f" in first
    assert str(words) in second
    assert "backend b" in second
    assert "1048576" in third
    pages.close()
