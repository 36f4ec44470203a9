"""The same trouble with fewer events, so that somebody can read it."""

from __future__ import annotations

import time
from collections.abc import Callable

from .story import Story
from .telling import Ending


def shrunk(ending: Ending, retell: Callable[[Story], Ending], seconds: float = 60.0) -> Ending:
    """Leave out what the difference does not need: halves, quarters, and so on down to one event.

    Args:
        ending: Of a story that ends in a difference; it may become another one.
        retell: Plays a story; what happened in it may be less than what it says.
        seconds: After these it is what it is by then.
    """
    deadline = time.monotonic() + seconds
    size = len(ending.story.events)
    while size := size // 2:
        start = 0
        while start < len(ending.story.events) and time.monotonic() < deadline:
            events = ending.story.events
            shorter = Story(ending.story.setup, events[:start] + events[start + size :])
            told = retell(shorter)
            if told.found:
                ending = told
            else:
                start += size
    return ending
