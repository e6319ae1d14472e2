"""`python -m kache`: the command line; the native launcher comes here for anything that is not a compile."""

from __future__ import annotations

from kache.cli.main import main
from kache.util.leaving import leave

if __name__ == "__main__":
    leave(main())
