"""What a page is made of: by default it tells no more than it must, and nobody may change it."""

from __future__ import annotations

from dsbalance.history import History
from dsbalance.page_parts import Clock
from dsbalance.view import View
from pretence import stage


def test_a_plain_view_tells_and_allows_nothing_that_was_not_asked_for() -> None:
    view = View(uri="/st", snapshot=stage(), history=History(), clock=Clock(0.0, 0.0))
    assert not view.is_admin
    assert not view.shows_legends
    assert (view.version, view.node, view.description) == ("", "", "")
    assert view.refresh is None
