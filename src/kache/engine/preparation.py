"""What a build in a fresh target is about to want, made ready while cargo still reads manifests on one core."""

from __future__ import annotations

from kache.core.digest import Digest
from kache.core.entry import Entry, Role
from kache.engine.builds import Build
from kache.store.local import LocalStore

_MAX_SHARED = 1024
_MAX_COMMANDS = 8


class Preparation:
    """Remembers what builds were served; blobs that links share, and large ones that are copied."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._shared: dict[Digest, None] = {}
        self._large: dict[str, tuple[str, dict[Digest, None]]] = {}  # cargo's command line → last build, its files
        self._prepared = ""

    def note(self, build: Build, entry: Entry) -> None:
        """An entry was served or recorded."""
        for artifact in entry.artifacts:
            if artifact.role is Role.RLIB:
                self._shared.pop(artifact.digest, None)
                self._shared[artifact.digest] = None
            elif self._store.is_large(artifact):
                self._of(build)[artifact.digest] = None
        while len(self._shared) > _MAX_SHARED:
            self._shared.pop(next(iter(self._shared)), None)

    def _of(self, build: Build) -> dict[Digest, None]:
        known = self._large.pop(build.command, None)
        if known is None or known[0] != build.id:
            known = build.id, {}
        self._large[build.command] = known
        while len(self._large) > _MAX_COMMANDS:
            self._large.pop(next(iter(self._large)), None)
        return known[1]

    def run(self, build: Build) -> None:
        """Cargo asks its first question; blocks, so the daemon calls it in a worker thread, one call at a time.

        Links of shared blobs may be gone with an earlier target, which moved their ctime: some are hashed now. What
        the last build of the same command was served in large private files is copied now, once a build.
        """
        is_new = build.id != self._prepared
        self._prepared = build.id
        for digest in list(self._shared):
            self._store.check_blob(digest)
        if is_new:
            for digest in list(self._large.get(build.command, ("", {}))[1]):
                self._store.prepare_copy(digest)
