"""After a compile: is what rustc left behind worth keeping, and is it known what it read? Then store it."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import clippy, depinfo, observed_env, observed_log
from kache.compilers.rustc.closure import (
    CHECKOUT,
    CHECKOUT_NAME,
    ENVIRONMENT,
    NORMALISED,
    ClosureMaker,
    InputChangedError,
)
from kache.compilers.rustc.key_inputs import dependency_directories, find_artifact, is_keyed_variable
from kache.compilers.rustc.macro_library import MacroTraits
from kache.compilers.rustc.observed_inputs import Around, Observed, judge
from kache.compilers.rustc.outputs import Messages, debug_files, read_messages, role_of
from kache.compilers.rustc.roots import is_package
from kache.compilers.rustc.toolchain import holds
from kache.core.digest import hash_bytes, hash_parts
from kache.core.entry import Artifact, Entry, FileIdentity, InputKind, InputMemo, MemoInput, Role
from kache.core.outcome import Reason
from kache.core.secrets import is_secret
from kache.engine.decisions import Missed
from kache.engine.in_place_linkers import InPlaceLinkers
from kache.errors import OutputChangedError
from kache.ipc.protocol import Done
from kache.store.local import LocalStore, Staged

_SHAREABLE = (Role.RLIB, Role.RMETA)
_HOST_KINDS = ("build-script", "proc-macro")
_MIN_NAME = 4
"""Shorter names of directories are found in every artifact by chance."""
_SHOWN_DIGEST_BYTES = 6
_SHOWN_VALUE_BYTES = 200


_WORDS = {
    InputKind.FILE: "file",
    InputKind.ENV: "env",
    InputKind.READ: "env",
    InputKind.ABSENT: "absent",
    InputKind.DIRECTORY: "directory",
    InputKind.PRESENT: "present",
    InputKind.PROGRAM: "program",
    InputKind.FACT: "fact",
}

Identity = tuple[bytes, tuple[int, ...]]
"""A path, and what `identity_of` says of it."""


@dataclass(slots=True)
class Moments:
    """What was seen when a compile started and when it ended.

    Attributes:
        started_ns: the filesystem's clock when it started.
        keyed: keyed files with their identity before it started.
        messages: what it printed, read when its end was reported; None where its launcher waits.
        outputs: linked outputs (absolute paths) as they were then; empty where its launcher waits.
    """

    started_ns: int
    keyed: Sequence[Identity]
    messages: Messages | None = None
    outputs: dict[bytes, tuple[int, ...]] = field(default_factory=dict)


class NotStoredError(Exception):
    """This compile's outputs are not kept; the build is none the worse for it."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Recorder:
    """Turns a finished compile into an entry.

    Attributes:
        store: where it goes.
        digests: the stat memo.
        traits: what macros' libraries may do unseen.
        in_place_linkers: whether one is at hand.
    """

    store: LocalStore
    digests: FileDigests
    traits: MacroTraits
    in_place_linkers: InPlaceLinkers

    def record(self, missed: Missed, done: Done, around: Moments, *, send_to: str = "") -> tuple[Entry, InputMemo]:
        """Store the outputs of one compile.

        Args:
            missed: the call.
            done: how it ended.
            around: what was seen when it started and when it ended.
            send_to: remote for whose upload queue it is.

        Returns:
            The entry, and the memo that leads to it.

        Raises:
            NotStoredError: it failed, or what it read or wrote is not known for sure.
            StoreError: the store cannot be written.
        """
        if done.wait_status != 0:
            killed = os.WIFSIGNALED(done.wait_status)
            raise NotStoredError(Reason.COMPILER_KILLED if killed else Reason.COMPILE_FAILED)
        started_ns = around.started_ns
        self._check_keyed_files(missed, around.keyed)
        messages = around.messages or read_messages(done.stderr)
        if messages.has_more_files:
            raise NotStoredError(Reason.EXTRA_OUTPUT)
        outputs, dep_info_path = self._outputs(missed, messages.artifacts, started_ns)
        text = _read(dep_info_path)
        maker = ClosureMaker(missed.around, self.digests, started_ns, lambda: self._macro_sources(missed))
        try:
            info = depinfo.parse(text)
            maker.add_sources(info)
            maker.add_clippy(missed.call)
            observed = self._observed(missed, done, info, [dep_info_path, *(path for path, _ in outputs)])
            if observed is not None:
                maker.add_observed(observed)
        except depinfo.DepInfoError as error:
            raise NotStoredError(Reason.NO_DEP_INFO, str(error)) from error
        except InputChangedError as error:
            raise NotStoredError(Reason.INPUT_CHANGED, str(error)) from error
        if observed is None and maker.assembles_files():
            raise NotStoredError(Reason.NATIVE_INPUT, "a source has the assembler read a file")
        if missed.inputs.unfollowed and (observed is None or observed.tool_gap):
            raise NotStoredError(Reason.NATIVE_INPUT, missed.inputs.unfollowed)
        staged: list[Staged] = []
        try:
            needles = _needles(missed, observed)
            artifacts, tied = self._stage(missed, outputs, staged, around.outputs, needles)
            template = depinfo.template(text, missed.around.roots.pairs())
            inputs = maker.finish(info, tied=tied, has_diagnostics=messages.has_diagnostics)
            entry = self._entry(missed, done, artifacts, (dep_info_path, template), inputs)
            notes = None if observed is None else _notes(observed, missed)
            memo = InputMemo(missed.weak_key, entry.key, inputs, notes)
            self.store.commit(entry, memo, staged, send_to=send_to)
        except BaseException as error:
            for item in staged:
                self.store.discard(item)
            if isinstance(error, depinfo.DepInfoError):
                raise NotStoredError(Reason.NO_DEP_INFO, str(error)) from error
            if isinstance(error, OutputChangedError):
                raise NotStoredError(Reason.OUTPUT_CHANGED, str(error)) from error
            raise
        for item in staged:
            self.digests.note(item.identity, item.digest)
        return entry, memo

    def _check_keyed_files(self, missed: Missed, identities: Sequence[Identity]) -> None:
        """The files in the weak key must be what they were, else rustc may have read something else."""
        if not holds(missed.toolchain.files):
            raise NotStoredError(Reason.INPUT_CHANGED, os.fsdecode(missed.toolchain.sysroot))
        for path, before in identities:
            try:
                found = os.stat(path)
                if not stat.S_ISREG(found.st_mode):
                    if identity_of(found) == before:
                        continue
                    raise NotStoredError(Reason.INPUT_CHANGED, os.fsdecode(path))
            except OSError as error:
                raise NotStoredError(Reason.INPUT_CHANGED, os.fsdecode(path)) from error
            # Content decides: our own hardlinks move ctime, and it may have changed before the compile began, after the
            # key was made (that call may have waited for another compile).
            if self.digests.digest_of(path, found) != missed.inputs.files[path]:
                raise NotStoredError(Reason.INPUT_CHANGED, os.fsdecode(path))

    def _observed(self, missed: Missed, done: Done, info: depinfo.DepInfo, outputs: Sequence[bytes]) -> Observed | None:
        """What the compile was seen to look at; None if it was not observed: explicit rules alone decide.

        Raises:
            NotStoredError: a macro may have looked at something unseen, or something was written that is no output.
        """
        if not done.observed:
            return None
        records = observed_log.parse(done.observed)
        if records is None:
            raise NotStoredError(Reason.UNOBSERVED, "more was looked at than can be noted")
        roots, call = missed.around.roots, missed.call
        keyed = {*missed.inputs.files, roots.cwd, call.out_dir, *(search.path for search in call.search)}
        keyed.update(os.path.join(roots.cwd, file) for file in info.files)
        if call.is_clippy:
            keyed.update(clippy.places_above(roots.cwd))
        prefixes = observed_log.toolchain_prefixes(missed.toolchain.sysroot)
        is_keyed = partial(is_keyed_variable, call=call)
        around = Around(is_keyed, missed.around.env, prefixes, keyed, frozenset(outputs), self.traits)
        observed = judge(records, around)
        if observed is not None and observed.gap:
            raise NotStoredError(Reason.UNOBSERVED, observed.gap)
        if observed is not None and observed.left_behind:
            raise NotStoredError(Reason.WROTE_ELSEWHERE, observed.left_behind)
        return observed

    def _outputs(
        self, missed: Missed, announced: Sequence[tuple[bytes, str]], started_ns: int
    ) -> tuple[list[tuple[bytes, Role]], bytes]:
        out_dir, dep_info_path = missed.shape.out_dir, b""
        outputs: list[tuple[bytes, Role]] = []
        for name, emit in announced:
            path = os.path.join(missed.around.roots.cwd, name)
            if os.path.dirname(path) != out_dir:
                raise NotStoredError(Reason.OUTPUT_PATH, os.fsdecode(path))
            if emit == "dep-info":
                dep_info_path = path
            else:
                outputs.append((path, role_of(path, emit)))
        linked = [path for path, role in outputs if role == Role.LINKED]
        outputs += [(path, Role.DEBUG) for path in debug_files(missed.call, linked, started_ns)]
        kinds = {emit for _, emit in announced}
        if not missed.call.emit <= kinds:
            raise NotStoredError(Reason.MISSING_OUTPUT, ", ".join(sorted(missed.call.emit - kinds)))
        return outputs, dep_info_path

    def _macro_sources(self, missed: Missed) -> list[bytes] | None:
        """Sources of every crate this one can take a macro from; None if the store does not know one of them."""
        directories = dependency_directories(missed.call)
        queue = [extern.path for extern in missed.call.externs if extern.path is not None]
        seen, sources = set(queue), []
        while queue:
            try:
                entry = self.store.entry_of(self.digests.digest(queue.pop()))
            except OSError:
                return None
            memo = None if entry is None else self.store.memo(entry.weak_key, entry.key)
            if entry is None or memo is None:
                return None
            sources += [missed.around.roots.real(item.name) for item in memo.inputs if item.kind == InputKind.FILE]
            for stem in entry.links:
                found = find_artifact(directories, stem.encode("utf-8", "surrogateescape"))
                if found is not None and found not in seen:
                    seen.add(found)
                    queue.append(found)
        return sources

    def _stage(
        self,
        missed: Missed,
        outputs: Sequence[tuple[bytes, Role]],
        staged: list[Staged],
        ended: Mapping[bytes, tuple[int, ...]],
        needles: Sequence[bytes],
    ) -> tuple[tuple[Artifact, ...], set[bytes]]:
        roots = missed.around.roots
        artifacts: list[Artifact] = []
        tied: set[bytes] = set()
        shareable = (*_SHAREABLE, Role.LINKED) if self._stays_as_linked(missed) else _SHAREABLE
        libraries = {path.removesuffix(b".rlib") for path, role in outputs if role == Role.RLIB}
        for path, role in outputs:
            # An rlib holds the very metadata file that lies beside it.
            searched = () if role == Role.RMETA and path.removesuffix(b".rmeta") in libraries else needles
            try:
                item = self.store.stage(path, share=role in shareable, needles=searched)
            except FileNotFoundError as error:
                raise NotStoredError(Reason.MISSING_OUTPUT, os.fsdecode(path)) from error
            staged.append(item)
            if path in ended and ended[path] != content_identity(item.identity):
                raise NotStoredError(Reason.OUTPUT_CHANGED, os.fsdecode(path))  # stripped, say, before we came to it
            for needle in item.found:
                if b"/" not in needle:
                    tied.add(CHECKOUT_NAME)
                tied.update(root.placeholder for root in roots.tied_to(needle))
            name = os.path.basename(path).decode("utf-8", "surrogateescape")
            artifacts.append(Artifact(name, role, item.digest, item.size, bool(item.mode & 0o111)))
        return tuple(artifacts), tied

    def _stays_as_linked(self, missed: Missed) -> bool:
        """A build script or proc macro of a package that nobody edits: nothing will write to what was linked."""
        call, roots = missed.call, missed.around.roots
        if call.unit_kind not in _HOST_KINDS or not is_package(roots.normalise(roots.cwd)):
            return False
        words = call.link_inputs if call.linker is None else (*call.link_inputs, call.linker)
        return not self.in_place_linkers.at_hand(missed.around.env, words)

    def _entry(
        self,
        missed: Missed,
        done: Done,
        artifacts: tuple[Artifact, ...],
        dep_info: tuple[bytes, bytes],
        inputs: tuple[MemoInput, ...],
    ) -> Entry:
        call, roots = missed.call, missed.around.roots
        links = [os.path.basename(extern.path) for extern in call.externs if extern.path is not None]
        return Entry(
            key=cache_key(missed.weak_key, inputs),
            weak_key=missed.weak_key,
            crate_name=missed.shape.crate_name,
            unit_kind=call.unit_kind,
            compile_ms=done.wall_us // 1000,
            artifacts=artifacts,
            dep_info_name=os.path.basename(dep_info[0]).decode("utf-8", "surrogateescape"),
            dep_info=dep_info[1],
            stdout=roots.to_template(done.stdout, json=call.json_errors),
            stderr=roots.to_template(done.stderr, json=call.json_errors),
            links=tuple(name.rpartition(b".")[0].decode("utf-8", "surrogateescape") for name in links),
        )


