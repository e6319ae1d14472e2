"""Servers as child processes: a free port, a scratch directory, ready when they answer, ended by their own pid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_LIMIT_S = 60


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory for a server."""
    directory = Path(tempfile.mkdtemp(prefix=f"kache-{name}-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running(argv: Sequence[str | Path], directory: Path, env: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A server until the context ends; gives the path of its log."""
    log = directory / f"{Path(argv[0]).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
        )
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_answers(url: str, log: Path) -> None:
    """Wait until a server answers with anything but a server error."""
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.05)
