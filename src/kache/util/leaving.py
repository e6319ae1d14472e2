"""The end of a process."""

from __future__ import annotations

import contextlib
import os
import sys


def leave(code: int) -> None:
    """Exit; at once, where threads of an object store's client still run.

    They let go of Python objects when they please, and one that does so while the interpreter shuts down aborts the
    process (seen with obstore 0.12 in one of eight runs). Everything that must be kept is on disk by now.
    """
    if "obstore" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
