"""Answer `rustc -vV` and `rustc --print …` from memory.

cargo asks these before every build in a fresh target; starting rustc for them costs more than serving a small
workspace. An answer is kept by toolchain identity, words and environment, and only for a question that nothing on
stdin can change.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from kache.compilers.rustc.invocation import is_rustc_name
from kache.compilers.rustc.toolchain import Toolchain
from kache.core.digest import Digest, hash_parts
from kache.ipc.protocol import Done, Hit, Request

_REMEMBERED = 256
_ENV_PREFIXES = (b"RUST", b"LD_", b"DYLD_", b"CLIPPY", b"CARGO_ENCODED", b"SDKROOT", b"MACOSX_")


class Queries:
    """Answers known so far."""

    def __init__(self) -> None:
        self._answers: dict[Digest, Hit] = {}

    def answer(self, key: Digest) -> Hit | None:
        """What rustc said to this question."""
        return self._answers.get(key)

    def learn(self, key: Digest, done: Done) -> None:
        """Keep what rustc said, if it succeeded and did not warn."""
        if done.wait_status == 0 and not done.stderr:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = Hit(0, done.stdout, b"")


def question(request: Request, env: Mapping[bytes, bytes], toolchain: Toolchain) -> Digest | None:
    """Identify a query; None if its answer may depend on a file it names, or on what is on stdin."""
    if b"-" in request.argv and not _stdin_is_null(request.pid):
        return None
    if b"RUST_TARGET_PATH" in env or any(_names_file(word, request.cwd) for word in request.argv[1:]):
        return None
    steering = [name + b"=" + env[name] for name in sorted(env) if name.startswith(_ENV_PREFIXES)]
    return hash_parts([toolchain.identity, toolchain.sysroot, request.cwd, *request.argv, b"\0env", *steering])


def _names_file(word: bytes, cwd: bytes) -> bool:
    """A source, a response file, a target specification; of clippy-driver's words the compiler itself is none."""
    value = word.rpartition(b"=")[2]
    if word[:1] == b"@" or value.endswith((b".rs", b".json")):
        return True
    return os.path.isfile(os.path.join(cwd, value)) and not is_rustc_name(value)


def _stdin_is_null(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    except OSError:
        return False
