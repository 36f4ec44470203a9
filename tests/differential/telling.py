"""Stories, told by a seed or by what was written down, up to the first difference."""

from __future__ import annotations

from typing import NamedTuple

from .chance import Chance
from .events import Event
from .fairness import is_fair
from .play import SIDES, Maker, Play
from .story import Setup, Story


class Ending(NamedTuple):
    """What came of a story.

    Attributes:
        story: What happened, up to the first difference.
        found: A line for each difference after the last event; none: the sides are alike.
        decisions: How many there were.
    """

    story: Story
    found: list[str]
    decisions: int


def performed(
    seed: int, setup: Setup, decisions: int, makers: tuple[Maker, Maker] = SIDES
) -> Ending:
    """Let events of a seed happen until there are so many decisions, or a difference."""
    with Play(setup, makers) as play:
        chance = Chance(seed, play)
        events: list[Event] = []
        found = play.compare()
        while play.decisions < decisions and not found:
            events.append(chance.next())
            found = play.perform(events[-1])
        return Ending(Story(setup, tuple(events)), found, play.decisions)


def replay(story: Story, makers: tuple[Maker, Maker] = SIDES) -> Ending:
    """Play a story up to its end or the first difference; what is not fair by then is left out."""
    with Play(story.setup, makers) as play:
        happened: list[Event] = []
        found = play.compare()
        for event in story.events:
            if found:
                break
            if is_fair(play, event):
                happened.append(event)
                found = play.perform(event)
        return Ending(Story(story.setup, tuple(happened)), found, play.decisions)
