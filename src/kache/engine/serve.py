"""Put an entry's outputs into place and make the answer of a hit."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.outputs import without_notifications
from kache.core.entry import Artifact, Entry, Role
from kache.engine.decisions import Found, Shape
from kache.engine.requests import environment
from kache.ipc.protocol import Hit, Request
from kache.store.local import LocalStore, RestoreHow, RestoreMethod
from kache.util.new_file import make_way

_SHARED = (Role.RLIB,)
"""What nothing writes in place: rustc replaces it by a new inode. All else is private, dated now: cargo dates
a unit by its newest output, so one private file is enough for the unit to look built now."""


@dataclass(slots=True)
class Served:
    """A hit that is done.

    Attributes:
        hit: the answer.
        linked_bytes, cloned_bytes, copied_bytes: what came out of the store, by how.
    """

    hit: Hit
    linked_bytes: int = 0
    cloned_bytes: int = 0
    copied_bytes: int = 0


def heavy_bytes(entry: Entry, store: LocalStore) -> int:
    """What restoring has to read: private outputs are copied, shared ones hashed if other hands touched them."""
    return sum(
        artifact.size
        for artifact in entry.artifacts
        if _how(artifact, entry) is RestoreHow.PRIVATE or not store.is_checked(artifact.digest)
    )


def _how(artifact: Artifact, entry: Entry) -> RestoreHow:
    """Shared or private; a unit of nothing but shared outputs makes its smallest one private, to date it."""
    if artifact.role not in _SHARED:
        return RestoreHow.PRIVATE
    all_shared = all(other.role in _SHARED for other in entry.artifacts)
    if all_shared and artifact is min(entry.artifacts, key=lambda other: other.size):
        return RestoreHow.PRIVATE
    return RestoreHow.SHARED


def serve(found: Found, request: Request, store: LocalStore, digests: FileDigests) -> Served:
    """Restore every output, then the dep-info file.

    Either all outputs are in place, or those placed are removed again and the error is raised: rustc then makes them.

    Args:
        found: what to restore and where.
        request: the call, for its umask and environment.
        store: where the blobs are.
        digests: learns the identities of the restored files.

    Raises:
        BlobBrokenError: a blob is gone or wrong; the store has forgotten the entry.
        OSError: a file cannot be written.
    """
    entry, shape = found.entry, found.shape
    served = Served(Hit(0, _message(entry.stdout, shape), _message(entry.stderr, shape)))
    placed: list[bytes] = []
    try:
        for artifact in entry.artifacts:
            target = shape.out_dir + b"/" + artifact.name.encode("utf-8", "surrogateescape")
            mode = (0o777 if artifact.executable else 0o666) & ~request.umask
            restored = store.restore(artifact, target, mode=mode, how=_how(artifact, entry))
            placed.append(target)
            digests.note(restored.identity, artifact.digest)
            if restored.method == RestoreMethod.LINKED:
                served.linked_bytes += restored.bytes
            elif restored.method == RestoreMethod.CLONED:
                served.cloned_bytes += restored.bytes
            else:
                served.copied_bytes += restored.bytes
        if entry.dep_info_name:
            _write_dep_info(entry, shape, request)
    except BaseException:
        for path in placed:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise
    return served


def _message(template: bytes, shape: Shape) -> bytes:
    text = shape.roots.from_template(template, json=shape.json)
    return text if shape.wants_artifacts else without_notifications(text)


def _write_dep_info(entry: Entry, shape: Shape, request: Request) -> None:
    path = shape.out_dir + b"/" + entry.dep_info_name.encode("utf-8", "surrogateescape")
    # A new inode: what was there may be a hardlink somewhere else, and rustc would truncate it in place.
    staged = path + b".kache-%d" % os.getpid()
    # cargo compares the values in it with those of its next run: they are this call's, as rustc would write them.
    env = environment(request) if b"# env-dep:" in entry.dep_info else None
    with open(staged, "wb") as file:
        os.fchmod(file.fileno(), 0o666 & ~request.umask)  # this process has a umask of its own
        file.write(depinfo.fill(entry.dep_info, shape.roots.pairs(), env))
    make_way(path)
    os.rename(staged, path)
