"""Private copies of programs, made by a second thread while the first one links everything else."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType

from kache.core.unit import Unit
from kache.store.local import LocalStore


class CopiesAhead:
    """Copies the large private files of units, in the order in which they are placed.

    Copies that nobody took when it ends are left for the hits of the same build: a program whose unit has to wait for
    a build script's run is wanted a moment later. The store drops what nobody takes at all.

    Args:
        store: where they are.
        units: those about to be placed, dependencies first; of several versions the likeliest first.
    """

    def __init__(self, store: LocalStore, units: Iterable[Unit]) -> None:
        likeliest: dict[tuple[str, str], Unit] = {}
        for unit in units:
            likeliest.setdefault(unit.place, unit)
        private = (file for unit in likeliest.values() for file in unit.files if file.digest and not file.shared)
        self._ready = {file.digest: threading.Event() for file in private if store.is_large(file)}
        self._store = store
        self._is_over = False

    def __enter__(self) -> CopiesAhead:
        if self._ready:
            threading.Thread(target=self._run, name="copies-ahead", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over = True

    def wait_for(self, digest: bytes) -> None:
        """Return when a file's copy is made, if it is one of them; what went wrong the restore will meet again."""
        ready = self._ready.get(digest)
        if ready is not None:
            ready.wait()

    def _run(self) -> None:
        for digest, ready in self._ready.items():
            if not self._is_over:
                self._store.prepare_copy(digest)
            ready.set()
