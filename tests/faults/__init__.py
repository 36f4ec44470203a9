"""What must survive: faults played with real sockets, both ends of a connection held by one test.

Each test's docstring is a sentence of the contract, with its number.
"""
