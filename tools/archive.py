"""`make dist`: what a release consists of, for this machine's system and processor, in dist/.

| file | for |
| --- | --- |
| kache-VERSION-….whl | pip, pipx, uv |
| kache-VERSION.tar.gz | the same, where no wheel fits: built with the user's Rust toolchain |
| kache-VERSION-TRIPLE.tar.gz | mise, cargo binstall: one program, launcher and package in one |
| each of them .sha256 | |

The program in the archive is the launcher with the wheel inside (native/launcher/src/payload.rs), so that installers
that put one program somewhere and nothing beside it do.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = ROOT / "native" / "launcher"
# Made twice of the same sources an archive is the same: the epoch of reproducible builds, or the day that zip begins.
EPOCH_S = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))
BESIDE = ("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE")


class ArchiveError(Exception):
    """What could not be made; printed as three lines."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"error[no-archive]: {what}\nwhy: {why}\nfix: {fix}")


def version() -> str:
    """The one version: of native/launcher/Cargo.toml; the package's own is compared by tests/house/test_versions.py."""
    return str(tomllib.loads((LAUNCHER / "Cargo.toml").read_text())["package"]["version"])


def triple() -> str:
    """What rustc compiles for by default: names the archive."""
    told = _run(["rustc", "-vV"], "rustc does not run").splitlines()
    return next(line.removeprefix("host: ") for line in told if line.startswith("host: "))


def wheel(out: Path, target: Path) -> Path:
    """Build the wheel into a directory; cargo's output is kept in another."""
    _maturin(["build", "--release", "--out", str(out)], target)
    return _newest(out, "*.whl")


def source_archive(out: Path, target: Path) -> Path:
    """Build the source archive into a directory."""
    _maturin(["sdist", "--out", str(out)], target)
    return _newest(out, f"kache-{version()}.tar.gz")


def release_archive(carried: Path, out: Path, target: Path) -> Path:
    """Build the launcher that carries a wheel, and pack it with the licences below one directory.

    Args:
        carried: the wheel.
        out: where the archive goes.
        target: cargo's output, apart from that of launchers without a payload.
    """
    argv = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(LAUNCHER / "Cargo.toml")]
    more = {"KACHE_PAYLOAD": str(carried.resolve()), "CARGO_TARGET_DIR": str(target), "RUSTC_WRAPPER": ""}
    _run(argv, "the launcher does not build", more)
    name = f"kache-{version()}-{triple()}"
    made = out / f"{name}.tar.gz"
    with (
        made.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=EPOCH_S) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        _add(archive, target / "release" / "kache", f"{name}/kache", 0o755)
        for each in BESIDE:
            _add(archive, ROOT / each, f"{name}/{each}", 0o644)
    return made


def checksum(path: Path) -> Path:
    """Write the digest beside a file, as sha256sum -c reads it."""
    made = path.with_name(f"{path.name}.sha256")
    made.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return made


def _add(archive: tarfile.TarFile, path: Path, name: str, mode: int) -> None:
    facts = tarfile.TarInfo(name)
    facts.size, facts.mode, facts.mtime = path.stat().st_size, mode, EPOCH_S
    with path.open("rb") as content:
        archive.addfile(facts, content)


def _maturin(words: list[str], target: Path) -> None:
    program = shutil.which("maturin", path=str(Path(sys.executable).parent)) or "maturin"
    # Nothing of the launcher's own target: maturin moves the program away from where cargo put it.
    _run([program, *words], "maturin fails", {"CARGO_TARGET_DIR": str(target), "RUSTC_WRAPPER": ""})


def _run(argv: list[str], what: str, more: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=os.environ | (more or {}), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ArchiveError(what, str(error), "run make setup, and see that cargo is on PATH") from error
    if done.returncode:
        raise ArchiveError(what, done.stderr.strip()[-2000:], "mend what it says")
    return done.stdout


def _newest(directory: Path, pattern: str) -> Path:
    return max(directory.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def main() -> int:
    """Make all of it."""
    parser = argparse.ArgumentParser(prog="make dist", description="Build what a release consists of.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where it goes (default: dist)")
    parser.add_argument("--no-sdist", action="store_true", help="leave the source archive out: one machine makes it")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    build = ROOT / "build"
    try:
        carried = wheel(out, build / "wheel")
        made = [carried, release_archive(carried, out, build / "archive")]
        if not options.no_sdist:
            made.append(source_archive(out, build / "wheel"))
        for path in made:
            checksum(path)
            print(f"dist: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    except ArchiveError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
