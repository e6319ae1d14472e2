"""Compile a hit again in a directory of its own, and compare everything with what was served."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kache.compilers.rustc import depinfo
from kache.compilers.rustc.key_inputs import PendingRecord
from kache.compilers.rustc.outputs import without_notifications
from kache.config.load import Config
from kache.core.digest import hash_file
from kache.core.entry import Entry
from kache.engine.decisions import Missed
from kache.engine.lookup import Lookup
from kache.engine.requests import environment_afterwards
from kache.ipc.protocol import Request
from kache.util import processes

LIMIT_S = 3600.0
MESSAGES = "messages"
DEP_INFO = "dep-info"
EXIT_STATUS = "exit status"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a recompile ended.

    Attributes:
        entry: what was served; None if today's files lead elsewhere, so that nothing can be compared.
        differs: names of the outputs that differ, and `messages`, `dep-info`, `exit status`.
    """

    entry: Entry | None
    differs: tuple[str, ...] = ()


def recompile(lookup: Lookup, request: Request, config: Config, key: bytes, scratch: Path) -> Verdict:
    """Compile a call that was a hit.

    Args:
        lookup: of the store that served it.
        request: the call.
        config: settings of its workspace.
        key: the entry that was served.
        scratch: an empty directory; gets the outputs.

    Raises:
        StoreError: the store cannot be read.
        OSError: the compiler cannot be run.
    """
    served = _served_by(lookup, request, config, key)
    # Run paths are made of the place of the output itself.
    if served is None or "rpath" in served[0].call.codegen:
        return Verdict(None)
    missed, entry = served
    done = _compile(missed, request, os.fsencode(scratch))
    if _served_by(lookup, request, config, key) is None:
        return Verdict(None)  # an input changed meanwhile: which version rustc read is not known
    if done.returncode != 0:
        return Verdict(entry, (EXIT_STATUS,))
    return Verdict(entry, tuple(_differences(missed, entry, scratch, done.stderr)))


def _served_by(lookup: Lookup, request: Request, config: Config, key: bytes) -> tuple[Missed, Entry] | None:
    try:
        missed = lookup.key(request, config)
    except PendingRecord:
        return None
    found = lookup.match(missed) if isinstance(missed, Missed) else None
    if not isinstance(missed, Missed) or found is None or found.entry.key != key:
        return None
    return missed, found.entry


def _compile(missed: Missed, request: Request, scratch: bytes) -> subprocess.CompletedProcess[bytes]:
    how = {"cwd": request.cwd, "env": environment_afterwards(request), "umask": request.umask}
    return processes.run(argv_into(missed, scratch), LIMIT_S, **how)


def argv_into(missed: Missed, scratch: bytes) -> list[bytes]:
    """The command of a compile with another out dir, which rustc is told to call by the name of the true one."""
    argv = missed.argv_into(scratch)
    out_dir = missed.shape.out_dir
    if missed.call.split_debuginfo not in (None, "off"):
        name = missed.around.roots.told(out_dir) if missed.remapped else out_dir
        argv.append(b"--remap-path-prefix=" + scratch + b"=" + name)
    return argv


def _differences(missed: Missed, entry: Entry, scratch: Path, stderr: bytes) -> list[str]:
    found = [artifact.name for artifact in entry.artifacts if not _is_same(scratch / artifact.name, artifact.digest)]
    known = {artifact.name for artifact in entry.artifacts} | {entry.dep_info_name}
    found += sorted(path.name for path in scratch.iterdir() if path.name not in known)
    roots, out_dir = missed.around.roots, missed.shape.out_dir
    text = without_notifications(stderr.replace(os.fsencode(scratch), out_dir))
    if roots.to_template(text, json=missed.call.json_errors) != without_notifications(entry.stderr):
        found.append(MESSAGES)
    try:
        now = depinfo.parse((scratch / entry.dep_info_name).read_bytes())
        then = depinfo.parse(depinfo.fill(entry.dep_info, roots.pairs(), missed.around.env))
    except (OSError, depinfo.DepInfoError):
        return [*found, DEP_INFO]
    return found if (set(now.files), set(now.env)) == (set(then.files), set(then.env)) else [*found, DEP_INFO]


def _is_same(path: Path, digest: bytes) -> bool:
    try:
        return hash_file(os.fsencode(path)) == digest
    except OSError:
        return False
