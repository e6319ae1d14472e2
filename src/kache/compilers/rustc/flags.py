"""Tables of rustc's options: what each one means to a cache.

Everything that is not named here is refused, so a flag of a future rustc is a passthrough and never a wrong hit.
Source: `rustc --help -v`, `-C help` and `-Z help` of 1.63 and 1.95.
"""

from __future__ import annotations

import enum
import re

from kache.core.outcome import Reason


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHORT = {
    "A": "allow",
    "C": "codegen",
    "D": "deny",
    "F": "forbid",
    "L": "L",
    "O": "O",
    "V": "version",
    "W": "warn",
    "Z": "Z",
    "g": "g",
    "h": "help",
    "l": "l",
    "o": "o",
    "v": "verbose",
}
"""Short option -> the name used here."""

VALUELESS = frozenset({"O", "g", "help", "test", "verbose", "version"})

SINGLE = _words("""
color crate-name diagnostic-width edition error-format explain o out-dir remap-path-scope sysroot target test
""")
"""rustc itself refuses these when given twice."""

MULTI = _words("""
allow cap-lints cfg check-cfg codegen crate-type deny emit extern forbid force-warn json print remap-path-prefix warn
""")

LONG = (SINGLE | MULTI | VALUELESS) - {"O", "g", "o"}

QUERIES = frozenset({"explain", "help", "print", "version"})

LINTS = frozenset({"allow", "cap-lints", "deny", "forbid", "force-warn", "warn"})

PRESENTATION = frozenset({"color", "diagnostic-width", "error-format", "json", "verbose"})
"""Options that change only how diagnostics look."""

CRATE_TYPES = frozenset({"bin", "lib", "rlib", "dylib", "cdylib", "staticlib", "proc-macro"})

EMIT_KINDS = frozenset({"dep-info", "metadata", "link"})

JSON_KINDS = _words("""
artifacts diagnostic-rendered-ansi diagnostic-short diagnostic-unicode future-incompat unused-externs
unused-externs-silent
""")
"""`timings` is missing: what it prints differs from run to run."""


SYSROOT_CRATES = frozenset({b"alloc", b"core", b"proc_macro", b"std", b"test"})
"""What --extern may name without a path: the toolchain's identity covers them."""


class Use(enum.Enum):
    """What to do with a -C or -Z option that is not refused."""

    KEY = enum.auto()
    """Its value belongs into the key as it is."""
    LOOK = enum.auto()
    """It only changes how diagnostics look."""
    SPECIAL = enum.auto()
    """options.py has a case of its own for it."""


_CODEGEN_KEY = _words("""
ar code-model codegen-units collapse-macro-debuginfo control-flow-guard debug-assertions debuginfo
default-linker-libraries dwarf-version embed-bitcode force-frame-pointers force-unwind-tables inline-threshold
jump-tables link-dead-code link-self-contained linker-features linker-flavor lto metadata no-prepopulate-passes
no-redzone no-stack-check no-vectorize-loops no-vectorize-slp opt-level overflow-checks panic prefer-dynamic
profile-generate relocation-model relro-level remark soft-float split-debuginfo strip symbol-mangling-version
target-feature unsafe-allow-abi-mismatch
""")
# profile-generate: its directory is baked in, and written when the program runs; the raw value is in the key.

_CODEGEN_SPECIAL = _words("""
dlltool extra-filename incremental instrument-coverage link-arg link-args linker linker-plugin-lto llvm-args passes
rpath target-cpu
""")

CODEGEN: dict[str, Use | Reason] = {
    **dict.fromkeys(_CODEGEN_KEY, Use.KEY),
    **dict.fromkeys(_CODEGEN_SPECIAL, Use.SPECIAL),
    "help": Reason.QUERY,
    "profile-use": Reason.PROFILE_GUIDED,
    "save-temps": Reason.EXTRA_OUTPUT,
}
"""-C options by their name with dashes; one that is missing is an unknown flag."""

