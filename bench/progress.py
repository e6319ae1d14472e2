"""Show that work goes on: a counter that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import time

PLAIN_INTERVAL_S = 10.0
# cargo's progress bar, forced on by CARGO_TERM_PROGRESS_WHEN=always: `Building [=>   ] 12/62: regex, rg(bin)`
COUNTER = re.compile(r"(\d+)/(\d+): ([^\r\n]*)")


class Progress:
    """The progress of one named step; feed it a cargo build's output."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = sys.stderr.isatty()
        self._started = time.monotonic()
        self._spoke = self._started
        self._total = ""
        if not self._live:
            print(f"{title} …", file=sys.stderr, flush=True)

    def feed(self, chunk: str) -> None:
        """Take a piece of cargo's output."""
        found = COUNTER.findall(chunk)
        if not found:
            return
        done, self._total, what = found[-1]
        now = time.monotonic()
        if self._live:
            line = f"{self._title}: {done}/{self._total} units, {now - self._started:.0f} s  {what}"
            print(f"\r\x1b[K{line[:100]}", end="", file=sys.stderr, flush=True)
        elif now - self._spoke >= PLAIN_INTERVAL_S:
            self._spoke = now
            print(f"  {done}/{self._total} units", file=sys.stderr, flush=True)

    def done(self, result: str) -> None:
        """End the step's line."""
        if self._total and not self._live:
            result = f"{self._total} units, {result}"
        start = "\r\x1b[K" if self._live else "  "
        print(f"{start}{self._title + ': ' if self._live else ''}{result}", file=sys.stderr, flush=True)


PROGRESS_ENV = {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "80"}
