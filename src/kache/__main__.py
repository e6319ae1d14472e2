"""`python -m kache`: the command line; the native launcher comes here for anything that is not a compile."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C among imports is no traceback; `main` takes it back
    from kache.cli.main import main
    from kache.util.leaving import leave

    leave(main())
