"""`python -m kache.verifier CACHE_DIR [LOCK]`: work the queue of verifications off, one compile at a time, and end.

It runs at the lowest priority and one at a time for each cache dir; whoever finds the queue's lock taken leaves.
LOCK is the descriptor of that lock where the starter holds it already.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from pathlib import Path

import msgspec

from kache.compilers.file_digests import FileDigests
from kache.core.entry import Event
from kache.core.outcome import Outcome
from kache.engine.configs import Configs
from kache.engine.logs import to_file
from kache.engine.lookup import Lookup
from kache.engine.recompile import Verdict, recompile
from kache.engine.verification import DIRECTORY, Task, take, tasks
from kache.errors import KacheError
from kache.ipc import protocol
from kache.ipc.protocol import ProtocolError, Request
from kache.store.local import LocalStore

LOG_NAME = "daemon.log"
KEPT_DIFFERENCES = 10
log = logging.getLogger("kache")


class Verifier:
    """Works tasks off.

    Args:
        store: what served the hits.
        directory: of verifications, below the cache dir.
    """

    def __init__(self, store: LocalStore, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._configs = Configs()
        self._lookup = Lookup(store, FileDigests(store.file_digest), lambda _: False)

    def verify(self, path: Path) -> None:
        """Take one task from the queue, compile, report.

        Raises:
            StoreError: the store cannot be read or written.
        """
        try:
            task = msgspec.msgpack.decode(path.read_bytes(), type=Task)
            request = _request(task.request)
        except (OSError, msgspec.MsgspecError, ProtocolError) as error:
            log.warning("a task of the verification queue cannot be read: %s", error)
            return
        finally:
            path.unlink(missing_ok=True)
        scratch = self._directory / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, parents=True)
        started = time.monotonic()
        try:
            config = self._configs.of(request.env, task.build_cwd or request.cwd)
            verdict = recompile(self._lookup, request, config, task.key, scratch)
        except OSError as error:
            log.warning("cannot compile a hit again: %s", error)
            return
        self._report(task, verdict, scratch, int((time.monotonic() - started) * 1000))

    def _report(self, task: Task, verdict: Verdict, scratch: Path, wall_ms: int) -> None:
        entry, outcome = verdict.entry, Outcome.VERIFIED
        if entry is None:
            outcome, entry = Outcome.UNVERIFIED, self._store.entry(task.key)
        elif verdict.differs:
            outcome = Outcome.DIFFERS
            kept = self._keep(scratch, f"{entry.crate_name}-{task.key.hex()[:16]}")
            what = f"{entry.unit_kind} {entry.crate_name}: {', '.join(verdict.differs)}"
            log.error("A HIT DIFFERS from compiling it again: %s; what rustc made now is in %s", what, kept)
        event = Event(
            at_ns=time.time_ns(),
            build=task.build,
            outcome=outcome,
            crate_name=entry.crate_name if entry else "",
            unit_kind=entry.unit_kind if entry else "",
            reason=", ".join(verdict.differs),
            compile_ms=wall_ms,
        )
        self._store.add_events([event])

    def _keep(self, scratch: Path, name: str) -> Path:
        """Leave what differs to be looked at, and what differed lately."""
        kept = self._directory / name
        shutil.rmtree(kept, ignore_errors=True)
        scratch.rename(kept)
        others = [path for path in self._directory.iterdir() if path.is_dir() and path.name not in ("queue", "scratch")]
        others.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in others[:-KEPT_DIFFERENCES]:
            shutil.rmtree(path, ignore_errors=True)
        return kept


def main(argv: list[str]) -> int:
    """Work until the queue is empty."""
    cache_dir = Path(argv[0])
    os.nice(19)
    try:
        lock = int(argv[1]) if len(argv) > 1 else take(cache_dir)
        to_file(cache_dir / LOG_NAME, os.environ.get("KACHE_LOG", "info"))
        while lock is not None:
            _work_off(cache_dir)
            os.close(lock)
            # What was queued after the last look found the lock taken: look again.
            lock = take(cache_dir) if tasks(cache_dir) else None
    except (KacheError, OSError) as error:
        log.error("verification: %s", error)
        return 1
    return 0


def _work_off(cache_dir: Path) -> None:
    store = LocalStore.open(cache_dir)
    try:
        verifier = Verifier(store, cache_dir / DIRECTORY)
        while waiting := tasks(cache_dir):
            for path in waiting:
                verifier.verify(path)
    finally:
        store.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(cache_dir / DIRECTORY / "scratch")


def _request(frame: bytes) -> Request:
    kind, _ = protocol.parse_header(frame[: protocol.HEADER_SIZE])
    request = protocol.decode(kind, frame[protocol.HEADER_SIZE :])
    if not isinstance(request, Request):
        raise ProtocolError("no request")
    return request


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
