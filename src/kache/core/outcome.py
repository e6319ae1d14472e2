"""How a rustc call can end, and the closed list of reasons people see."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """How one rustc call ended."""

    LOCAL_HIT = "local_hit"
    PREFETCH_HIT = "prefetch_hit"
    REMOTE_HIT = "remote_hit"
    SEEDED = "seeded"
    """Put into a fresh target by warm start: rustc was never asked for."""
    DUP = "dup"
    """Served from a compile of the same thing that was in flight."""
    MISS = "miss"
    PASSTHROUGH = "passthrough"
    ERROR = "error"
    """Something failed on the cache's side; rustc ran all the same."""
    VERIFIED = "verified"
    """No call: an earlier hit was compiled again, and gave the same."""
    DIFFERS = "differs"
    """No call: an earlier hit was compiled again, and gave something else."""
    UNVERIFIED = "unverified"
    """No call: an earlier hit could not be compiled again, what it was made of had changed meanwhile."""


class Reason(enum.StrEnum):
    """Why a call went past the cache, was not stored, or failed on the cache's side.

    The text under each becomes docs/reference/reasons.md (`make docs`).
    """

    # not a compile of a crate
    NOT_RUSTC = "not-rustc"
    """The compiler is not a rustc kache knows: it runs as if kache were not there."""
    QUERY = "query"
    """A question, not a compile: -vV, --print, --explain and the like."""
    STDIN_SOURCE = "stdin-source"
    """The source comes from standard input, as in the probes of cargo and build scripts."""
    NO_SOURCE = "no-source"
    """No source file is named."""
    PROBE = "probe"
    """A build script's feature probe: no dep-info asked for, or not called by cargo."""

    # shapes that are not cached
    DISABLED = "disabled"
    """KACHE_DISABLED, or `disabled` where the call was made."""
    UNKNOWN_FLAG = "unknown-flag"
    """A flag kache does not know: whether it changes the outputs cannot be told."""
    BAD_ARGUMENT = "bad-argument"
    """An argument rustc itself will refuse, or one that is not UTF-8."""
    RESPONSE_FILE = "response-file"
    """An @file that cannot be read, or whose arguments do not fit on a command line."""
    EMIT_KIND = "emit-kind"
    """--emit asks for a kind of output that is not cached."""
    OUTPUT_PATH = "output-path"
    """Outputs go where cargo would not put them: -o, --emit=kind=path, no --out-dir."""
    NO_ARTIFACT_MESSAGES = "no-artifact-messages"
    """rustc is not asked to say which files it wrote (--json=artifacts), as cargo always asks."""
    CRATE_TYPE = "crate-type"
    """A crate type that is not cached."""
    WORKSPACE_WRAPPER = "workspace-wrapper"
    """A RUSTC_WORKSPACE_WRAPPER other than clippy stands between: what it does to the compile is not known."""
    PROFILE_GUIDED = "profile-guided"
    """Profile-guided optimisation: profiles are inputs and outputs kache does not follow."""
    EXTRA_OUTPUT = "extra-output"
    """A flag that writes more files: -C save-temps, -Z self-profile and the like."""
    UNSTABLE_FLAG = "unstable-flag"
    """A -Z flag not known to be harmless."""
    CODEGEN_BACKEND = "codegen-backend"
    """A code generator other than rustc's own."""
    NATIVE_INPUT = "native-input"
    """A file named for the linker that cannot be found or followed."""
    TOOLCHAIN = "toolchain"
    """The toolchain cannot be identified."""
    MISSING_EXTERN = "missing-extern"
    """A crate named by --extern is not there or cannot be read."""
    UNREADABLE_INPUT = "unreadable-input"
    """An input that belongs in the key cannot be read."""

    # the edit loop
    INCREMENTAL_EDIT = "incremental-edit"
    """A unit edited in this checkout before: compiled incrementally, as cargo asked; such outputs fit nobody else."""
    INCREMENTAL_CRASH = "incremental-crash"
    """An incremental compile crashed or could not link: its state was thrown away, and the next one goes without."""

    # compiled and not stored
    INCREMENTAL_EXTERN = "incremental-extern"
    """Compiled against a crate that was compiled incrementally: no other build has that very file."""
    COMPILE_FAILED = "compile-failed"
    """rustc reported errors; failed compiles are never stored."""
    COMPILER_KILLED = "compiler-killed"
    """rustc was ended by a signal, or the launcher was."""
    INPUT_CHANGED = "input-changed"
    """A source was written while rustc ran: nobody knows which version it read."""
    UNOBSERVED = "unobserved"
    """A macro may have read something that cannot be observed: it runs a static program, or calls the kernel itself."""
    NO_DEP_INFO = "no-dep-info"
    """rustc left no readable dep-info file, so what it read is not known."""
    MISSING_OUTPUT = "missing-output"
    """An output rustc was asked for, or announced, is not there."""
    OUTPUT_CHANGED = "output-changed"
    """An output was changed by somebody else before it was stored."""

    # the cache's side
    STORE_UNAVAILABLE = "store-unavailable"
    """The store cannot be opened or read: see kache doctor."""
    STORE_WRITE_FAILED = "store-write-failed"
    """The outputs could not be stored: disk full or read-only, for example."""
    RESTORE_FAILED = "restore-failed"
    """Stored outputs could not be put in place; rustc compiled instead."""
    INTERNAL_ERROR = "internal-error"
    """kache failed in a way it does not know; the log has the traceback, and a report is welcome."""
