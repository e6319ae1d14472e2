"""From a request to a decision: pass, found or missed. No rustc runs here, and a call seen before costs only stats."""

from __future__ import annotations

import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from kache.compilers.file_digests import SETTLED_NS, FileDigests
from kache.compilers.rustc import args, closure
from kache.compilers.rustc.closure import Surroundings
from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.roots import discover
from kache.compilers.rustc.toolchain import Toolchain, Toolchains
from kache.config.load import Config
from kache.core.digest import Digest, hash_bytes
from kache.core.entry import Entry, InputKind, InputMemo
from kache.core.outcome import Outcome, Reason
from kache.engine.decisions import Answered, Asked, Decision, Found, Missed, Passed, Shape
from kache.engine.keying import Asker, Keying, may_remap
from kache.engine.queries import Queries, question
from kache.engine.requests import environment
from kache.engine.warm_start.traces import Trace, is_tied, knows_its_command
from kache.engine.warm_start.untracked import reads_untracked
from kache.ipc.protocol import Request
from kache.store.local import LocalStore

SEEN_CAPACITY = 2048
_ASKED_CAPACITY = 50_000
_PATHS_CAPACITY = 100_000
# These differ between two runs of the same build and no compiler looks at them; a crate that does is not remembered.
_NOISE = (b"CARGO_MAKEFLAGS=", b"MAKEFLAGS=", b"MFLAGS=", b"PWD=", b"OLDPWD=", b"SHLVL=", b"_=")
_OF_SCRIPTS = frozenset(
    {Reason.QUERY, Reason.PROBE, Reason.STDIN_SOURCE, Reason.OUTPUT_PATH, Reason.NO_ARTIFACT_MESSAGES}
)
_pack = struct.Struct("<QqqqQ").pack


@dataclass(slots=True)
class Seen:
    """A call whose answer stands as long as its files do.

    Attributes:
        shape: what serving needs.
        toolchain: identity of the toolchain then.
        files: keyed files and the closure's, real paths.
        absent: paths that must stay absent.
        key: the entry.
        stamp: hash over the identities of the files.
    """

    shape: Shape
    toolchain: Digest
    files: tuple[bytes, ...]
    absent: tuple[bytes, ...]
    key: bytes
    stamp: Digest


