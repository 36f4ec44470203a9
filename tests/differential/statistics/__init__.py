"""The same traffic through a HAProxy and through dsbalance, and then ``show stat`` of both.

    cases        what clients, servers and an operator do, from ``tests/data/statistics-cases.json``
    scene        they do it
    rows         what ``show stat`` answers, in a form that can be compared
    differences  what differs on purpose, and what cannot be equal
    sides        the two programs, each with a frontend and a backend for every case
    run          all cases through one side, many at a time

What HAProxy 2.6.12 counts is kept in ``tests/data/haproxy-statistics.json``, so that ours is
compared where no HAProxy is installed; where one is, it is asked again.

    python3 -m tests.differential.statistics              ours beside what was captured
    python3 -m tests.differential.statistics --portable   the same without epoll and splice
    python3 -m tests.differential.statistics --live       HAProxy beside what was captured
    python3 -m tests.differential.statistics --capture    HAProxy is asked, and its answers are kept
"""
