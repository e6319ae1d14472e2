"""How a rustc call can end, and the closed list of reasons people see."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """How one rustc call ended."""

    LOCAL_HIT = "local_hit"
    PREFETCH_HIT = "prefetch_hit"
    REMOTE_HIT = "remote_hit"
    DUP = "dup"
    """Served from a compile of the same thing that was in flight."""
    MISS = "miss"
    PASSTHROUGH = "passthrough"
    ERROR = "error"
    """Something failed on the cache's side; rustc ran all the same."""


class Reason(enum.StrEnum):
    """Why a call went past the cache, was not stored, or failed on the cache's side."""

    # not a compile of a crate
    NOT_RUSTC = "not-rustc"
    QUERY = "query"
    """-vV, --print, --explain and the like."""
    STDIN_SOURCE = "stdin-source"
    NO_SOURCE = "no-source"
    PROBE = "probe"
    """A build script's feature probe: no dep-info asked for, or not called by cargo."""

    # shapes that are not cached
    DISABLED = "disabled"
    UNKNOWN_FLAG = "unknown-flag"
    BAD_ARGUMENT = "bad-argument"
    RESPONSE_FILE = "response-file"
    EMIT_KIND = "emit-kind"
    OUTPUT_PATH = "output-path"
    """-o, or --emit=kind=path."""
    NO_ARTIFACT_MESSAGES = "no-artifact-messages"
    CRATE_TYPE = "crate-type"
    WORKSPACE_WRAPPER = "workspace-wrapper"
    NESTED_WRAPPER = "nested-wrapper"
    PROFILE_GUIDED = "profile-guided"
    EXTRA_OUTPUT = "extra-output"
    """A flag that writes more files: -C save-temps, -Z self-profile and the like."""
    UNSTABLE_FLAG = "unstable-flag"
    CODEGEN_BACKEND = "codegen-backend"
    NATIVE_INPUT = "native-input"
    """A file named for the linker that cannot be found or followed."""
    TOOLCHAIN = "toolchain"
    """The toolchain cannot be identified."""
    MISSING_EXTERN = "missing-extern"
    UNREADABLE_INPUT = "unreadable-input"

    # compiled and not stored
    COMPILE_FAILED = "compile-failed"
    COMPILER_KILLED = "compiler-killed"
    INPUT_CHANGED = "input-changed"
    """A source was written while rustc ran."""
    NO_DEP_INFO = "no-dep-info"
    MISSING_OUTPUT = "missing-output"
    OUTPUT_CHANGED = "output-changed"

    # the cache's side
    STORE_UNAVAILABLE = "store-unavailable"
    STORE_WRITE_FAILED = "store-write-failed"
    RESTORE_FAILED = "restore-failed"
    INTERNAL_ERROR = "internal-error"