class Lookup:
    """Decides; owns the memos that make deciding cheap.

    Args:
        store: where memos and entries are.
        digests: the stat memo, shared with whoever records.
        pending: whether the artifact at a path is still being recorded.
    """

    def __init__(self, store: LocalStore, digests: FileDigests, pending: Callable[[bytes], bool]) -> None:
        self.toolchains = Toolchains()
        self.queries = Queries()
        self._store = store
        self._digests = digests
        self._keying = Keying(store, digests, pending)
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()
        self._asked: set[bytes] = set()
        self._paths: dict[bytes, bytes] = {}

    def decide(self, request: Request, config: Config) -> Decision:
        """Decide one call.

        Raises:
            PendingRecord: an rlib this link reads is still being recorded; ask again when it is.
            StoreError: the store cannot be read.
        """
        if not request.argv or not request.cwd:
            return Passed(Reason.NOT_RUSTC if request.cwd else Reason.UNREADABLE_INPUT)
        asker = Asker(request, environment(request), config, _seen_id(request, config))
        toolchain = self.toolchains.identify(request.argv[0], asker.env, request.cwd, request.ppid)
        seen = self._seen.get(asker.seen_id)
        if seen is not None:
            entry = self._still(seen, toolchain)
            if entry is not None:
                self._seen.move_to_end(asker.seen_id)
                return Found(seen.shape, entry)
            del self._seen[asker.seen_id]
        missed = self._key(asker, toolchain)
        return (self.match(missed) or missed) if isinstance(missed, Missed) else missed

    def key(self, request: Request, config: Config) -> Decision:
        """What is known of a call before anything is looked up: Missed, or why it is not cached.

        Raises:
            PendingRecord: as for `decide`.
        """
        asker = Asker(request, environment(request), config, _seen_id(request, config))
        toolchain = self.toolchains.identify(request.argv[0], asker.env, request.cwd, request.ppid)
        return self._key(asker, toolchain)

    def match(self, missed: Missed) -> Found | None:
        """The entry whose inputs are today what they were; asks the index whether it has news before it says no.

        Raises:
            StoreError: the store cannot be read.
        """
        contents: dict[bytes, Digest | None] = {}
        found = self._match(missed, contents)
        if found is None and self._store.refresh():
            found = self._match(missed, contents)
        return found

    def _still(self, seen: Seen, toolchain: Toolchain | Refusal) -> Entry | None:
        if isinstance(toolchain, Refusal) or toolchain.identity != seen.toolchain:
            return None
        try:
            if _stamp(seen.files) != seen.stamp:
                return None
        except OSError:
            return None
        if any(os.access(path, os.F_OK) for path in seen.absent):
            return None
        return self._store.entry(seen.key)

    def _key(self, asker: Asker, toolchain: Toolchain | Refusal) -> Decision:
        request = asker.request
        call = args.parse(request.argv, request.cwd)
        if isinstance(call, Refusal):
            return self._refused(call, asker, toolchain)
        name = call.name_in(asker.env)
        if isinstance(toolchain, Refusal):
            return Passed(toolchain.reason, toolchain.detail, name, call.unit_kind)
        base_dir = os.fsencode(asker.config.base_dir) if asker.config.base_dir else None
        roots = discover(call, request.cwd, asker.env, sysroot=toolchain.sysroot, base_dir=base_dir)
        remapped = asker.config.remap and may_remap(call, roots)
        try:
            inputs = self._keying.inputs(call, roots, asker, toolchain, remapped=remapped)
        except OSError as error:
            path = os.fsdecode(error.filename or b"?")
            return Passed(Reason.UNREADABLE_INPUT, f"{path}: {error.strerror}", name, call.unit_kind)
        if isinstance(inputs, Refusal):
            return Passed(inputs.reason, inputs.detail, name, call.unit_kind)
        return Missed(
            call=call,
            shape=Shape(roots, call.out_dir, call.json_errors, call.wants_artifacts, name, call.unit_kind),
            around=Surroundings(roots, asker.env, call.presentation, asker.config.trust_domain.encode()),
            inputs=inputs,
            weak_key=inputs.weak_key(),
            toolchain=toolchain,
            remapped=remapped,
            seen_id=asker.seen_id,
            is_traced=asker.config.warm_start,
            place=asker.config.remote,
            is_observed=asker.config.observe,
        )

    def _refused(self, refusal: Refusal, asker: Asker, toolchain: Toolchain | Refusal) -> Decision:
        if refusal.reason is Reason.QUERY and isinstance(toolchain, Toolchain):
            key = question(asker.request, asker.env, toolchain)
            if key is not None:
                hit = self.queries.answer(key)
                return Answered(hit) if hit is not None else Asked(key, asker.request.argv)
        return Passed(refusal.reason, refusal.detail, *_name_of(asker, refusal.reason))

    def _match(self, missed: Missed, contents: dict[bytes, Digest | None]) -> Found | None:
        for memo in self._store.memos(missed.weak_key):
            if closure.matches(memo, missed.around, self._digests, contents):
                entry = self._store.entry(memo.key)
                if entry is not None:
                    self._remember(missed, memo)
                    trace = trace_of(missed, entry, memo) if missed.is_traced else None
                    return Found(missed.shape, entry, Outcome.LOCAL_HIT, trace)
        return None

    def _remember(self, missed: Missed, memo: InputMemo) -> None:
        """Keep the answer, if the identities of its files can be trusted to change with their contents."""
        if missed.seen_id not in self._asked:
            # In a fresh target most calls come once: finding out whether an answer will stand costs more than it gives.
            if len(self._asked) >= _ASKED_CAPACITY:
                self._asked.clear()
            self._asked.add(missed.seen_id)
            return
        if missed.inputs.fleeting:
            return
        if any(item.kind in (InputKind.ENV, InputKind.READ) and item.name + b"=" in _NOISE for item in memo.inputs):
            return  # the id of the call leaves these out, and this crate has one of them in it
        present, absent = closure.watched(memo, missed.around)
        files = tuple(self._one_copy(path) for path in (*missed.inputs.files, *present))
        must_be_absent = (*missed.inputs.absent, *absent)
        seen = Seen(missed.shape, missed.toolchain.identity, files, must_be_absent, memo.key, b"")
        try:
            for path in files:
                found = os.stat(path)
                if self._digests.known(found) is None and not _settled(found):
                    return
            seen.stamp = _stamp(files)
        except OSError:
            return
        self._seen[missed.seen_id] = seen
        if len(self._seen) > SEEN_CAPACITY:
            self._seen.popitem(last=False)

    def _one_copy(self, path: bytes) -> bytes:
        """The same paths stand in thousands of calls: keep each once."""
        if len(self._paths) > _PATHS_CAPACITY:
            self._paths.clear()
        return self._paths.setdefault(path, path)


def _name_of(asker: Asker, reason: Reason) -> tuple[str, str]:
    """What people know a call by that was refused as it came: its crate, or the package whose script asked."""
    argv, package = asker.request.argv, asker.env.get(b"CARGO_PKG_NAME", b"")
    crate = next((value for word, value in pairwise(argv) if word == b"--crate-name"), b"")
    is_probe = reason in _OF_SCRIPTS and bool(package)
    name = package if is_probe else crate.strip(b"_") and crate  # cargo itself asks in the name of ___
    return name.decode(errors="replace").replace("-", "_"), "probe" if is_probe else ""


def trace_of(missed: Missed, entry: Entry, memo: InputMemo) -> Trace | None:
    """What the capture at the build's end needs to know of a compile; None for one that is nobody else's."""
    if knows_its_command(memo):
        return None
    return Trace(
        entry=entry,
        out_dir=missed.shape.out_dir,
        extra_filename=missed.call.extra_filename,
        roots=missed.around.roots,
        package=missed.around.env.get(b"CARGO_MANIFEST_DIR", b""),
        files=tuple(missed.inputs.files.items()),
        toolchain=missed.toolchain.identity,
        is_tied=not missed.remapped or is_tied(memo, missed.around),
        is_open=reads_untracked(memo, entry, missed.around),
    )


def _seen_id(request: Request, config: Config) -> Digest:
    env = [pair for pair in request.env if not pair.startswith(_NOISE)]
    settings = repr((config.key_salt, config.trust_domain, config.remap, config.base_dir, config.observe)).encode()
    words = (b"\0".join(request.argv), request.cwd, b"\0".join(env), settings)
    return hash_bytes(b"\1".join(words))


def _stamp(files: Iterable[bytes]) -> Digest:
    parts = []
    for path in files:
        found = os.stat(path)
        parts.append(_pack(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev))
    return hash_bytes(b"".join(parts))


def _settled(found: os.stat_result) -> bool:
    return time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) >= SETTLED_NS
