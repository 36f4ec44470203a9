"""Bugs of the relay's table."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/relay.py",
    tests=("tests/test_relay.py",),
    mutants=(
        Mutant(
            bug="the answer of a server that has reset ends cleanly, as if it were complete",
            old="(Flow.OPEN, Flow.DEAD, Progress.ENDED): (Flow.SHUT, Step.RESET_SINK),",
            new="(Flow.OPEN, Flow.DEAD, Progress.ENDED): (Flow.SHUT, Step.CLOSE),",
        ),
        Mutant(
            bug="a server that answers and then refuses the rest takes its answer with it",
            old="(Flow.OPEN, Flow.OPEN, Progress.REFUSED): (Flow.DEAD, Step.DRAIN),",
            new="(Flow.OPEN, Flow.OPEN, Progress.REFUSED): (Flow.DEAD, Step.RESET_SOURCE),",
        ),
        Mutant(
            bug="a client that half-closes gets no answer any more",
            old="(Flow.OPEN, Flow.OPEN, Progress.ENDED): (Flow.SHUT, Step.SHUT_SINK),",
            new="(Flow.OPEN, Flow.OPEN, Progress.ENDED): (Flow.SHUT, Step.CLOSE),",
        ),
        Mutant(
            bug="a session in which both have said their last goes on for ever",
            old="(Flow.OPEN, Flow.SHUT, Progress.ENDED): (Flow.SHUT, Step.CLOSE),",
            new="(Flow.OPEN, Flow.SHUT, Progress.ENDED): (Flow.SHUT, Step.SHUT_SINK),",
        ),
        Mutant(
            bug="a client that half-closes and then goes is a clean end to the server",
            old="(Flow.SHUT, Flow.OPEN, Progress.RESET): (Flow.SHUT, Step.RESET_SINK),",
            new="(Flow.SHUT, Flow.OPEN, Progress.RESET): (Flow.SHUT, Step.CLOSE),",
        ),
        Mutant(
            bug="nobody thought of the one who goes while the other's last words are drained",
            old="    (Flow.DEAD, Flow.OPEN, Progress.RESET): (Flow.DEAD, Step.CLOSE),\n",
            new="",
        ),
        Mutant(
            bug="the wrong end is reset when an answer is refused",
            old="(Flow.OPEN, Flow.SHUT, Progress.REFUSED): (Flow.DEAD, Step.RESET_SOURCE),",
            new="(Flow.OPEN, Flow.SHUT, Progress.REFUSED): (Flow.DEAD, Step.RESET_SINK),",
        ),
        Mutant(
            bug="a direction that was refused counts as one that ended",
            old="(Flow.OPEN, Flow.OPEN, Progress.REFUSED): (Flow.DEAD, Step.DRAIN),",
            new="(Flow.OPEN, Flow.OPEN, Progress.REFUSED): (Flow.SHUT, Step.DRAIN),",
        ),
    ),
)
