"""``python -m dsbalance``."""

import sys

if __name__ == "__main__":
    try:
        from dsbalance.cli import main

        status = main()
    except KeyboardInterrupt:
        # Before a command could take it for its own.
        status = 130
    sys.exit(status)
