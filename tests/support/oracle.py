"""What a build without kache makes of the same tree: the measure of every output."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
# Cargo's own notes on build scripts: dates and absolute paths of this very run.
_CARGOS_OWN = {"output", "root-output", "stderr", "invoked.timestamp", "CACHEDIR.TAG"}
_SKIPPED = {".fingerprint", "incremental", "tmp", "doc"}

_REMAPPING = """#!{python}
# Runs rustc with the flags kache would add, and without kache.
import os, sys
sys.path.insert(0, {src!r})
from kache.compilers.rustc import args, roots
from kache.compilers.rustc.invocation import Refusal

argv = [os.fsencode(word) for word in sys.argv[1:]]
call = args.parse(argv, os.getcwdb())
if not isinstance(call, Refusal):
    compilers = [call.compiler] + ([call.wrapped_rustc] if call.wrapped_rustc else [])
    found = roots.discover(call, os.getcwdb(), os.environb, sysroot={sysroot!r}, base_dir=None)
    argv = [*compilers, *([] if call.coverage else found.remap_flags()), *call.run_args]
os.execvp(argv[0], argv)
"""


@dataclass(frozen=True)
class Outputs:
    """Contents of a target directory.

    Attributes:
        files: path below it to (digest of the content, whether it may be executed).
    """

    files: dict[str, tuple[str, bool]]

    def same_as(self, other: Outputs) -> None:
        """Assert that both hold the same files with the same bytes and execute bits."""
        missing = sorted(other.files.keys() - self.files.keys())
        extra = sorted(self.files.keys() - other.files.keys())
        differ = sorted(
            name for name in self.files.keys() & other.files.keys() if self.files[name] != other.files[name]
        )
        assert not missing + extra + differ, f"missing {missing}, extra {extra}, different {differ}"

    def named(self, *suffixes: str) -> Outputs:
        """Only the files whose names end so."""
        return Outputs({name: facts for name, facts in self.files.items() if name.endswith(suffixes)})

    def __len__(self) -> int:
        return len(self.files)


def outputs(target: Path) -> Outputs:
    """Everything compilers and build scripts left in a target directory."""
    files = {}
    for directory, names, found in os.walk(target):
        names[:] = [name for name in names if name not in _SKIPPED]
        for name in found:
            if name in _CARGOS_OWN or name.startswith("."):
                continue
            path = Path(directory, name)
            if path.suffix == ".d" and (path.parent.name != "deps" and "-" not in name):
                continue  # cargo's own, beside what it uplifts: it names one of two outputs, as it happens
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            files[str(path.relative_to(target))] = (digest, bool(path.stat().st_mode & 0o111))
    return Outputs(files)


def remapping_wrapper(directory: Path, sysroot: Path) -> Path:
    """A RUSTC_WRAPPER that adds the engine's remap flags and takes incremental compilation away, and no more.

    cargo puts no wrapper into its hashes, so file names and fingerprints stay those of a build through kache.

    Args:
        directory: where the script goes.
        sysroot: of the toolchain.
    """
    path = directory / "remapping-wrapper"
    if not path.exists():
        text = _REMAPPING.format(python=sys.executable, src=str(SRC), sysroot=os.fsencode(sysroot))
        path.write_text(text)
        path.chmod(0o755)
    return path
