"""The edit loop: an edited unit is compiled incrementally, as cargo asked, and its outputs stay out of the store.

A miss of a unit that was built in this target directory before is an edit. The first one in a checkout is compiled
without incremental state, which is quicker, and stored: what looks like an edit may be a pull that others have too. It
leaves a directory for rustc's incremental state behind, private to this unit in this target directory, and with that
every further edit goes incremental. The state itself is made while nobody builds (`edit_states`), or else by the second
edit. docs/decisions/0009-adaptive-incremental.md and 0014 have the figures.

State is of use only to a compile whose out dir has the same name. So all that make or use it are given one of its own:
a link to the out dir, or while state is made to a directory below the cache dir.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from dataclasses import dataclass, replace

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.closure import ClosureMaker, InputChangedError
from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.roots import json_escaped
from kache.config.load import Config
from kache.core.entry import MemoInput
from kache.core.outcome import Reason
from kache.engine.decisions import Missed
from kache.ipc.protocol import Done
from kache.store.local import LocalStore

STATE_DIR = b"kache"
"""Below the directory of `-C incremental`. cargo and rustc look at names they know there, and this is none."""
OUT_DIR = b"kache.out"
"""Beside it: the name of each unit's out dir."""
SCRATCH = "edit-states"
"""In the cache dir: where state is made."""
ICE_EXIT = 101
_INTERRUPTIONS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM})
"""Somebody else's wish: rustc leaves the last finished session as it was."""
_LINK_FAILED = b"linking with `"
_NAMES = 4

log = logging.getLogger("kache")


