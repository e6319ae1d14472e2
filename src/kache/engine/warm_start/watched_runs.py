"""What a build script of the checkout looked at, seen by `kache cargo`: where all is as it was the run is served.

`kache cargo` gives cargo a directory, and the observer in cargo makes one memory there for each script that it starts
(native/launcher/observer/front.rs, docs/explanation/observed-inputs.md).
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kache.cargo.fingerprints import FoundUnit
from kache.cargo.script_memories import DIRECTORY, DIRECTORY_VARIABLE
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo, observed_log
from kache.compilers.rustc.closure import ClosureMaker, InputChangedError, Surroundings
from kache.compilers.rustc.macro_library import MacroTraits
from kache.compilers.rustc.observed_inputs import Around, judge
from kache.compilers.rustc.observed_log import OF_MACRO, Record
from kache.core.entry import MemoInput
from kache.engine.warm_start.traces import Trace
from kache.engine.warm_start.untracked import undeclared
from kache.errors import KacheError

_HEAD = struct.Struct("<QI")
_RECORDS = (1 << 15) + (1 << 14) * 8
_SIZE = 8 << 20
"""As observer/log.rs has them."""
_OF_CARGO = frozenset(
    b"OUT_DIR TARGET HOST NUM_JOBS OPT_LEVEL PROFILE DEBUG RUSTC RUSTDOC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO "
    b"CARGO_ENCODED_RUSTFLAGS CARGO_MAKEFLAGS LD_LIBRARY_PATH PATH CARGO_HOME SSL_CERT_FILE SSL_CERT_DIR".split()
)
_OF_CARGO_PREFIXES = (b"CARGO_FEATURE_", b"CARGO_CFG_", b"CARGO_PKG_", b"CARGO_MANIFEST_", b"DEP_", b"RUSTUP_")
"""What cargo tells a script: it is in its hash of the unit, in the manifests, or said by the scripts below. CARGO_HOME
and PATH are told by rustup, differently to each: programs count by what runs. Certificates cargo looks for itself."""
_LINKER = b"RUSTC_LINKER"
_HOW_MANY = (b"/proc/self/cgroup", b"/sys/fs/cgroup/", b"/proc/self/exe")
"""std looks there for how many threads may run, which is no more of an input than cargo's own number of jobs; and the
script's own program is one already."""

log = logging.getLogger("kache")


class Watched(NamedTuple):
    """Where to look.

    Attributes:
        directory: of the memories.
        env: cargo's.
        salt: of the digests of variables.
    """

    directory: bytes
    env: Mapping[bytes, bytes]
    salt: bytes


def directory_of(env: Mapping[bytes, bytes], cache_dir: Path) -> bytes:
    """Where memories of this cargo's scripts are; empty for a cargo without."""
    directory = env.get(DIRECTORY_VARIABLE.encode(), b"")
    return directory if os.path.dirname(directory) == os.fsencode(cache_dir / DIRECTORY) else b""


def remove(directory: bytes) -> None:
    """Remove the memories of a cargo that has ended."""
    if directory:
        shutil.rmtree(directory, ignore_errors=True)


