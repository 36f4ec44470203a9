"""What is counted while it happens. No I/O, no clock.

    counted by                in                  of
    balancer and data path    ServerCounters      one server
    balancer and data path    BackendCounters     a backend, where no server had a part in it
    frontend and data path    FrontendCounters    a frontend, or one listener of it

Counters are plain attributes that whoever counts adds to, on the loop's thread: a method call
would cost more than the addition. They never go back, but for an operator who clears them. Nothing
is sampled: a rate is the difference of a total between two looks, a second apart, and so costs the
data path nothing.

The words are HAProxy's where it has plain ones; its column in ``show stat`` stands in brackets
(the HAProxy 2.6 management guide, section 9.1).
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

# HAProxy's times are means over so many sessions or requests.
_MEAN_OVER = 1024
# What `clear counters` forgets besides rates and times; and what stays whatever is cleared.
_PEAKS = frozenset({"peak", "queued_peak"})
_KEPT = frozenset({"current"})


class Pace:
    """How many of something there were in a second.

    Attributes:
        last: In the last whole second.
        peak: The most in a second.
        base: The total at the last look.
    """

    __slots__ = ("base", "last", "peak")

    def __init__(self) -> None:
        self.base = self.last = self.peak = 0

    def step(self, total: int, elapsed: float) -> None:
        """Look at a total, so many seconds after the last look; to be called once a second."""
        self.last = last = round((total - self.base) / max(1.0, elapsed))
        self.base = total
        self.peak = max(self.peak, last)

    def rate(self, total: int) -> int:
        """Return the count of the last whole second, or of this one if it is more already."""
        return max(self.last, total - self.base)

    def most(self, total: int) -> int:
        """Return the most in a second, this one included."""
        return max(self.peak, total - self.base)


class Times(NamedTuple):
    """How long the parts of sessions or requests took, in seconds.

    Attributes:
        queue: Waiting for a place.
        connect: Until the server was connected, retries among it.
        response: From there to the head of the response; 0 in TCP mode.
        total: From the first byte of a request, or from the accept of a session, to the end.
    """

    queue: float = 0.0
    connect: float = 0.0
    response: float = 0.0
    total: float = 0.0


_NOTHING = Times()


class Timing:
    """The parts of sessions or requests: sums of all, the longest, and the mean of the last.

    Attributes:
        count: How many have ended.
        queue, connect, response, total: Sums, in seconds; see :class:`Times`.
        longest_queue, longest_connect, longest_response, longest_total: The longest, in seconds.
        marks: Count and sums at some looks back, the oldest first; the newest are of less than
            what a mean is taken over.
    """

    __slots__ = (
        *("connect", "count", "queue", "response", "total"),
        *("longest_connect", "longest_queue", "longest_response", "longest_total", "marks"),
    )

    def __init__(self) -> None:
        self.count = 0
        self.queue = self.connect = self.response = self.total = 0.0
        self.longest_queue = self.longest_connect = 0.0
        self.longest_response = self.longest_total = 0.0
        self.marks: deque[tuple[int, Times]] = deque([(0, Times())])

    def add(self, queue: float, connect: float, response: float, total: float) -> None:
        """Count one that had a server and has ended."""
        self.count += 1
        self.queue += queue
        self.connect += connect
        self.response += response
        self.total += total
        # Not max(): it takes three times as long.
        if queue > self.longest_queue:  # noqa: PLR1730
            self.longest_queue = queue
        if connect > self.longest_connect:  # noqa: PLR1730
            self.longest_connect = connect
        if response > self.longest_response:  # noqa: PLR1730
            self.longest_response = response
        if total > self.longest_total:  # noqa: PLR1730
            self.longest_total = total

    def step(self) -> None:
        """Mark where it stands; to be called once a second."""
        marks = self.marks
        if self.count != marks[-1][0]:
            marks.append((self.count, self._sums()))
            while len(marks) > 1 and self.count - marks[1][0] >= _MEAN_OVER:
                marks.popleft()

    def recent(self) -> tuple[int, Times]:
        """Return how many are the last ones, 1024 or more if there were so many, and their sums."""
        count, before = self.marks[0]
        if count == self.count:
            return 0, _NOTHING
        sums = (now - then for now, then in zip(self._sums(), before, strict=True))
        return self.count - count, Times(*sums)

    def longest(self) -> Times:
        """Return the longest of each."""
        return Times(
            self.longest_queue, self.longest_connect, self.longest_response, self.longest_total
        )

    def forget_longest(self) -> None:
        """Look for the longest anew."""
        self.longest_queue = self.longest_connect = 0.0
        self.longest_response = self.longest_total = 0.0

    def _sums(self) -> Times:
        return Times(self.queue, self.connect, self.response, self.total)


def mean(parts: tuple[tuple[int, Times], ...]) -> Times:
    """Return the mean of what several :meth:`Timing.recent` say, weighted by their numbers."""
    count = sum(part[0] for part in parts)
    if not count:
        return Times()
    return Times(
        *(math.fsum(column) / count for column in zip(*(t for _, t in parts), strict=True))
    )


def clear(counters: ServerCounters | BackendCounters | FrontendCounters, *, is_all: bool) -> None:
    """Forget the highest values, or with ``is_all`` all that was counted.

    What is now stays, and so does how often a backend was lost: observed on HAProxy 2.6.12.
    """
    fresh = type(counters)()
    for word in counters.__slots__:
        value = getattr(counters, word)
        if word in _KEPT or (word == "downs" and isinstance(counters, BackendCounters)):
            continue
        if is_all or word in _PEAKS:
            setattr(counters, word, getattr(fresh, word))
        elif isinstance(value, Pace):
            value.peak = 0
        elif isinstance(value, Timing):
            value.forget_longest()


class ServerCounters:
    """What happened at one server since the start.

    Attributes:
        peak: Most sessions at a time (``smax``).
        total: Attempts to connect, each retry anew, and requests on a kept connection (``stot``).
        chosen: How often the policy, or the queue, sent it a session (``lbtot``).
        queued_peak: Most sessions that waited for it at a time (``qmax``).
        connect_errors: Sessions given up after its last attempt failed (``econ``).
        response_errors: Responses that were not valid or broke off (``eresp``).
        responses_denied: Responses that a rule refused (``dresp``).
        retries: Attempts that followed a failed one at the same server (``wretr``).
        redispatches: Sessions that left it unconnected for another server (``wredis``).
        connects: Connections that were begun (``connect``).
        responses: Its responses by the hundreds of their status, 1 to 5; 0: any other
            (``hrsp_1xx`` to ``hrsp_other``).
        bytes_in: From clients to it (``bin``).
        bytes_out: From it to clients (``bout``).
        check_failures: Checks that failed while it was up (``chkfail``).
        alarms: How often failed connects of traffic came to ``error-limit`` (``hanafail``).
        downs: How often it stopped running: marked down or put in maintenance (``chkdown``).
        client_aborts: Transfers that the client broke off (``cli_abrt``).
        server_aborts: Transfers that the server broke off (``srv_abrt``).
        errors: Attempts to connect that failed for want of our own (``eint``).
        timing: How long everything took.
        pace: Of ``total``.
        used_at: When a session last came; None: never.
    """

    __slots__ = (
        "alarms",
        "bytes_in",
        "bytes_out",
        "check_failures",
        "chosen",
        "client_aborts",
        "connect_errors",
        "connects",
        "downs",
        "errors",
        "pace",
        "peak",
        "queued_peak",
        "redispatches",
        "response_errors",
        "responses",
        "responses_denied",
        "retries",
        "server_aborts",
        "timing",
        "total",
        "used_at",
    )

    def __init__(self) -> None:
        self.peak = 0
        self.total = 0
        self.chosen = 0
        self.queued_peak = 0
        self.connect_errors = 0
        self.response_errors = 0
        self.responses_denied = 0
        self.retries = 0
        self.redispatches = 0
        self.connects = 0
        self.responses = [0] * 6
        self.bytes_in = 0
        self.bytes_out = 0
        self.check_failures = 0
        self.alarms = 0
        self.downs = 0
        self.client_aborts = 0
        self.server_aborts = 0
        self.errors = 0
        self.timing = Timing()
        self.pace = Pace()
        self.used_at: float | None = None

    @property
    def requests(self) -> int:
        """How many requests it has answered (``req_tot``)."""
        return sum(self.responses)

    @property
    def reuses(self) -> int:
        """How many requests found a connection that had been kept (``reuse``)."""
        return self.total - self.connects - self.errors

    def step(self, now: float, elapsed: float) -> None:
        """Look at the totals; to be called once a second."""
        if self.total != self.pace.base:
            self.used_at = now
        self.pace.step(self.total, elapsed)
        self.timing.step()


class BackendCounters:
    """What happened at a backend and at no server of it since the start.

    What happened at its servers is in their counters: a snapshot of a backend has the sums.

    Attributes:
        current: Sessions that were routed and not yet released, with those that wait (``scur``).
        peak: Most of them at a time (``smax``).
        total: Clients that asked for a server, those refused among them (``stot``).
        queued_peak: Most that waited for no server in particular (``qmax``).
        connect_errors: Clients for whom nothing was usable, or given up for a local reason.
        requests_denied: Requests that a rule of it refused (``dreq``).
        responses: What clients were told, by the hundreds of the status, 1 to 5; 0: any other, or
            nothing.
        bytes_in: From clients who had no server (``bin``).
        bytes_out: To clients who had no server (``bout``).
        downs: How often its last usable server was lost (``chkdown``).
        pace: Of ``total``.
        used_at: When a session last came; None: never.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connect_errors",
        "current",
        "downs",
        "pace",
        "peak",
        "queued_peak",
        "requests_denied",
        "responses",
        "total",
        "used_at",
    )

    def __init__(self) -> None:
        self.current = 0
        self.peak = 0
        self.total = 0
        self.queued_peak = 0
        self.connect_errors = 0
        self.requests_denied = 0
        self.responses = [0] * 6
        self.bytes_in = 0
        self.bytes_out = 0
        self.downs = 0
        self.pace = Pace()
        self.used_at: float | None = None

    @property
    def requests(self) -> int:
        """How many requests there were, whoever answered them (``req_tot``)."""
        return sum(self.responses)

    def enter(self) -> None:
        """Count one more that asked for a server, and is there."""
        self.total += 1
        self.current = current = self.current + 1
        if current > self.peak:  # noqa: PLR1730 -- max() takes three times as long
            self.peak = current

    def step(self, now: float, elapsed: float) -> None:
        """Look at the totals; to be called once a second."""
        if self.total != self.pace.base:
            self.used_at = now
        self.pace.step(self.total, elapsed)