def at_end(done: Done) -> tuple[Messages, dict[bytes, tuple[int, ...]]]:
    """What rustc said and left, seen the moment its end was reported: later cargo's user may change it in place."""
    messages, seen = read_messages(done.stderr), {}
    for path, emit in messages.artifacts:
        if emit == "link":
            with contextlib.suppress(OSError):
                seen[path] = content_identity(FileIdentity.of(os.stat(path)))
    return messages, seen


def content_identity(identity: FileIdentity) -> tuple[int, ...]:
    """Inode, size and mtime: a second link moves only ctime."""
    return (identity.ino, identity.size, identity.mtime_ns)


def cache_key(weak_key: bytes, inputs: Sequence[MemoInput]) -> bytes:
    """The strong key: the weak key and everything the compile read."""
    pieces = [piece for item in inputs for piece in (item.kind.encode(), item.name, item.value)]
    return hash_parts([weak_key, *pieces])


def identity_of(found: os.stat_result) -> tuple[int, ...]:
    """What must not change while rustc runs."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _needles(missed: Missed, observed: Observed | None) -> tuple[bytes, ...]:
    """What ties an artifact to its checkout: paths, and its name where a macro asked for a variable with the path."""
    roots, env = missed.around.roots, missed.around.env
    if not missed.remapped:
        return ()
    path = roots.real(CHECKOUT)
    name = os.path.basename(path)
    is_told = observed is not None and any(path in env.get(variable, b"") for variable in observed.told_macros)
    return (*roots.needles(), name) if is_told and len(name) >= _MIN_NAME else roots.needles()


def labelled(missed: Missed, inputs: Sequence[MemoInput]) -> bytes:
    """The inputs as why-miss reads them: zlib over msgpack of [label, value] pairs, digests cut to what is shown."""
    pairs = [
        (label.decode("utf-8", "replace"), shown.decode("utf-8", "replace")) for label, _, shown in missed.inputs.parts
    ]
    for item in inputs:
        if item.kind == InputKind.FACT and item.name == ENVIRONMENT:
            pairs += _whole_environment(missed)
            continue
        label = f"{_WORDS[item.kind]}:{item.name.decode('utf-8', 'replace')}"
        if item.kind in (InputKind.ENV, InputKind.READ):
            name = item.name.decode("utf-8", "replace")
            value = missed.around.env.get(item.name, b"(unset)")
            if item.value[:1] == NORMALISED:  # as it counts: the same in every checkout
                value = missed.around.roots.normalise_value(value)
            shown = _digest(value) if is_secret(name) else value[:_SHOWN_VALUE_BYTES].decode("utf-8", "replace")
        elif item.kind == InputKind.PRESENT:
            shown = "directory" if item.value == b"d" else "file"
        else:
            shown = item.value[:_SHOWN_DIGEST_BYTES].hex() or "absent"
        pairs.append((label, shown))
    return zlib.compress(msgspec.msgpack.encode(pairs), 1)


def label(name: str) -> bytes:
    """One input, as `labelled` has many."""
    return zlib.compress(msgspec.msgpack.encode([(name, "")]), 1)


def _whole_environment(missed: Missed) -> list[tuple[str, str]]:
    """Digests: nobody asked for these variables one by one, and what is in all of them is no business of the index."""
    env = missed.around.env
    return [(f"env:{name.decode('utf-8', 'replace')}", _digest(env[name])) for name in observed_env.kept_of_whole(env)]


def _digest(value: bytes) -> str:
    return f"(digest {hash_bytes(value)[:_SHOWN_DIGEST_BYTES].hex()})"


def _notes(observed: Observed, missed: Missed) -> tuple[MemoInput, ...]:
    """What was seen and does not count, with the reason, for `kache debug observed`; sorted, so that many share it."""
    normalise = missed.around.roots.normalise
    names = {(normalise(name) if name[:1] == b"/" else name): why for name, why in observed.left_out.items()}
    return tuple(MemoInput(InputKind.FACT, name, names[name].encode()) for name in sorted(names))


def _read(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NotStoredError(Reason.NO_DEP_INFO, os.fsdecode(path)) from error
