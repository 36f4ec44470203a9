"""HAProxy and dsbalance in front of the same servers, told the same things, asked the same.

    events     what may happen, one line each
    story      a configuration and the events that follow, as one text that can be played again
    files      configurations, from a seed
    chance     events, from a seed and from what there is by now
    fairness   which events may happen: what differs on purpose is left out
    side       what either program has to offer; ``haproxy`` and ``ours`` are the two
    street     the clients in front and the servers behind
    play       both sides on one street: an event happens to both, and they are compared
    telling    a story is told up to its end, or to the first difference
    shrinking  the same difference with fewer events
    corpus     raw requests through both, in HTTP mode
    statistics the same traffic through both, and what `show stat` says of it
    logs       the same traffic through both, and what they log of it

A *decision* is which server a client got, that it has to wait, or that it was sent away. After each
event everything that can be observed is compared as well: who is stuck to whom, each server's
state, weight, sessions, queue and counters.

    python3 -m tests.differential --seeds 1-60 --decisions 200
"""
