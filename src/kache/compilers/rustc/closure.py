"""The closure of a compile as typed inputs: made from its dep-info, compared with today's files before a hit."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kache.compilers.file_digests import FileDigests, listing_digest
from kache.compilers.rustc import clippy, observed_env
from kache.compilers.rustc.baked import Mentions
from kache.compilers.rustc.beside import ABOVE, above
from kache.compilers.rustc.depinfo import DepInfo
from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.observed_inputs import Observed
from kache.compilers.rustc.programs import path_dirs, which
from kache.compilers.rustc.roots import Roots
from kache.core.digest import Digest, hash_bytes, hash_parts
from kache.core.entry import InputKind, InputMemo, MemoInput
from kache.util.filesystem import unsafe_kind

PRESENTATION = b"presentation"
ENVIRONMENT = b"environment"
CHECKOUT_NAME = b"checkout-name"
CHECKOUT = b"<cwd>"
CLIPPY = b"clippy-configuration"
"""What lies above the checkout; within it, places count one by one."""
_FOREIGN_CLOCKS: dict[int, bool] = {}
"""By device number."""
_ASSEMBLED = re.compile(rb"\.incbin\b|\.include\s*\\?[\"']")
_UNSET = b""
_AS_IS = b"\x01"
NORMALISED = b"\x02"


class InputChangedError(Exception):
    """A source was written while rustc ran: what rustc read is not known."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a closure is compared with: one call's roots, environment and presentation flags.

    Attributes:
        roots: the call's roots.
        env: the caller's environment.
        presentation: flags that change only how diagnostics look.
        salt: goes into digests of variables, which may hold secrets and may be sent to a remote.
    """

    roots: Roots
    env: Mapping[bytes, bytes]
    presentation: tuple[bytes, ...]
    salt: bytes = b""

    def env_value(self, name: bytes, form: bytes) -> bytes:
        """A variable as a memo stores it: empty when unset, else its form and digest."""
        value = self.env.get(name)
        if value is None:
            return _UNSET
        return form + hash_bytes(self.salt + (self.roots.normalise_value(value) if form == NORMALISED else value))

    def fact(self, name: bytes) -> bytes:
        """Digest of a fact: presentation flags, the environment, the checkout's name, where a root is, or its path."""
        if name == PRESENTATION:
            return hash_parts(self.presentation)
        if name == CHECKOUT_NAME:
            return hash_bytes(os.path.basename(self.roots.real(CHECKOUT)))
        if name == ENVIRONMENT:
            return hash_parts((self.salt, observed_env.whole_digest(self.env, self.roots)))
        if name == CLIPPY:
            return clippy.configuration_above(self.roots.real(CHECKOUT))
        if name.startswith(ABOVE):
            return hash_bytes(os.path.dirname(self.roots.real(name[len(ABOVE) :])))
        return hash_bytes(self.roots.real(name))


def matches(memo: InputMemo, around: Surroundings, digests: FileDigests, seen: dict[bytes, Digest | None]) -> bool:
    """Whether every input of a memo is today what it was.

    Args:
        memo: the closure; facts and variables come first in it, they cost nothing.
        around: this call.
        digests: the stat memo.
        seen: contents already looked at for another memo of this call, by real path; None where unreadable.
    """
    return all(holds(item, around, digests, seen) for item in memo.inputs)


def today(
    inputs: Iterable[tuple[InputKind, bytes, bytes]],
    around: Surroundings,
    digests: FileDigests,
    seen: dict[bytes, Digest | None],
) -> tuple[MemoInput, ...] | None:
    """The inputs another machine's compile read, with this call's values: what its memo would say here.

    Args:
        inputs: kind, name and, of a variable, the first byte of its value there.
        around: this call.
        digests: the stat memo.
        seen: see `matches`.

    Returns:
        None where one cannot be as it was there: a file that is not here, a path that should be absent.
    """
    found = []
    for kind, name, form in inputs:
        value = _value(MemoInput(kind, name, form), around, digests, seen)
        if value is None:
            return None
        found.append(MemoInput(kind, name, value))
    return tuple(found)


def holds(item: MemoInput, around: Surroundings, digests: FileDigests, seen: dict[bytes, Digest | None]) -> bool:
    """Whether one input is today what it was; see `matches`."""
    return _value(item, around, digests, seen) == item.value


def _value(
    item: MemoInput, around: Surroundings, digests: FileDigests, seen: dict[bytes, Digest | None]
) -> bytes | None:
    """An input's value now; None where it can have none."""
    kind, name = item.kind, item.name
    if kind == InputKind.FILE:
        path = around.roots.real(name)
        if path not in seen:
            try:
                seen[path] = digests.digest(path)
            except OSError:
                seen[path] = None
        return seen[path]
    if kind == InputKind.ABSENT:
        return None if os.access(around.roots.real(name), os.F_OK) else b""
    if kind in (InputKind.ENV, InputKind.READ):
        return around.env_value(name, item.value[:1])
    if kind == InputKind.FACT:
        return around.fact(name)
    if kind == InputKind.DIRECTORY:
        try:
            return listing_digest(around.roots.real(name))
        except OSError:
            return None
    if kind == InputKind.PRESENT:
        return _presence(around.roots.real(name))
    return _program(name, around, digests)


