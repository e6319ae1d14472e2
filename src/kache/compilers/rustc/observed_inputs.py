"""Judge what the observer noted: which of it is an input of the compile, of what type, and what could not be seen."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kache.compilers.rustc import observed_env
from kache.compilers.rustc.macro_library import Traits
from kache.compilers.rustc.observed_log import BEFORE, COMPILER, OF_MACRO, TOOL, Record
from kache.compilers.rustc.programs import which

_OF_COURSE = frozenset(("in the key already", "the toolchain's own", "made by this compile", "gone: a temporary file"))
"""Reasons that are the same in every compile, of names that differ: not worth keeping."""
_SYSTEM_LIBRARIES = (b"/lib/", b"/lib64/", b"/usr/lib/", b"/usr/lib64/", b"/nix/store/")


@dataclass(slots=True)
class Around:
    """What judging needs to know of the call.

    Attributes:
        is_keyed: whether a variable of that name is in the key already.
        env: the caller's environment.
        toolchain: how the toolchain's own paths begin.
        keyed: real paths in the weak key or in the dep-info.
        outputs: real paths rustc announced.
        traits: what a macro's library may do unseen; raises OSError.
        role: who must have been seen, or nothing was.
    """

    is_keyed: Callable[[bytes], bool]
    env: Mapping[bytes, bytes]
    toolchain: Iterable[bytes]
    keyed: Collection[bytes]
    outputs: Collection[bytes]
    traits: Callable[[bytes], Traits]
    role: bytes = COMPILER


@dataclass(slots=True)
class Observed:
    """What counts, by type, and what could not be seen.

    Attributes:
        files: real paths whose content counts.
        present: real paths that must be there, True for a directory.
        absent: real paths that must not.
        directories: real paths whose listing counts.
        variables: names.
        programs: names searched on PATH.
        whole_environment: something walked through all of it.
        gap: what a macro may have read unseen; empty if nothing.
        tool_gap: what a linker may have read unseen: there explicit rules decide.
        left_out: names seen that do not count, with the reason; those of whom it goes without saying are not here.
        told_macros: names of variables that macros asked for, those in the key included.
        left_behind: a path that was written, is there and is no output; empty if there is none.
    """

    files: dict[bytes, None] = field(default_factory=dict)
    present: dict[bytes, bool] = field(default_factory=dict)
    absent: dict[bytes, None] = field(default_factory=dict)
    directories: dict[bytes, None] = field(default_factory=dict)
    variables: dict[bytes, None] = field(default_factory=dict)
    programs: dict[bytes, None] = field(default_factory=dict)
    whole_environment: bool = False
    gap: str = ""
    tool_gap: str = ""
    left_out: dict[bytes, str] = field(default_factory=dict)
    left_behind: str = ""
    told_macros: frozenset[bytes] = frozenset()


_ASKED = (b"e", OF_MACRO)
_SHELL = re.compile(rb"/(env +)?(ba|da|k|z|)sh\b")
_USED = re.compile(rb"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_MAX_SCRIPT = 1 << 16

_O_PATH = getattr(os, "O_PATH", 0) | os.O_CLOEXEC  # observed compiles are Linux's alone


def judge(records: list[Record], around: Around) -> Observed | None:
    """Sort the records of one compile; None if the compiler, or the script, was not observed (a static one).

    A process that was not observed leaves no record of itself: it shows by a start without a program that says hello.
    """
    if not any(record.kind == b"h" and record.role == around.role for record in records):
        return None
    found = Observed()
    judging = _Judge(records, around, found)
    for record in records:
        judging.take(record)
    found.told_macros = frozenset(
        each.text for each in records if each.kind == b"E" or (each.kind, each.role) == _ASKED
    )
    found.left_behind = _left_behind(records, around.outputs)
    return found


class _Judge:
    def __init__(self, records: list[Record], around: Around, found: Observed) -> None:
        self.around = around
        self.found = found
        self.toolchain = tuple(around.toolchain)
        self.own = {record.text for record in records if record.kind == b"w"} | set(around.outputs)
        self.read_first = _read_before_written(records)
        self.hellos = {record.text for record in records if record.kind == b"h"}
        self.path_dirs = {part for part in around.env.get(b"PATH", b"").split(b":") if part}
        self._directories: dict[bytes, bytes] = {}
        self._handlers: dict[bytes, Callable[[Record], str]] = {
            **dict.fromkeys((b"r", b"b", b"m", b"x", b"X", b"h", b"s", b"l", b"d", b"a", b"V"), self._path),
            **dict.fromkeys((b"e", b"E"), self._variable),
            **dict.fromkeys((b"p", b"P"), self._program),
            **dict.fromkeys((b"u", b"U"), self._unseen),
        }

    def take(self, record: Record) -> None:
        """Judge one record."""
        handler = self._handlers.get(record.kind)
        if handler is None or (record.role == BEFORE and record.kind not in (b"x", b"X", b"p", b"P")):
            return
        why_not = handler(record)
        if why_not and why_not not in _OF_COURSE:
            name = self._plain(record.text) if record.text[:1] == b"/" else record.text
            self.found.left_out.setdefault(name, why_not)

    # Each gives why the record does not count, or an empty text if it does.

    def _variable(self, record: Record) -> str:
        name = record.text
        is_macro = record.kind == b"E" or record.role == OF_MACRO
        if self.around.is_keyed(name) and not (is_macro and observed_env.is_unhashed(name)):
            return "in the key already"
        if record.kind == b"e" and observed_env.is_quiet(name):
            return "changes no output, whatever rustc or a linker reads it for"
        self.found.variables[name] = None
        return ""

    def _program(self, record: Record) -> str:
        path = which(record.text, self.around.env, b"/")
        if path is not None:
            self._started(path, is_macro=record.kind == b"P" or record.role == OF_MACRO)
            if path in self.around.keyed:
                return "in the key already"
        if record.role == BEFORE:
            return "before the compiler"
        self.found.programs[record.text] = None
        return ""

    def _started(self, path: bytes, *, is_macro: bool) -> None:
        """A program that ran and said nothing of itself could not be observed."""
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            return
        if not is_macro:
            self._script(path)
        if _program_behind(path) & self.hellos:
            return
        if is_macro:
            self.found.gap = self.found.gap or os.fsdecode(path)
        else:
            self.found.tool_gap = self.found.tool_gap or os.fsdecode(path)

    def _script(self, path: bytes) -> None:
        """A script in the linker's place: shells take all variables when they start; the text says which it uses."""
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if file.read(2) != b"#!":
                return
            interpreter, text = file.readline(), file.read(_MAX_SCRIPT)
            if not _SHELL.search(interpreter) or len(text) == _MAX_SCRIPT:
                self.found.whole_environment = True
                return
            for name in set(_USED.findall(text)):
                self._variable(Record(b"E", TOOL, name))

    def _unseen(self, record: Record) -> str:
        if record.kind == b"U" or record.role == OF_MACRO:
            self.found.gap = self.found.gap or f"{os.fsdecode(record.text)}()"
            return ""
        return "explicit rules decide for linkers"

    def _path(self, record: Record) -> str:
        kind, role, path = record.kind, record.role, self._plain(record.text)
        if kind == b"V":
            self.found.whole_environment = True
            return ""
        if kind in (b"x", b"X"):
            self._started(path, is_macro=kind == b"X" or role == OF_MACRO)
        if kind == b"m":
            return self._macro(path)
        why_not = self._known_already(path, role)
        if why_not:
            return why_not
        return self._absent(path, role) if kind == b"a" else self._there(kind, role, path)

    def _known_already(self, path: bytes, role: bytes) -> str:
        if role == BEFORE:
            return "before the compiler"
        if path in self.around.keyed:
            return "in the key already"
        if path.startswith(self.toolchain):
            return "the toolchain's own"
        return "made by this compile" if self._is_own(path) else ""

    def _macro(self, path: bytes) -> str:
        if path.startswith(self.toolchain) or path.startswith(_SYSTEM_LIBRARIES):
            return "the toolchain's own"
        try:
            found = self.around.traits(path)
        except OSError:
            self.found.gap = self.found.gap or os.fsdecode(path)
            return ""
        if found.calls_kernel:
            self.found.gap = self.found.gap or f"system calls of {os.fsdecode(os.path.basename(path))}"
        self.found.whole_environment |= found.walks
        if path in self.around.keyed:
            return "in the key already"
        self.found.files[path] = None
        return ""

    def _absent(self, path: bytes, role: bytes) -> str:
        directory = os.path.dirname(path)
        if role == TOOL and directory in self.path_dirs:
            return "a place on PATH: programs count by what runs"
        if not os.path.lexists(directory):
            # Instead of every file looked for in a directory that is not there: the directory.
            while not os.path.lexists(above := os.path.dirname(directory) or b"/"):
                directory = above
            path = directory
            if self._is_own(os.path.dirname(path)):
                return "made by this compile"
        self.found.absent[path] = None
        return ""

    def _there(self, kind: bytes, role: bytes, path: bytes) -> str:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return self._gone(kind, role, path)
        if kind == b"d":
            self.found.directories[path] = None
            return ""
        if stat.S_ISDIR(mode):
            if role == TOOL or kind == b"h":
                return "a directory only"
            self.found.present[path] = True
            return ""
        if not stat.S_ISREG(mode):
            return "no regular file"
        if role == TOOL and kind in (b"s", b"l"):
            if os.path.dirname(path) in self.path_dirs:
                return "a place on PATH: programs count by what runs"
            self.found.present[path] = False
            return ""
        self.found.files[path] = None
        return ""

    def _gone(self, kind: bytes, role: bytes, path: bytes) -> str:
        """It was there and is not: somebody's temporary file, or an input nobody can look at any more."""
        if role == TOOL or kind in (b"s", b"l") or path not in self.read_first:
            return "gone: a temporary file"
        self.found.gap = self.found.gap or f"{os.fsdecode(path)}, which is gone"
        return ""

    def _is_own(self, path: bytes) -> bool:
        """Whether this compile made the file, or a directory above it, and did not read it before."""
        if path in self.around.outputs:
            return True
        if path in self.own:
            return path not in self.read_first
        at = path.rfind(b"/")
        while at > 0:
            if path[:at] in self.own:
                return True
            at = path.rfind(b"/", 0, at)
        return False

    def _plain(self, path: bytes) -> bytes:
        """A path without `.` and `..`, which gcc is fond of."""
        if b"/." not in path and b"//" not in path:
            return path
        directory, name = os.path.split(path)
        if name in (b".", b"..") or not name:
            return _real(path) or b"/"
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = _real(directory)
        return known + b"/" + name


