"""A captured rustc call as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kache.core.outcome import Reason


def program_stem(path: bytes) -> bytes:
    """File name of a program without a `.exe`."""
    return path.rpartition(b"/")[2].removesuffix(b".exe")


def is_rustc_name(path: bytes) -> bool:
    """Whether a program is called like rustc (`rustc`, `rustc-1.63`) or clippy-driver."""
    stem = program_stem(path)
    return stem.startswith(b"rustc") or stem == b"clippy-driver"


class Refusal(NamedTuple):
    """Why a call is not cached."""

    reason: Reason
    detail: str


class Extern(NamedTuple):
    """One --extern.

    Attributes:
        name: as given, options included (`noprelude:alloc`).
        path: absolute, or None when rustc searches for it.
    """

    name: bytes
    path: bytes | None


class SearchPath(NamedTuple):
    """One -L.

    Attributes:
        kind: dependency, native, crate, framework or all.
        path: absolute.
    """

    kind: bytes
    path: bytes


class KeyArg(NamedTuple):
    """One argument that belongs into the key.

    Attributes:
        prefix: raw bytes, never to be normalised: what they name may be baked into the output.
        path: absolute path that follows them, to be normalised by the roots known; None if there is none.
    """

    prefix: bytes
    path: bytes | None


@dataclass(slots=True)
class Invocation:
    """A rustc call that can be cached.

    Attributes:
        compiler: argv[0]: rustc or clippy-driver.
        wrapped_rustc: the rustc behind clippy-driver.
        crate_name: of --crate-name.
        crate_types: of --crate-type, in order; empty for a test harness without one.
        is_test: --test.
        unit_kind: for people: lib, bin, example, test, build-script, proc-macro, dylib, cdylib, staticlib, with
            `-check` (metadata only) or `-clippy` behind.
        emit: dep-info, metadata, link.
        source: root source as given.
        out_dir: absolute.
        extra_filename: -C extra-filename or empty.
        externs: in order.
        search: in order.
        native_libs: raw values of -l, in order.
        link_inputs: raw values given for the linker (-C link-arg, -C link-args, -C linker, ...), in order.
        target: of --target, as given.
        target_spec: absolute path of a target specification file given as --target.
        linker: of -C linker, as given.
        codegen: -C options, last one wins, names with dashes; None when given without a value.
        unstable: -Z options, the same.
        key_args: all that belongs into the key besides externs, search paths and presentation; the directory
            rustc runs in counts too, and the caller adds it.
        presentation: canonical options that only change how diagnostics look.
        json_errors: --error-format=json.
        wants_artifacts: --json has `artifacts`.
        run_args: what follows the compiler: @files expanded, -C incremental removed, otherwise as given.
        links: a linker or archiver writes some output.
        coverage: coverage instrumentation, which records real source paths.
        native_cpu: the code depends on the CPU of this machine (-C target-cpu=native).
        has_user_remap: the caller remaps paths already.
        debuginfo: effective level as spelled (`2` for -g); None if not asked for.
        split_debuginfo: of -C split-debuginfo.
        incremental: directory the caller gave for incremental state.
    """

    compiler: bytes
    wrapped_rustc: bytes | None
    crate_name: str
    crate_types: tuple[str, ...]
    is_test: bool
    unit_kind: str
    emit: frozenset[str]
    source: bytes
    out_dir: bytes
    extra_filename: bytes
    externs: tuple[Extern, ...]
    search: tuple[SearchPath, ...]
    native_libs: tuple[bytes, ...]
    link_inputs: tuple[bytes, ...]
    target: bytes | None
    target_spec: bytes | None
    linker: bytes | None
    codegen: dict[str, bytes | None]
    unstable: dict[str, bytes | None]
    key_args: tuple[KeyArg, ...]
    presentation: tuple[bytes, ...]
    json_errors: bool
    wants_artifacts: bool
    run_args: tuple[bytes, ...]
    links: bool
    coverage: bool
    native_cpu: bool
    has_user_remap: bool
    debuginfo: str | None
    split_debuginfo: str | None
    incremental: bytes | None

    @property
    def is_clippy(self) -> bool:
        """The compiler is clippy-driver."""
        return program_stem(self.compiler) == b"clippy-driver"

    def name_in(self, env: Mapping[bytes, bytes]) -> str:
        """What people know the crate by: build scripts all have one crate name, so theirs is their package's."""
        package = env.get(b"CARGO_PKG_NAME") if self.unit_kind.startswith("build-script") else None
        return package.decode(errors="replace").replace("-", "_") if package else self.crate_name