def _presence(path: bytes) -> bytes | None:
    try:
        return b"d" if stat.S_ISDIR(os.stat(path).st_mode) else b"f"
    except OSError:
        return None


def _program(name: bytes, around: Surroundings, digests: FileDigests) -> bytes:
    path = which(name, around.env, around.roots.cwd)
    try:
        return digests.digest(path) if path is not None else b""
    except OSError:
        return b""


def watched(memo: InputMemo, around: Surroundings) -> tuple[list[bytes], list[bytes]]:
    """Real paths of a memo: those that must stay as they are, and those that must stay absent."""
    real, present, absent = around.roots.real, [], []
    for item in memo.inputs:
        if item.kind in (InputKind.FILE, InputKind.DIRECTORY, InputKind.PRESENT):
            present.append(real(item.name))
        elif item.kind == InputKind.ABSENT:
            absent.append(real(item.name))
        elif item.kind == InputKind.PROGRAM:
            path = which(item.name, around.env, around.roots.cwd, absent)
            if path is not None:
                present.append(path)
            else:
                absent += [directory + b"/" + item.name for directory in path_dirs(around.env)]
    return present, absent


def shadow_of(source: bytes) -> bytes:
    """Where rustc would find the same module as well."""
    directory, base = os.path.split(source)
    return directory + b".rs" if base == b"mod.rs" else source.removesuffix(b".rs") + b"/mod.rs"