def _real(path: bytes) -> bytes:
    """The real path, empty for the root: realpath keeps the two slashes that ld begins some of its paths with."""
    try:
        found = _walked(path)
    except OSError:  # it is gone, or there is no /proc
        found = os.path.realpath(path)
    return b"/".join((b"", *filter(None, found.split(b"/"))))


def _walked(path: bytes) -> bytes:
    """Where the kernel comes to: gcc's paths go up and down through a dozen directories, and a link has hundreds."""
    fd = os.open(path, _O_PATH)
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    finally:
        os.close(fd)


def _read_before_written(records: list[Record]) -> set[bytes]:
    """Paths read, asked for or listed before this compile wrote them, if it did."""
    written: set[bytes] = set()
    read: set[bytes] = set()
    for record in records:
        if record.kind == b"w":
            written.add(record.text)
        elif record.kind in (b"r", b"b", b"d") and record.text not in written:
            read.add(record.text)
    return read


def _left_behind(records: list[Record], outputs: Collection[bytes]) -> str:
    """The first file, link or directory that was made or written, and is neither an output nor gone."""
    written = dict.fromkeys(record.text for record in records if record.kind == b"w" and record.role != BEFORE)
    for path in written:
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        if stat.S_IFMT(mode) in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR) and os.path.realpath(path) not in outputs:
            return os.fsdecode(path)
    return ""


def _program_behind(path: bytes) -> set[bytes]:
    """The programs one of which says hello when this is started: itself, or the interpreter of a script."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            head = file.read(256)
    except OSError:
        return {real}
    if head[:2] != b"#!":
        return {real}
    words = head[2:].split(b"\n")[0].split()
    return {real, os.path.realpath(words[0])} if words else {real}
