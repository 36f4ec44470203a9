"""The table of a session's ends, against a model that knows only what each end has done."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.relay import Ending, Flow, Limits, Progress, Side, Step, next_step

EVENTS = (Progress.ENDED, Progress.RESET, Progress.REFUSED)
STREAMS = (Progress.DRAINED, Progress.BLOCKED, Progress.MORE)
# After these a session relays nothing more.
LAST = (Step.RESET_SINK, Step.RESET_SOURCE, Step.CLOSE)


def test_a_conversation_ends_when_both_have_said_their_last() -> None:
    # The client ends, the server answers and ends too.
    up, step = next_step(Flow.OPEN, Flow.OPEN, Progress.ENDED)
    assert (up, step) == (Flow.SHUT, Step.SHUT_SINK)
    down, step = next_step(Flow.OPEN, up, Progress.ENDED)
    assert (down, step) == (Flow.SHUT, Step.CLOSE)


def test_a_server_that_resets_in_mid_answer_is_not_taken_for_one_that_has_finished() -> None:
    assert next_step(Flow.OPEN, Flow.OPEN, Progress.RESET) == (Flow.SHUT, Step.RESET_SINK)
    assert next_step(Flow.OPEN, Flow.SHUT, Progress.RESET) == (Flow.SHUT, Step.RESET_SINK)


def test_the_answer_that_came_before_a_reset_is_delivered_first() -> None:
    # The server takes no more of the request, but has answered already.
    up, step = next_step(Flow.OPEN, Flow.OPEN, Progress.REFUSED)
    assert (up, step) == (Flow.DEAD, Step.DRAIN)
    # The end of what it sent is not a clean one.
    assert next_step(Flow.OPEN, up, Progress.ENDED) == (Flow.SHUT, Step.RESET_SINK)
    assert next_step(Flow.OPEN, up, Progress.RESET) == (Flow.SHUT, Step.RESET_SINK)


def test_a_server_that_has_answered_and_then_refuses_the_rest_resets_the_client() -> None:
    down, _ = next_step(Flow.OPEN, Flow.OPEN, Progress.ENDED)
    assert next_step(Flow.OPEN, down, Progress.REFUSED) == (Flow.DEAD, Step.RESET_SOURCE)


@pytest.mark.parametrize("event", STREAMS)
def test_what_only_moves_bytes_is_no_event_of_the_table(event: Progress) -> None:
    for own, other in itertools.product(Flow, Flow):
        with pytest.raises(KeyError):
            next_step(own, other, event)


@pytest.mark.parametrize("event", [event for event in EVENTS if event is not Progress.RESET])
@pytest.mark.parametrize("other", Flow)
def test_a_direction_that_is_dead_is_not_read_any_more(other: Flow, event: Progress) -> None:
    with pytest.raises(KeyError):
        next_step(Flow.DEAD, other, event)


@dataclass
class End:
    """One end of a session, and what a relay can know of it.

    Attributes:
        has_ended: It sent FIN, and everything before it was delivered.
        has_reset: It reset, and the relay has seen that.
        got: What the relay did to it: FIN, RST.
    """

    has_ended: bool = False
    has_reset: bool = False
    got: list[str] = field(default_factory=list)


class Session:
    """Two ends and the relay between them: the table decides, the ends keep the books."""

    def __init__(self) -> None:
        self.ends = {Side.CLIENT: End(), Side.SERVER: End()}
        # The direction that comes from each end.
        self.flows = {Side.CLIENT: Flow.OPEN, Side.SERVER: Flow.OPEN}
        self.is_over = False

    def possible(self) -> list[tuple[Side, Progress]]:
        """Return which direction may have which event now."""
        events = []
        for side in Side:
            if self.flows[side] is Flow.OPEN:
                events += [(side, event) for event in EVENTS]
            else:
                # It ended, or is not read any more, and resets because it is gone altogether.
                events.append((side, Progress.RESET))
        return [] if self.is_over else events

    def happen(self, side: Side, event: Progress) -> Step:
        """Let ``event`` happen to the direction from ``side``; return what the relay does."""
        other = Side.SERVER if side is Side.CLIENT else Side.CLIENT
        source, sink = self.ends[side], self.ends[other]
        expected = self.expect(source, sink, event)
        self.flows[side], step = next_step(self.flows[side], self.flows[other], event)
        assert step is expected
        if event is Progress.ENDED:
            source.has_ended = True
        elif event is Progress.RESET:
            source.has_reset = True
        else:
            sink.has_reset = True
        if step is Step.SHUT_SINK:
            sink.got.append("FIN")
        elif step is Step.RESET_SINK:
            sink.got.append("RST")
        elif step is Step.RESET_SOURCE:
            source.got.append("RST")
        elif step is Step.CLOSE:
            source.got.append("FIN")
            sink.got.append("FIN")
        self.is_over = step in LAST
        self._check()
        return step

    @staticmethod
    def expect(source: End, sink: End, event: Progress) -> Step:
        """Return what is right, said without the table's states."""
        if event is Progress.RESET:
            return Step.CLOSE if sink.has_reset else Step.RESET_SINK
        if event is Progress.ENDED:
            if source.has_reset:
                return Step.RESET_SINK
            return Step.CLOSE if sink.has_ended else Step.SHUT_SINK
        if source.has_reset:
            return Step.CLOSE
        # What the sink sent before it reset may still be on its way to the source.
        return Step.RESET_SOURCE if sink.has_ended else Step.DRAIN

    def _check(self) -> None:
        client, server = self.ends.values()
        for end, other in ((client, server), (server, client)):
            if self.is_over and other.has_reset and not end.has_reset:
                assert end.got[-1] == "RST", "a reset was passed on as a clean end"
            if not other.has_reset:
                assert "RST" not in end.got, "a reset was made up"
            assert other.has_ended or other.has_reset or not end.got
        if not self.is_over:
            assert Flow.OPEN in self.flows.values(), "nobody is left who could end it"


@given(st.data())
def test_however_it_goes_a_session_ends_and_a_reset_is_passed_on_as_one(
    data: st.DataObject,
) -> None:
    session = Session()
    for _ in range(4):
        events = session.possible()
        if not events:
            break
        session.happen(*data.draw(st.sampled_from(events)))
    assert session.is_over


def test_the_table_has_a_line_for_everything_that_can_happen() -> None:
    seen = set()

    def go_on(story: tuple[tuple[Side, Progress], ...]) -> None:
        session = Session()
        for side, event in story:
            other = Side.SERVER if side is Side.CLIENT else Side.CLIENT
            seen.add((session.flows[side], session.flows[other], event))
            session.happen(side, event)
        for each in session.possible():
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