class ClosureMaker:
    """Makes the typed inputs of one finished compile.

    Args:
        around: the call.
        digests: the stat memo.
        started_ns: the filesystem's clock when the compile started; a source changed later is not what rustc read.
        macro_sources: finds the sources of the crates whose macros this one can use; None if one is not known.
    """

    def __init__(
        self,
        around: Surroundings,
        digests: FileDigests,
        started_ns: int,
        macro_sources: Callable[[], list[bytes] | None],
    ) -> None:
        self._find_macro_sources = macro_sources
        self._macro_sources: list[bytes] | None = None
        self.around = around
        self.digests = digests
        self.started_ns = started_ns
        self._files: dict[bytes, MemoInput] = {}
        self._absent: dict[bytes, MemoInput] = {}
        self._observed: dict[tuple[InputKind, bytes], MemoInput] = {}
        self._variables: set[bytes] = set()
        self._directories: set[bytes] = set()
        self._whole_environment = False
        self._facts: set[bytes] = set()

    def add_sources(self, info: DepInfo) -> None:
        """Every file rustc names, and the path that would shadow it.

        Raises:
            InputChangedError: one was written after the compile began, or is gone.
        """
        for number, file in enumerate(info.files):
            path = os.path.join(self.around.roots.cwd, file)
            self._add_file(path)
            if number and path.endswith(b".rs"):
                self._add_shadow(path)

    def add_observed(self, observed: Observed) -> None:
        """What was seen being looked at, beside what rustc names.

        Raises:
            InputChangedError: one was written after the compile began, is gone, or has appeared.
        """
        normalise = self.around.roots.normalise
        for path in observed.files:
            self._add_file(path)
        for path in observed.absent:
            if os.access(path, os.F_OK):
                raise InputChangedError(os.fsdecode(path))
            self._absent[normalise(path)] = MemoInput(InputKind.ABSENT, normalise(path), b"")
        for path in observed.directories:
            self._observe(InputKind.DIRECTORY, normalise(path), self._listing(path))
        for path, is_directory in observed.present.items():
            self._observe(InputKind.PRESENT, normalise(path), b"d" if is_directory else b"f")
        for name in observed.programs:
            self._observe(InputKind.PROGRAM, name, _program(name, self.around, self.digests))
        self._variables.update(observed.variables)
        for path in (*observed.files, *observed.absent):
            self._facts.update(above(path, self.around.roots, is_directory=False))
        for path in observed.directories:
            self._facts.update(above(path, self.around.roots, is_directory=True, is_listed=True))
        for path, is_directory in observed.present.items():
            self._facts.update(above(path, self.around.roots, is_directory=is_directory))
        self._whole_environment = observed.whole_environment

    def _observe(self, kind: InputKind, name: bytes, value: bytes) -> None:
        self._observed[kind, name] = MemoInput(kind, name, value)

    def _listing(self, path: bytes) -> Digest:
        try:
            if os.stat(path).st_mtime_ns > self.started_ns:
                raise InputChangedError(os.fsdecode(path))
            return listing_digest(path)
        except OSError as error:
            raise InputChangedError(os.fsdecode(path)) from error

    def _add_file(self, path: bytes) -> None:
        name = self.around.roots.normalise(path)
        if name in self._files:
            return
        try:
            found = os.stat(path)
            if found.st_ctime_ns > self.started_ns or self._foreign_clock(path, found.st_dev):
                raise InputChangedError(os.fsdecode(path))
            self._check_directories(os.path.dirname(path))
            digest = self.digests.digest_of(path, found)
        except OSError as error:
            raise InputChangedError(os.fsdecode(path)) from error
        self._files[name] = MemoInput(InputKind.FILE, name, digest)

    def _check_directories(self, directory: bytes) -> None:
        """A directory renamed into place, or a link to one turned over, brings files with old dates.

        Raises:
            InputChangedError: that happened after the compile began.
        """
        while directory not in self._directories and len(directory) > 1:
            self._directories.add(directory)
            found = os.lstat(directory)
            # A new entry moves both dates of a directory alike, a new name of its own only ctime.
            is_moved = stat.S_ISLNK(found.st_mode) or found.st_ctime_ns != found.st_mtime_ns
            if is_moved and found.st_ctime_ns > self.started_ns:
                raise InputChangedError(os.fsdecode(directory))
            directory = os.path.dirname(directory)

    def assembles_files(self) -> bool:
        """Whether a source may have the assembler read a file, of which rustc says nothing (`.incbin` in `asm!`)."""
        texts = []
        for item in self._files.values():
            path = self.around.roots.real(item.name)
            if path.endswith((b".rs", b".s", b".S", b".asm", b".inc")):
                with open(path, "rb") as file:
                    texts.append(file.read())
        return any(b"asm!" in text for text in texts) and any(_ASSEMBLED.search(text) for text in texts)

    @staticmethod
    def _foreign_clock(path: bytes, dev: int) -> bool:
        """Whether a server dates the file by a clock of its own: then no date says it was not written meanwhile."""
        known = _FOREIGN_CLOCKS.get(dev)
        if known is None:
            known = _FOREIGN_CLOCKS[dev] = bool(unsafe_kind(Path(os.fsdecode(os.path.dirname(path)))))
        return known

    def _add_shadow(self, path: bytes) -> None:
        """`a.rs` beside `a/mod.rs` is an error of rustc's (E0761), which a hit must not hide."""
        other = shadow_of(path)
        if not os.access(other, os.F_OK):
            name = self.around.roots.normalise(other)
            self._absent[name] = MemoInput(InputKind.ABSENT, name, b"")

    def add_clippy(self, call: Invocation) -> None:
        """Of clippy's calls: where a configuration would decide, had it been there."""
        if not call.is_clippy:
            return
        self._facts.add(CLIPPY)
        roots = self.around.roots
        _, absent = clippy.configuration(self.around.env, roots.cwd)
        for path in set(absent).difference(clippy.places_above(roots.cwd)):
            name = roots.normalise(path)
            self._absent[name] = MemoInput(InputKind.ABSENT, name, b"")

    def finish(self, info: DepInfo, *, tied: Iterable[bytes], has_diagnostics: bool) -> tuple[MemoInput, ...]:
        """All inputs, those that are cheap to compare first.

        Args:
            info: the dep-info, for its env-dep lines.
            tied: placeholders of the roots whose real path stands in an artifact.
            has_diagnostics: rustc printed something whose look the presentation flags decide.
        """
        facts = [MemoInput(InputKind.FACT, name, self.around.fact(name)) for name in sorted({*tied, *self._facts})]
        if has_diagnostics:
            facts.append(MemoInput(InputKind.FACT, PRESENTATION, self.around.fact(PRESENTATION)))
        if self._whole_environment:
            facts.append(MemoInput(InputKind.FACT, ENVIRONMENT, self.around.fact(ENVIRONMENT)))
        named = {name for name, _ in info.env}
        env = [self._env(name) for name in sorted(named)]
        env += [self._env_read(name) for name in sorted(self._variables - named)]
        return (*facts, *env, *self._files.values(), *self._absent.values(), *self._observed.values())

    def _env(self, name: bytes) -> MemoInput:
        value = self.around.env.get(name)
        form = _AS_IS
        if value is not None and self.around.roots.holds_path(value) and self._only_included(name):
            form = NORMALISED
        return MemoInput(InputKind.ENV, name, self.around.env_value(name, form))

    def _env_read(self, name: bytes) -> MemoInput:
        """A variable that something read for itself: a path in it counts as it does in what cargo tells a crate."""
        value = self.around.env.get(name, b"")
        form = NORMALISED if self.around.roots.remapped(value) != value else _AS_IS
        return MemoInput(InputKind.READ, name, self.around.env_value(name, form))

    def _only_included(self, name: bytes) -> bool:
        """Whether a path in a variable serves only to include files, so that its value is nowhere in the artifact."""
        mentions = Mentions(name)
        try:
            mentions.add_own(self.around.roots.real(item.name) for item in self._files.values())
            if not mentions.may_include:
                return False
            if self._macro_sources is None:
                self._macro_sources = self._find_macro_sources()
            if self._macro_sources is None:
                return False
            mentions.add_macros(self._macro_sources)
        except OSError:
            return False
        return mentions.only_includes
