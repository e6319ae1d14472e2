"""Which variables count as inputs, by who read them.

rustc, cc and ld read the terminal's, the locale's, the jobserver's and their own logging variables in every compile;
none of these changes an output, and their raw values would end sharing between users and CI. What a macro reads counts,
whatever it is called.
"""

from __future__ import annotations

from collections.abc import Mapping

from kache.compilers.rustc.roots import Roots
from kache.core.digest import Digest, hash_parts

_TERMINAL = frozenset(
    b"TERM COLORTERM COLUMNS LINES NO_COLOR CLICOLOR CLICOLOR_FORCE TERM_PROGRAM TERM_URLS GCC_COLORS GCC_URLS".split()
)
_PLACES = frozenset(b"PATH TMPDIR TMP TEMP PWD HOME".split())
"""Where programs are found is keyed by the programs found."""
_JOBS = frozenset(b"CI MAKEFLAGS CARGO_MAKEFLAGS MFLAGS MAKELEVEL NUM_JOBS RUST_MIN_STACK GOMAXPROCS".split())
_LOGGING = frozenset(
    b"RUST_BACKTRACE RUST_LIB_BACKTRACE RUST_LOG RUSTC_CTFE_BACKTRACE RUSTC_GRAPHVIZ_FONT MALLOC_CONF".split()
)
_OF_TOOLS = frozenset(
    b"COLLECT_GCC COLLECT_GCC_OPTIONS COLLECT_LTO_WRAPPER GCC_EXTRA_DIAGNOSTIC_OUTPUT GCC_COMPARE_DEBUG".split()
)
"""Set by gcc for its own children."""
_QUIET = _TERMINAL | _PLACES | _JOBS | _LOGGING | _OF_TOOLS
_QUIET_PREFIXES = (b"LC_", b"LANG", b"RUSTC_LOG", b"_RJEM_")

# For a program that takes its environment whole: what differs from shell to shell, and what cargo and kache set for
# themselves. Everything else counts.
_PASSING = (
    _QUIET - frozenset((b"PATH", b"HOME"))
    | frozenset(b"OLDPWD SHLVL _ SHELL LOGNAME USER USERNAME MAIL PAGER EDITOR VISUAL LS_COLORS HISTFILE".split())
    | frozenset(b"DISPLAY WAYLAND_DISPLAY WINDOWID TMUX TMUX_PANE STY DBUS_SESSION_BUS_ADDRESS INVOCATION_ID".split())
    | frozenset(b"RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER RUSTUP_TOOLCHAIN_SOURCE RUST_RECURSION_COUNT".split())
)
_PASSING_PREFIXES = (*_QUIET_PREFIXES, b"KACHE_", b"SSH_", b"XDG_SESSION", b"LESS", b"GPG_", b"TERM_", b"GITHUB_")
_HASHED = (b"CARGO_PKG_NAME", b"CARGO_PKG_VERSION")
"""How names begin of what is in cargo's package id."""


def is_quiet(name: bytes) -> bool:
    """Whether a variable says nothing about the output when rustc, cc or ld read it."""
    return name in _QUIET or name.startswith(_QUIET_PREFIXES)


def is_unhashed(name: bytes) -> bool:
    """Whether cargo takes a variable from the manifest and has it in no hash: it never hears what macros make of it."""
    return name == b"CARGO_MANIFEST_LINKS" or (name.startswith(b"CARGO_PKG_") and not name.startswith(_HASHED))


def kept_of_whole(env: Mapping[bytes, bytes]) -> list[bytes]:
    """Names, sorted, that count for what walks through the environment."""
    return [name for name in sorted(env) if name not in _PASSING and not name.startswith(_PASSING_PREFIXES)]


def whole_digest(env: Mapping[bytes, bytes], roots: Roots) -> Digest:
    """Digest of those and their values."""
    return hash_parts(part for name in kept_of_whole(env) for part in (name, roots.normalise_value(env[name])))