class FrontendCounters:
    """What happened at a frontend, or at one listener of it, since the start.

    How many sessions there are, its room counts.

    Attributes:
        total: Client connections that were served (``stot``).
        denied: Client connections rejected by a rule, which are not in ``total`` (``dcon``).
        requests_denied: Requests that a rule refused (``dreq``).
        responses_denied: Responses that a rule refused (``dresp``).
        request_errors: Requests that were not valid or broke off (``ereq``).
        intercepted: Requests that we answered ourselves: redirects, statistics (``intercepted``).
        responses: What clients were told, by the hundreds of the status, 1 to 5; 0: any other, or
            nothing (``hrsp_1xx`` to ``hrsp_other``).
        bytes_in: From clients (``bin``).
        bytes_out: To clients (``bout``).
        pace: Of ``total``.
        request_pace: Of ``requests``.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "denied",
        "intercepted",
        "pace",
        "request_errors",
        "request_pace",
        "requests_denied",
        "responses",
        "responses_denied",
        "total",
    )

    def __init__(self) -> None:
        self.total = 0
        self.denied = 0
        self.requests_denied = 0
        self.responses_denied = 0
        self.request_errors = 0
        self.intercepted = 0
        self.responses = [0] * 6
        self.bytes_in = 0
        self.bytes_out = 0
        self.pace = Pace()
        self.request_pace = Pace()

    @property
    def requests(self) -> int:
        """How many requests there were (``req_tot``)."""
        return sum(self.responses)

    def step(self, elapsed: float) -> None:
        """Look at the totals; to be called once a second."""
        self.pace.step(self.total, elapsed)
        self.request_pace.step(self.requests, elapsed)
