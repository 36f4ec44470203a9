"""``python -m dsbalance``."""

import sys

from dsbalance.cli import main

if __name__ == "__main__":
    sys.exit(main())
