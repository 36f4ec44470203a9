"""The log of HAProxy and ours of the same events, line by line."""
