"""The same raw bytes through a HAProxy and through dsbalance, and what both sides of each see.

    cases        what a client and a server do, from ``tests/data/http-corpus.json``
    actors       the two at work: what is said, what is heard, how a connection ends
    streams      what was heard, in a form that can be compared
    outcome      what came of a case, and what of that differs on purpose
    sides        the two programs, each with a frontend and a backend for every case
    run          all cases through one side, many at a time

What HAProxy 2.6.12 makes of each case is kept in ``tests/data/haproxy-http-corpus.json``, so that
ours is compared where no HAProxy is installed; where one is, it is asked again.

    python3 -m tests.differential.corpus              ours beside what was captured
    python3 -m tests.differential.corpus --portable   the same without epoll and splice
    python3 -m tests.differential.corpus --live       HAProxy beside what was captured
    python3 -m tests.differential.corpus --capture    HAProxy is asked, and its answers are kept
"""