def own_env(env: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What of cargo's environment a script's run is compared by."""
    return {name: value for name, value in env.items() if not _is_of_cargo(name)}


def inputs_of(
    run: FoundUnit, base: bytes, trace: Trace, watched: Watched, digests: FileDigests
) -> tuple[MemoInput, ...] | None:
    """Every input of a run; None if it was not seen, or did what cannot be seen or brought back.

    Args:
        run: the unit.
        base: the directory of its `output`.
        trace: the compile of the script.
        watched: where it was seen.
        digests: the stat memo.

    Raises:
        OSError: something of it is gone.
    """
    records = _records(watched.directory, base + b"/out")
    if records is None:
        return None
    try:
        found = _judged(run, base, records, trace, watched, digests)
    except InputChangedError as error:
        log.info("run of %s: %s changed meanwhile", os.fsdecode(run.directory), error)
        return None
    except KacheError as error:
        log.info("run of %s: %s", os.fsdecode(run.directory), error)
        return None
    if isinstance(found, str):
        log.info("run of %s is not kept: %s", os.fsdecode(run.directory), found)
        return None
    return found


def _judged(
    run: FoundUnit, base: bytes, records: list[Record], trace: Trace, watched: Watched, digests: FileDigests
) -> tuple[MemoInput, ...] | str:
    records = [record for record in records if not record.text.startswith(_HOW_MANY)]
    programs = {os.path.realpath(os.path.join(trace.out_dir, os.fsencode(each.name))) for each in trace.entry.artifacts}
    hellos = {record.text for record in records if record.kind == b"h"}
    script = next((record.text for record in records if record.kind == b"h"), b"")
    if os.path.dirname(script) != trace.out_dir:
        return "another program was seen"
    wrapper = watched.env.get(b"RUSTC_WRAPPER", b"")
    if wrapper and os.path.realpath(wrapper) in hellos:
        return "it compiles through kache"
    if any(record.kind in (b"e", b"E") and record.text == _LINKER for record in records):
        return "it asks for the linker, which cargo's configuration may name"
    stray = _stray(records, base)
    if stray:
        return f"it wrote {stray}"
    traits = MacroTraits(digests)
    of_script = traits(script)
    if of_script.calls_kernel:
        return "it calls the kernel by itself"
    made = [os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names]
    sysroot = trace.roots.real(b"<sysroot>")
    around = Around(
        is_keyed=_is_of_cargo,
        env=watched.env,
        toolchain=observed_log.toolchain_prefixes(sysroot),
        keyed={script, *programs},
        outputs=frozenset(made),
        traits=traits,
        role=OF_MACRO,
    )
    seen = judge(records, around)
    if seen is None or seen.gap:
        return "nothing was seen" if seen is None else f"unobserved: {seen.gap}"
    seen.whole_environment |= of_script.walks
    # What cargo tells a script of its package is in no hash of the run.
    manifests = dict.fromkeys((trace.package + b"/Cargo.toml", trace.roots.cwd + b"/Cargo.toml"))
    unread = {trace.roots.normalise(path) for path in manifests if path not in seen.files}
    seen.files.update(manifests)
    began_ns = os.stat(base + b"/invoked.timestamp").st_mtime_ns
    surroundings = Surroundings(trace.roots, own_env(watched.env), (), watched.salt)
    closure = ClosureMaker(surroundings, digests, began_ns, lambda: None)
    closure.add_observed(seen)
    inputs = closure.finish(depinfo.DepInfo((), ()), tied=(), has_diagnostics=False)
    paths = [os.path.normpath(os.path.join(trace.package, os.fsencode(name))) for name in run.watched or ()]
    declared = [trace.roots.normalise(path) for path in paths]
    hidden = undeclared((each for each in inputs if each.name not in unread), declared, run.asked, surroundings)
    return f"it does not declare {os.fsdecode(hidden)}" if hidden else inputs


def _stray(records: list[Record], base: bytes) -> str:
    """A file, link or directory that the run left outside of its own directory."""
    for record in records:
        if record.kind != b"w" or record.text.startswith(base + b"/"):
            continue
        try:
            mode = os.lstat(record.text).st_mode
        except OSError:
            continue
        is_left = stat.S_IFMT(mode) in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)
        if is_left and not os.path.realpath(record.text).startswith(base + b"/"):
            return os.fsdecode(record.text)
    return ""


def _records(directory: bytes, out_dir: bytes) -> list[Record] | None:
    """What was noted of the run with that OUT_DIR; None if there is nothing, or not all of it."""
    try:
        with open(b"%b/%016x" % (directory, _fnv(out_dir)), "rb") as file:
            used, lost = _HEAD.unpack(file.read(_HEAD.size))
            if lost or used > _SIZE - _RECORDS:
                return None
            file.seek(_RECORDS)
            return observed_log.parse(b"\0" + file.read(used))
    except (FileNotFoundError, struct.error):
        return None


def _fnv(data: bytes) -> int:
    """FNV-1a of 64 bits, as observer/front.rs has it."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found


def _is_of_cargo(name: bytes) -> bool:
    return name in _OF_CARGO or name.startswith(_OF_CARGO_PREFIXES)