_UNSTABLE_KEY = _words("""
allow-features always-encode-mir annotate-moves assume-incomplete-release binary-dep-depinfo box-noalias
branch-protection cf-protection check-cfg-all-expected checksum-hash-algorithm codegen-source-order contract-checks
crate-attr cross-crate-inline-threshold debug-info-for-profiling debug-info-type-line-numbers debug-macros
debuginfo-compression default-hidden-visibility default-visibility direct-access-external-data dual-proc-macros
dwarf-version dylib-lto ehcont-guard embed-metadata embed-source emit-stack-sizes emscripten-wasm-eh
enforce-type-length-limit export-executable-symbols extra-const-ub-checks fewer-names fixed-x18 flatten-format-args
fmt-debug force-unstable-if-unmarked function-return function-sections has-thread-local hint-mostly-unused
human-readable-cgu-names indirect-branch-cs-prefix inline-llvm inline-mir inline-mir-forwarder-threshold
inline-mir-hint-threshold inline-mir-preserve-debug inline-mir-threshold instrument-mcount instrument-xray
large-data-threshold layout-seed link-directives link-native-libraries lint-llvm-ir lint-mir location-detail
maximal-hir-to-mir-coverage merge-functions min-function-alignment mir-emit-retag mir-enable-passes mir-opt-level
mir-preserve-ub mir-strip-debuginfo move-size-limit mutable-noalias namespaced-crates next-solver
no-generate-arange-section no-implied-bounds-compat no-leak-check no-parallel-backend no-profiler-runtime
no-trait-vptr no-unique-section-names oom packed-bundled-libs panic-abort-tests panic-in-drop patchable-function-entry
plt polonius precise-enum-drop-elaboration proc-macro-backtrace profiler-runtime randomize-layout reg-struct-return
regparm relax-elf-relocations remap-path-scope retpoline retpoline-external-thunk sanitizer
sanitizer-cfi-canonical-jump-tables sanitizer-cfi-generalize-pointers sanitizer-cfi-normalize-integers
sanitizer-kcfi-arity sanitizer-memory-track-origins sanitizer-recover saturating-float-casts share-generics
small-data-threshold split-dwarf-inlining split-lto-unit src-hash-algorithm stack-protector
staticlib-allow-rdylib-deps staticlib-prefer-dynamic strict-init-checks thinlto threads tiny-const-eval-limit
tls-model trait-solver translate-remapped-path-to-local-path trap-unreachable ub-checks uninit-const-chunk-threshold
unsound-mir-opts unstable-options use-ctors-section use-sync-unwind validate-mir verbose-asm verify-llvm-ir
virtual-function-elimination wasi-exec-model wasm-c-abi write-long-types-to-disk
""")

_UNSTABLE_LOOK = _words("""
deduplicate-diagnostics macro-backtrace teach terminal-urls terminal-width track-diagnostics trim-diagnostic-paths
""")

_UNSTABLE_OUTPUTS = _words("""
dump-dep-graph dump-drop-tracking-cfg dump-mir dump-mir-dataflow dump-mir-dir dump-mir-graphviz dump-mono-stats
dump-solver-proof-tree llvm-time-trace metrics-dir nll-facts nll-facts-dir no-link profile profile-emit
query-dep-graph remark-dir save-analysis self-profile self-profile-counter self-profile-events split-dwarf-kind
split-dwarf-out-dir temps-dir
""")
# split-dwarf-kind=single leaves object files beside the output.

UNSTABLE: dict[str, Use | Reason] = {
    **dict.fromkeys(_UNSTABLE_KEY, Use.KEY),
    **dict.fromkeys(_UNSTABLE_LOOK, Use.LOOK),
    **dict.fromkeys(_UNSTABLE_OUTPUTS, Reason.EXTRA_OUTPUT),
    **dict.fromkeys(_words("coverage-options pre-link-arg pre-link-args remap-cwd-prefix tune-cpu"), Use.SPECIAL),
    "codegen-backend": Reason.CODEGEN_BACKEND,
    "help": Reason.QUERY,
    "profile-sample-use": Reason.PROFILE_GUIDED,
}
"""-Z options by their name with dashes: an allow list; one that is missing is an unstable flag we do not cache."""

FALSE_VALUES = frozenset({b"n", b"no", b"off", b"0", b"false"})
"""How rustc spells "no" for options that are on or off."""

HARMLESS_PASSES = frozenset({b"sancov-module", b"sancov"})
"""-C passes that read and write no file (coverage-guided fuzzing uses them)."""

# Values are numbers or booleans only, so that no value can name a file to read or write.
HARMLESS_LLVM_ARG = re.compile(rb"--?(?P<name>[A-Za-z][\w-]*)(=(\d+|true|false))?")

LLVM_ARG_WITH_FILES = re.compile(
    rb"cache|debug|dir|dot|dump|file|log|output|path|pgo|profile|record|save|stats|time|view"
)
