"""The table of a session's ends, against a model that knows only what each end has done."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import models
from dsbalance import relay
from dsbalance.relay import Ending, Flow, Limits, Progress, Side, Step, next_step

STREAMS = (Progress.DRAINED, Progress.BLOCKED, Progress.MORE)
# After these a session relays nothing more.
LAST = (Step.RESET_SINK, Step.RESET_SOURCE, Step.CLOSE)


# What happens, up from the client or down from the server, and what is to be done about each.
STORIES = {
    "both say their last": ("up ENDED, down ENDED", "SHUT_SINK, CLOSE"),
    "a client that resets": ("up RESET", "RESET_SINK"),
    "an answer that is cut off": ("up ENDED, down RESET", "SHUT_SINK, RESET_SINK"),
    "a client that has asked and goes": ("up ENDED, up RESET", "SHUT_SINK, RESET_SINK"),
    "a client that takes no answer": ("up ENDED, down REFUSED", "SHUT_SINK, RESET_SOURCE"),
    "one that answered and takes no more": ("down ENDED, up REFUSED", "SHUT_SINK, RESET_SOURCE"),
    "an answer before the reset": ("up REFUSED, down ENDED", "DRAIN, RESET_SINK"),
    "half an answer before the reset": ("up REFUSED, down RESET", "DRAIN, RESET_SINK"),
    "nobody for the answer": ("up REFUSED, down REFUSED", "DRAIN, CLOSE"),
    "nobody left while it is drained": ("up REFUSED, up RESET", "DRAIN, CLOSE"),
}


class Middle:
    """The table, and the books of one who does what it says."""

    def __init__(self) -> None:
        # The direction that comes from each end, and what that end was told last.
        self.flows = dict.fromkeys(models.Relay.ends, Flow.OPEN)
        self.told = dict.fromkeys(models.Relay.ends, "")
        self.is_over = False

    def act(self, source: str, event: Progress) -> Step:
        sink = models.Relay.other(source)
        self.flows[source], step = next_step(self.flows[source], self.flows[sink], event)
        if step is Step.SHUT_SINK:
            self.told[sink] = "FIN"
        elif step is Step.RESET_SINK:
            self.told[sink] = "RST"
        elif step is Step.RESET_SOURCE:
            self.told[source] = "RST"
        elif step is Step.CLOSE:
            self.told = {end: told or "FIN" for end, told in self.told.items()}
        self.is_over = step in LAST
        if not self.is_over:
            relay._check(*self.flows.values())
        return step

    def agrees(self, model: models.Relay) -> None:
        """Demand that everybody was told what they had to be told, and nothing else."""
        assert self.is_over is model.is_over()
        for end in models.Relay.ends:
            assert end in model.gone or self.told[end] == model.due(end)
            assert self.is_over or (self.flows[end] is Flow.OPEN) is model.is_heard(end)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize(("events", "steps"), STORIES.values(), ids=STORIES)
def test_a_session_goes_as_it_should(events: str, steps: str, is_mirrored: bool) -> None:
    middle = Middle()
    taken = []
    for word in events.split(", "):
        direction, event = word.split()
        source = "client" if (direction == "up") is not is_mirrored else "server"
        assert not middle.is_over
        taken.append(middle.act(source, Progress[event]).name)
    assert ", ".join(taken) == steps
    assert middle.is_over


def test_the_table_has_a_line_for_everything_that_can_happen_and_no_other() -> None:
    seen = set()

    def go_on(story: tuple[tuple[str, str], ...]) -> None:
        middle, model = Middle(), models.Relay()
        for source, event in story:
            other = models.Relay.other(source)
            seen.add((middle.flows[source], middle.flows[other], Progress[event.upper()]))
            middle.act(source, Progress[event.upper()])
            model.learn(source, event)
            middle.agrees(model)
        for each in model.possible():
            go_on((*story, each))

    go_on(())
    known = set()
    for own, other, event in itertools.product(Flow, Flow, Progress):
        try:
            next_step(own, other, event)
        except KeyError:
            continue
        known.add((own, other, event))
    assert seen == known
    assert not {event for *_, event in known} & set(STREAMS), "what moves bytes is no event"


class SessionMachine(RuleBasedStateMachine):
    """Two ends that say, end and reset what they like, and one in the middle who passes it on."""

    sides = st.sampled_from(models.Relay.ends)

    def __init__(self) -> None:
        super().__init__()
        self.model = models.Relay()
        self.middle = Middle()
        # What the ends have done; the one in the middle learns it when it looks.
        self.ended: set[str] = set()
        self.reset: set[str] = set()

    @rule(end=sides, words=st.binary(min_size=1, max_size=4))
    def say(self, end: str, words: bytes) -> None:
        if end not in self.ended | self.reset:
            self.model.said[end] += words

    @rule(end=sides)
    def finish(self, end: str) -> None:
        if end not in self.reset:
            self.ended.add(end)

    @rule(end=sides)
    def vanish(self, end: str) -> None:
        self.reset.add(end)

    @rule(source=sides, count=st.integers(1, 4), is_late=st.booleans())
    def look(self, source: str, count: int, is_late: bool) -> None:
        """Do what there is to do for one direction; who is late sees a reset and not the end."""
        model, is_open = self.model, self.middle.flows[source] is Flow.OPEN
        has_reset = source in self.reset - model.gone
        if self.middle.is_over:
            return
        if is_open and model.unheard(source):
            if model.other(source) in self.reset:
                self.learn(source, Progress.REFUSED)
            else:
                model.pass_on(source, count)
        elif is_open and source in self.ended and not (has_reset and is_late):
            self.learn(source, Progress.ENDED)
        elif has_reset or (is_open and source in self.reset):
            self.learn(source, Progress.RESET)

    def learn(self, source: str, event: Progress) -> None:
        assert (source, event.name.lower()) in self.model.possible()
        self.middle.act(source, event)
        self.model.learn(source, event.name.lower())

    @invariant()
    def agrees(self) -> None:
        self.middle.agrees(self.model)

    def teardown(self) -> None:
        """Let both end, if they have not yet: then the session ends, and nothing is missing."""
        for end in models.Relay.ends:
            self.finish(end)
        for _ in range(sum(map(len, self.model.said.values())) + 4):
            for end in models.Relay.ends:
                self.look(end, 1, is_late=False)
        self.agrees()
        assert self.middle.is_over
        for end in set(models.Relay.ends) - self.reset:
            other = models.Relay.other(end)
            assert self.model.heard[end] == self.model.said[other], "bytes were lost"
            assert self.middle.told[end] == ("RST" if other in self.model.gone else "FIN")


TestSession = SessionMachine.TestCase


# --- limits ---------------------------------------------------------------------------------------


def test_without_limits_a_session_may_be_silent_for_ever() -> None:
    for is_half_closed in (False, True):
        assert Limits().silence(is_half_closed=is_half_closed)[0] is None


@pytest.mark.parametrize(
    ("limits", "open_limit", "half_closed_limit"),
    [
        (Limits(client=50, server=60), (50, Side.CLIENT), (50, Side.CLIENT)),
        (Limits(client=60, server=50), (50, Side.SERVER), (50, Side.SERVER)),
        (Limits(client=60), (60, Side.CLIENT), (60, Side.CLIENT)),
        (Limits(server=60), (60, Side.SERVER), (60, Side.SERVER)),
        # One number for both sides: the client is the one that is blamed.
        (Limits(client=60, server=60), (60, Side.CLIENT), (60, Side.CLIENT)),
        # A tunnel's limit replaces both, even by a longer one.
        (Limits(client=5, server=6, tunnel=3600), (3600, Side.CLIENT), (3600, Side.CLIENT)),
        # A half-closed session has limits of its own, tunnel or not, each for its side.
        (
            Limits(client=60, server=50, client_fin=10, server_fin=20),
            (50, Side.SERVER),
            (10, Side.CLIENT),
        ),
        (Limits(tunnel=3600, server_fin=20), (3600, Side.CLIENT), (20, Side.SERVER)),
        (Limits(server=60, client_fin=90), (60, Side.SERVER), (60, Side.SERVER)),
    ],
)
def test_the_limit_that_ends_first_counts_and_names_its_side(
    limits: Limits, open_limit: tuple[float, Side], half_closed_limit: tuple[float, Side]
) -> None:
    assert limits.silence(is_half_closed=False) == open_limit
    assert limits.silence(is_half_closed=True) == half_closed_limit


seconds = st.none() | st.floats(0.001, 86400)


@given(
    st.builds(
        Limits,
        client=seconds,
        server=seconds,
        tunnel=seconds,
        client_fin=seconds,
        server_fin=seconds,
    ),
    st.booleans(),
)
@example(Limits(), False)
def test_the_limit_is_the_least_of_those_in_force(limits: Limits, is_half_closed: bool) -> None:
    def in_force(*names: str) -> float | None:
        given_ones = [value for name in names if (value := getattr(limits, name)) is not None]
        return given_ones[0] if given_ones else None

    fin = is_half_closed
    client = in_force(*(["client_fin"] if fin else []), "tunnel", "client")
    server = in_force(*(["server_fin"] if fin else []), "tunnel", "server")
    both = [value for value in (client, server) if value is not None]
    limit, side = limits.silence(is_half_closed=is_half_closed)
    assert limit == (min(both) if both else None)
    assert limit == (client if side is Side.CLIENT else server)


def test_endings_are_two_letters_as_in_haproxys_log() -> None:
    assert len({ending.value for ending in Ending}) == len(Ending)
    for ending in Ending:
        cause, phase = ending.value
        assert cause in "-CScsPRLUIDK"
        assert phase in "-RQCHDLT"
