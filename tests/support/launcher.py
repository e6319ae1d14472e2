"""The real launcher, built once, and an engine that follows a script: what a test says, in frames."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from kache.ipc.protocol import HEADER_SIZE, Done, Frame, Request, Run, decode, parse_header

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60


@cache
def built_launcher() -> Path:
    """Build the launcher below `build/`; workers of one test run take turns, and all but the first find it done."""
    target = ROOT / "build" / "launcher"
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".test-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        manifest = ROOT / "native" / "launcher" / "Cargo.toml"
        subprocess.run(
            ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest],
            env={**os.environ, "CARGO_TARGET_DIR": str(target)},
            check=True,
        )
    return target / "release" / "kache"


def run_of(*argv: str | bytes, **fields: Any) -> Run:
    """A RUN with nothing but a program, and what is given by name."""
    empty: dict[str, Any] = {"env_set": [], "env_unset": [], "replacements": [], "unlink": []}
    return Run(**{"token": 1, "flags": 0, "argv": [os.fsencode(word) for word in argv], **empty, **fields})


def prepared(prepare: str, *argv: str | bytes | Path) -> list[str | bytes | Path]:
    """A command line that runs some Python and then becomes `argv`."""
    if not prepare:
        return [*argv]
    return [sys.executable, "-I", "-c", f"import os, sys\n{prepare}\nos.execv(sys.argv[1], sys.argv[1:])", *argv]


class Conversation:
    """One connection of a launcher, seen from the engine."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(TIMEOUT_S)

    def send(self, frame: Frame | bytes) -> None:
        """Send a frame, or bytes that may be none."""
        self.connection.sendall(frame if isinstance(frame, bytes) else frame.encode())

    def receive(self) -> Frame | None:
        """The next frame; None when the launcher closed."""
        header = self._exactly(HEADER_SIZE)
        if not header:
            return None
        kind, length = parse_header(header)
        return decode(kind, self._exactly(length))

    def request(self) -> Request:
        """The first frame."""
        frame = self.receive()
        assert isinstance(frame, Request)
        return frame

    def run(self, run: Run) -> Done:
        """Take the request, have the launcher run this and give its report."""
        self.request()
        self.send(run)
        done = self.receive()
        assert isinstance(done, Done)
        return done

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(min(count - len(data), 1 << 20))
            if not part:
                assert not data, "the launcher closed in the middle of a frame"
                return b""
            data += part
        return data


Script = Callable[[Conversation], Any]


class ScriptedEngine:
    """Listens where the launcher looks for a daemon and plays one script per connection.

    What the scripts return is in `results`; what they raise is raised when the context ends.
    """

    def __init__(self, place: Path, *scripts: Script) -> None:
        self.results: list[Any] = []
        self._failures: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen(8)
        self._listener.settimeout(TIMEOUT_S)
        self._thread = threading.Thread(target=self._serve, args=(scripts,))

    def __enter__(self) -> ScriptedEngine:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        if error is None and self._failures:
            raise self._failures[0]

    def _serve(self, scripts: tuple[Script, ...]) -> None:
        try:
            for script in scripts:
                connection, _ = self._listener.accept()
                with connection:
                    self.results.append(script(Conversation(connection)))
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._failures.append(error)


@dataclass
class LauncherBox:
    """A copy of the launcher in a directory of its own, with a short path for sockets.

    Attributes:
        root: scratch directory of the test.
        env: environment the launcher runs in; no Python is found unless `install_python` was called.
    """

    root: Path
    short: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="kl-")))

    def __post_init__(self) -> None:
        self.bin = self.root / "bin"
        self.bin.mkdir()
        self.kache = self.bin / "kache"
        shutil.copy(built_launcher(), self.kache)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KACHE_", "PYTHON"))}
        self.env = {**kept, "KACHE_CACHE_DIR": str(self.short / "cache"), "KACHE_SOCKET_PATH": str(self.socket)}

    @property
    def socket(self) -> Path:
        """Where the launcher looks for a daemon."""
        return self.short / "socket"

    def engine(self, *scripts: Script) -> ScriptedEngine:
        """An engine in the daemon's place."""
        return ScriptedEngine(self.socket, *scripts)

    def install_python(self, shell: str) -> Path:
        """Put a `kache-python` beside the launcher whose interpreter is this shell script."""
        interpreter = self.root / "python"
        interpreter.write_text(f"#!/bin/sh\n{shell}\n")
        interpreter.chmod(0o755)
        (self.bin / "kache-python").write_text(f"#!{interpreter}\n")
        return interpreter

    def start(self, *argv: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
        """Start the launcher; its stdout and stderr are pipes unless told otherwise.

        `prepare` is Python that runs first in the new process (a fork of this one, with its threads, must not).
        """
        env = {**self.env, **options.pop("env", {})}
        command = prepared(options.pop("prepare", ""), self.kache, *argv)
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=env, **{**streams, "cwd": self.root, **options})

    def run(self, *argv: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run the launcher to its end."""
        data = options.pop("input", None)
        if data is not None:
            options["stdin"] = subprocess.PIPE
        with self.start(*argv, **options) as process:
            out, err = process.communicate(data, timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def close(self) -> None:
        """Remove what lies outside the test's own directory."""
        shutil.rmtree(self.short, ignore_errors=True)
