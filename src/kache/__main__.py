"""`python -m kache`: the command line; the native launcher comes here for anything that is not a compile."""

from __future__ import annotations

import sys

from kache.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
