"""What differs on purpose is only ever stricter."""

from __future__ import annotations

import pytest

from .outcome import Fate, Heard, Outcome, laxities

PAGE = "HTTP/1.1 400 Bad request\r\nconnection: close\r\n\r\n(page)"
OK = "HTTP/1.1 200 OK\r\nx: y\r\n\r\nok"
GET = "GET / HTTP/1.1\r\nx: y\r\n\r\n"


def outcome(client: str, fate: str, *servers: tuple[str, str]) -> Outcome:
    return Outcome.parse({"clients": [(client, fate)], "servers": servers, "log": []})


THEIRS = outcome(OK, "open", (GET, "open"))


@pytest.mark.parametrize(
    "ours",
    [
        THEIRS,
        outcome(PAGE, "ended"),
        outcome(PAGE, "ended", ("", "reset")),
        outcome(OK, "ended", (GET, "reset")),
        outcome(OK.replace("x: y\r\n", ""), "open", (GET, "open")),
        outcome(OK + PAGE, "reset", (GET, "ended")),
    ],
)
def test_what_passes_less_and_closes_sooner_is_stricter(ours: Outcome) -> None:
    assert laxities(THEIRS, ours) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (THEIRS, outcome(OK, "open", (GET.replace("y", "z"), "open"))),
        (THEIRS, outcome(OK.replace("x", "z"), "open", (GET, "open"))),
        (outcome(PAGE, "ended"), THEIRS),
        (outcome(OK, "ended", (GET, "open")), THEIRS),
        (outcome(OK, "open", (GET, "reset")), THEIRS),
    ],
)
def test_what_passes_more_or_stays_is_not(theirs: Outcome, ours: Outcome) -> None:
    assert laxities(theirs, ours) != []


def test_a_connection_kept_for_others_is_nobodys_concern_once_the_client_has_gone() -> None:
    gone = outcome(OK, "ended", (GET, "open"))
    assert gone.beside(outcome(OK, "ended", (GET, "ended"))).servers == (Heard(GET, Fate.ENDED),)
    assert THEIRS.beside(outcome(OK, "open", (GET, "ended"))) == THEIRS
    assert gone.beside(outcome(OK, "ended")) == gone