@dataclass(frozen=True, slots=True)
class Edit:
    """An edited unit.

    Attributes:
        state: directory for rustc's state of this unit.
        out: what an incremental compile calls its out dir; empty for the out dir's own name.
        is_further: it was edited here before, so this compile is incremental.
    """

    state: bytes
    out: bytes
    is_further: bool

    def argv(self, missed: Missed) -> list[bytes]:
        """What is run to compile it."""
        return self.incremental_argv(missed) if self.is_further else missed.argv()

    def incremental_argv(self, missed: Missed) -> list[bytes]:
        """As cargo asked, but for the directories."""
        # No stable names for paths: nobody else gets to see these outputs, and a debugger finds all sources.
        plain = replace(missed, remapped=False)
        argv = plain.argv_into(self.out) if self.out else plain.argv()
        return [*argv, b"-C", b"incremental=" + self.state]

    def with_linked_out(self, out_dir: bytes) -> Edit:
        """The same with a name that means the out dir, whatever it meant before (in a copied checkout, another one's).

        A link to where state is made was for a compile that may still live (its daemon was killed): it is left alone,
        or that compile would write into the out dir. Then another name is taken, under which the state is of little
        use, and at last the out dir's own.
        """
        for number in range(_NAMES):
            out = self.out + (b"-%d" % number if number else b"")
            if _is_in_use(out):
                continue
            try:
                if not (os.path.islink(out) and os.path.exists(out) and os.path.samefile(out, out_dir)):
                    os.makedirs(os.path.dirname(out), exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(out)
                    os.symlink(out_dir, out)
            except OSError as error:
                log.info("cannot make %s: %s", os.fsdecode(out), error)
                break
            return replace(self, out=out)
        return replace(self, out=b"")

    def true_name(self, call: Invocation) -> list[bytes]:
        """What to replace in messages: the out dir's name, and its true one."""
        names = (self.out, call.out_dir) if self.out else ()
        return [json_escaped(name) for name in names] if call.json_errors else list(names)

    def name_truly(self, text: bytes, out_dir: bytes) -> bytes:
        """A dep-info file with the out dir's true name."""
        return text.replace(self.out + b"/", out_dir + b"/") if self.out else text

    def end(self, done: Done) -> Reason:
        """After the compile: begin with state, keep it, or throw it away; returns what to call the compile."""
        if not self.is_further:
            if done.wait_status == 0:
                with contextlib.suppress(OSError):  # without a target directory the next edit is a first one again
                    os.makedirs(self.state, exist_ok=True)
            return Reason.INCREMENTAL_EDIT
        if not _crashed(done):
            return Reason.INCREMENTAL_EDIT
        # rustc does not check all that it reads there, so the next compile goes without.
        shutil.rmtree(self.state, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(self.out)
        return Reason.INCREMENTAL_CRASH


class Edits:
    """Which compiles are edits, and which are built on the outputs of incremental ones.

    Args:
        store: knows the artifacts that are not.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._private: set[bytes] = set()

    def edit_of(self, missed: Missed, config: Config) -> Edit | None:
        """Whether a miss is an edit: the caller wants incremental compilation, and this unit was built here before."""
        call = missed.call
        if config.incremental != "adaptive" or call.incremental is None or not os.path.exists(_dep_info(call)):
            return None
        above = os.path.join(missed.around.roots.cwd, call.incremental)
        state, out = (os.path.join(above, name, _unit(call)) for name in (STATE_DIR, OUT_DIR))
        return Edit(state, out, os.path.isdir(state))

    def is_private(self, missed: Missed, edit: Edit | None) -> bool:
        """Whether what comes of a compile fits nobody else: it is incremental, or above what is.

        An engine inside each call remembers nothing, so there what lies above is stored, to no use and no harm.
        """
        call = missed.call
        above = any(self._is_from_private(extern.path, missed) for extern in call.externs if extern.path is not None)
        is_private = above or (edit is not None and edit.is_further)
        (self._private.add if is_private else self._private.discard)(_unit(call))
        return is_private

    def _is_from_private(self, path: bytes, missed: Missed) -> bool:
        unit = os.path.basename(path).rpartition(b".")[0].removeprefix(b"lib")
        return unit in self._private and self._store.links(missed.inputs.files[path]) is None


def inputs_read(missed: Missed, digests: FileDigests, started_ns: int) -> tuple[MemoInput, ...]:
    """What the compile says it read, for why-miss alone; nothing if it does not say."""
    maker = ClosureMaker(missed.around, digests, started_ns, lambda: None)
    try:
        with open(_dep_info(missed.call), "rb") as file:
            info = depinfo.parse(file.read())
        maker.add_sources(info)
        return maker.finish(info, tied=(), has_diagnostics=False)
    except (OSError, depinfo.DepInfoError, InputChangedError):
        return ()


def _is_in_use(out: bytes) -> bool:
    """Whether a name is not ours to take: a directory, or a link for somebody who makes state."""
    try:
        return b"/" + SCRATCH.encode() + b"/" in os.readlink(out)
    except OSError:
        return os.path.isdir(out)


def _unit(call: Invocation) -> bytes:
    """Tells the unit from others of its name: cargo puts a hash into the file names or, where it may not, beside."""
    return call.crate_name.encode() + (call.extra_filename or b"-" + (call.codegen.get("metadata") or b""))


def _dep_info(call: Invocation) -> bytes:
    return call.out_dir + b"/" + call.crate_name.encode() + call.extra_filename + b".d"


def correct_dep_info(edit: Edit, missed: Missed) -> None:
    """Give the out dir its true name in what a further edit left; cargo reads it when the compile has ended."""
    with contextlib.suppress(OSError), open(_dep_info(missed.call), "r+b") as file:
        found = file.read()
        text = edit.name_truly(found, missed.call.out_dir)
        if text == found:
            return
        file.seek(0)
        file.write(text)
        file.truncate()


def _crashed(done: Done) -> bool:
    if os.WIFSIGNALED(done.wait_status):
        return os.WTERMSIG(done.wait_status) not in _INTERRUPTIONS
    status = os.waitstatus_to_exitcode(done.wait_status)
    # An object file in the state may be damaged, and the linker is the first to read it.
    return status == ICE_EXIT or (status != 0 and _LINK_FAILED in done.stderr)
