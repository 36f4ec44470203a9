"""Whole heads, request and response: what HAProxy 2.6.12 made of them is what we make of them.

Names of fields are compared without case, for ours keep the letters that they came with; a page's
length is not compared, for its sentence is ours.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dsbalance.haproxy.config import read
from dsbalance.http1 import Framing, RequestHead, ResponseHead
from dsbalance.http_answers import Answer
from dsbalance.http_fields import Origin
from dsbalance.http_options import HttpOptions
from dsbalance.http_rules import Rewriting

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "haproxy-http-rules.json").read_text(encoding="utf-8"))["cases"]


class Known:
    """What conditions may ask of a client that nobody counts."""

    def __init__(self, source: str) -> None:
        self.source = ip_address(source).packed
        self.dst_port = 80
        self.sc0_conn_cur = None
        self.sc0_conn_rate = None

    def nbsrv(self, backend: str | None) -> int | None:
        raise AssertionError(f"nobody asks how many servers {backend} has")


def rewriting(case: dict[str, Any]) -> Rewriting:
    """Return what the lines of ``case`` come to."""
    lines = [
        "defaults",
        "mode http",
        "timeout client 1s",
        "timeout connect 1s",
        "timeout server 1s",
    ]
    if case["backend"] is None:
        lines += ["listen l", "bind :80", *case["frontend"]]
    else:
        lines += ["frontend f", "bind :80", "default_backend b", *case["frontend"]]
        lines += ["backend b", *case["backend"]]
    config = read([("golden.cfg", "\n".join(lines))]).config
    (frontend,), (backend,) = config.frontends, config.backends
    return Rewriting(frontend.http or HttpOptions(), backend.http or HttpOptions())


def origin(case: dict[str, Any]) -> Origin:
    """Return who asked in ``case``."""
    address = case.get("source", "127.0.0.1")
    return Origin(
        source=address,
        source_port=case.get("source_port", 0),
        destination=address,
        destination_port=case.get("destination_port", 0),
        facts=Known(address),
    )


def read_alike(head: bytes | str) -> list[str]:
    """Return the lines of a head as they are compared."""
    text = head if isinstance(head, str) else head.decode("latin-1")
    first, *fields = text[: text.index("\r\n\r\n")].split("\r\n")
    pairs = [field.partition(":")[::2] for field in fields]
    return [first, *(f"{name.lower()}: {value.strip()}" for name, value in pairs)]


def without_length(head: list[str]) -> list[str]:
    return [re.sub(r"(content-length): [1-9]\d*", r"\1", line) for line in head]


@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_what_haproxy_made_of_it_we_make_of_it(case: dict[str, Any]) -> None:
    rules, who = rewriting(case), origin(case)
    request = RequestHead(case["request"].encode("latin-1"))
    is_open = case["is_open"]
    made = rules.request(request, who)
    if isinstance(made, Answer):
        assert case["sent"] is None
        assert not is_open or (rules.is_client_kept and not made.closes)
        rendered = made.render(request, keeps_client=is_open)
        assert [without_length(read_alike(rendered))] == [
            without_length(read_alike(head)) for head in case["got"]
        ]
        return
    # HTTP/2 without TLS is not asked for by us: its requests would go by unseen.
    assert read_alike(made) == [line for line in read_alike(case["sent"]) if line != "upgrade: h2c"]
    for raw, got in zip(case["response"], case["got"], strict=True):
        response = ResponseHead(raw.encode("latin-1"), request.method)
        assert not is_open or rules.is_client_kept or response.framing is Framing.TUNNEL
        head = rules.response(response, request, who, keeps_client=is_open)
        if isinstance(head, Answer):
            rendered = head.render(request, keeps_client=is_open)
            assert without_length(read_alike(rendered)) == without_length(read_alike(got))
        else:
            assert read_alike(head) == read_alike(got)
