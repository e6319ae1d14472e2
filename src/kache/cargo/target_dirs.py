"""cargo's target directories: find them, measure them, see whether one is in use or has lost its sources."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TAG = b"Signature: 8a477f597d28d172789f06886806bc55"
_RUSTC_INFO = ".rustc_info.json"
_LOCK = ".cargo-lock"
_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__"})
_MAX_DEP_FILES = 50


@dataclass(frozen=True, slots=True)
class TargetDir:
    """One target directory.

    Attributes:
        path: absolute.
        allocated_bytes: of all its files (st_blocks * 512), each inode once.
        shared_bytes: of those whose inode has a name outside too, in the store or another target dir: deleting them
            here frees nothing.
        restorable_bytes: of what the store could put back.
        changed_ns: newest modification of any file in it, ns since the Unix epoch.
        is_orphan: every source its outputs were made of is gone.
        profiles: names below it that hold artifacts: `debug`, `x86_64-unknown-linux-musl/release`.
        rustc: version cargo last built it with; empty if it does not say.
    """

    path: Path
    allocated_bytes: int
    shared_bytes: int
    restorable_bytes: int
    changed_ns: int
    is_orphan: bool
    profiles: tuple[str, ...]
    rustc: str

    @property
    def own_bytes(self) -> int:
        """What deleting it frees."""
        return self.allocated_bytes - self.shared_bytes


def find(root: Path) -> Iterator[Path]:
    """The target directories at or below a directory; links are not followed, other filesystems not entered."""
    try:
        device = root.stat().st_dev
    except OSError:
        return
    waiting = [str(root)]
    while waiting:
        directory = waiting.pop()
        if is_target_dir(Path(directory)):
            yield Path(directory)
            continue
        try:
            with os.scandir(directory) as found:
                below = sorted(
                    (item.path for item in found if item.is_dir(follow_symlinks=False) and item.name not in _SKIPPED),
                    reverse=True,
                )
            waiting += [path for path in below if os.lstat(path).st_dev == device]
        except OSError:
            continue  # not ours to read


def is_target_dir(path: Path) -> bool:
    """Whether cargo made it: its tag of a cache and its note about rustc, or a profile with fingerprints."""
    if (path / _RUSTC_INFO).is_file():
        return True
    try:
        with (path / "CACHEDIR.TAG").open("rb") as file:
            text = file.read(400)
    except OSError:
        return False
    return text.startswith(_TAG) and b"cargo" in text


def measure(path: Path, restorable: Container[tuple[str, int]]) -> TargetDir:
    """Look at every file once.

    Args:
        path: of a target dir.
        restorable: (name, size) of what the store holds.
    """
    inodes: dict[tuple[int, int], list[int]] = {}  # names seen, links in all, allocated bytes
    found: set[tuple[int, int]] = set()  # those the store holds under any of their names: a program has two
    restorable_bytes = changed_ns = 0
    profiles = []
    for directory, names, files in os.walk(path):
        if ".fingerprint" in names:
            profiles.append(os.path.relpath(directory, path))
        for name in files:
            try:
                facts = os.lstat(os.path.join(directory, name))
            except OSError:
                continue  # a build at work
            changed_ns = max(changed_ns, facts.st_mtime_ns)
            if not stat.S_ISREG(facts.st_mode):
                continue
            seen = inodes.setdefault((facts.st_dev, facts.st_ino), [0, facts.st_nlink, facts.st_blocks * 512])
            seen[0] += 1
            if (facts.st_dev, facts.st_ino) not in found and (name, facts.st_size) in restorable:
                found.add((facts.st_dev, facts.st_ino))
                restorable_bytes += seen[2]
    return TargetDir(
        path=path,
        allocated_bytes=sum(allocated for _, _, allocated in inodes.values()),
        shared_bytes=sum(allocated for names, links, allocated in inodes.values() if links > names),
        restorable_bytes=restorable_bytes,
        changed_ns=changed_ns,
        is_orphan=_is_orphan(path, profiles),
        profiles=tuple(sorted(profiles)),
        rustc=_rustc(path),
    )


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Hold the locks of every profile, as a cargo that builds there would; False if a cargo holds one."""
    with contextlib.ExitStack() as stack:
        for directory, names, files in os.walk(path):
            if _LOCK not in files:
                continue
            names.clear()
            try:
                fd = os.open(os.path.join(directory, _LOCK), os.O_RDWR | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
        yield True


def remove(path: Path) -> None:
    """Delete a target dir; it is gone under its name at once, so that no cargo meets half of it.

    Raises:
        OSError: it cannot be moved aside or emptied.
    """
    aside = path.with_name(f".{path.name}.kache-clean-{os.getpid()}")
    path.rename(aside)
    try:
        shutil.rmtree(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)  # a Ctrl-C: the name is gone already, so finish
        raise


def _is_orphan(path: Path, profiles: list[str]) -> bool:
    """By the dep-info files beside what cargo uplifts: they name the sources by absolute path."""
    seen = False
    own = tuple(
        f"{each}/" for each in (path, os.path.realpath(path))
    )  # what build scripts wrote goes with the directory
    for profile in profiles:
        files = [*(path / profile).glob("*.d"), *(path / profile / "deps").glob("*.d")][:_MAX_DEP_FILES]
        for file in files:
            for source in _sources(file):
                if source.startswith(own):
                    continue
                seen = True
                if os.path.exists(source):
                    return False
    return seen


def _sources(file: Path) -> list[str]:
    """Absolute sources of the workspace's own crates: those of registries outlive every checkout."""
    try:
        first = file.read_text(errors="surrogateescape").partition("\n")[0]
    except OSError:
        return []
    words = first.partition(": ")[2].replace("\\ ", "\0").split()
    paths = [word.replace("\0", " ") for word in words]
    return [path for path in paths if path.startswith("/") and "/registry/src/" not in path and "/git/" not in path]


def _rustc(path: Path) -> str:
    try:
        outputs = json.loads((path / _RUSTC_INFO).read_bytes())["outputs"].values()
        texts = [str(output.get("stdout", "")) for output in outputs]
    except (OSError, ValueError, KeyError, AttributeError):
        return ""
    return next((text.split("\n")[0] for text in texts if text.startswith("rustc ")), "")
