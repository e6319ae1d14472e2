"""A PostgreSQL of the machine, in a directory of its own, on a unix socket and a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIMIT_S = 120


def _program(name: str) -> str | None:
    """On PATH, or where Debian puts it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else shutil.which(name)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database; the server ends with the block."""
    initdb, server = _program("initdb"), _program("pg_ctl")
    if initdb is None or server is None:
        pytest.skip("needs PostgreSQL (initdb, pg_ctl)")
    with tempfile.TemporaryDirectory(prefix="kache-pg-") as text:
        directory = Path(text)
        data = directory / "data"
        as_user: list[str] = []
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(directory, "nobody")
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": text, "LC_ALL": "C"}

        def run(*words: str) -> None:
            log = directory / "commands.log"
            with log.open("ab") as out:
                done = subprocess.run(
                    [*as_user, *words], cwd="/", env=env, stdout=out, stderr=out, timeout=_LIMIT_S, check=False
                )
            assert done.returncode == 0, log.read_text()

        run(initdb, "-D", str(data), "-U", "planner", "--auth=trust", "--no-sync")
        options = f"-p {port} -k {text} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(server, "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            yield f"postgresql://planner@127.0.0.1:{port}/postgres"
        finally:
            run(server, "-D", str(data), "-w", "-m", "immediate", "stop")
