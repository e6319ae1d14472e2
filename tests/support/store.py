"""A store in a scratch directory, and compiles made up for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kache.core.digest import hash_bytes
from kache.core.entry import Artifact, Entry, InputKind, InputMemo, MemoInput, Role
from kache.store.local import LocalStore, Staged

_SHARED = frozenset({Role.RLIB, Role.RMETA})


def digest_of(text: str | bytes) -> bytes:
    """A key or digest that is easy to tell apart."""
    return hash_bytes(text.encode() if isinstance(text, str) else text)


@dataclass
class StoreBox:
    """A cache dir and a target dir on one filesystem.

    Attributes:
        root: holds both.
        target_name: of the target dir: processes that share a store have one each, as cargo's lock sees to.
        store: open on the cache dir.
    """

    root: Path
    target_name: str = "target"
    store: LocalStore = field(init=False)

    def __post_init__(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        self.store = LocalStore.open(self.cache_dir)

    @property
    def cache_dir(self) -> Path:
        return self.root / "cache"

    @property
    def target(self) -> Path:
        return self.root / self.target_name

    def reopen(self) -> LocalStore:
        """Close and open, as a restarted daemon does."""
        self.store.close()
        self.store = LocalStore.open(self.cache_dir)
        return self.store

    def output(self, name: str, content: bytes, mode: int = 0o644) -> bytes:
        """A file a compiler wrote: always a new inode."""
        path = self.target / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return os.fsencode(path)

    def put(self, name: str, contents: dict[Role, bytes] | None = None, *, compile_ms: int = 1000) -> Entry:
        """Record a compile of a crate with one artifact for each role."""
        contents = contents if contents is not None else {Role.RLIB: f"rlib of {name}".encode() * 100}
        artifacts: list[Artifact] = []
        staged: list[Staged] = []
        for role, content in contents.items():
            path = self.output(f"lib{name}.{role}", content, 0o755 if role is Role.LINKED else 0o644)
            taken = self.store.stage(path, share=role in _SHARED)
            staged.append(taken)
            executable = bool(taken.mode & 0o100)
            artifacts.append(Artifact(f"lib{name}.{role}", role, taken.digest, taken.size, executable))
        entry = entry_of(name, tuple(artifacts), compile_ms=compile_ms)
        self.store.commit(entry, memo_of(entry), staged)
        return entry

    def blob(self, digest: bytes) -> Path:
        """Where a blob is."""
        return self.cache_dir / "store" / "blobs" / digest.hex()[:2] / digest.hex()

    def blobs_on_disk(self) -> set[bytes]:
        """Digests of the blob files there are."""
        return {bytes.fromhex(path.name) for path in (self.cache_dir / "store" / "blobs").glob("*/*")}

    def temps(self) -> list[str]:
        """Temporary files of the store and of the target."""
        inside = [path.name for path in (self.cache_dir / "store" / "tmp").iterdir()]
        return inside + [path.name for path in self.target.iterdir() if path.name.startswith(".kache")]


def entry_of(name: str, artifacts: tuple[Artifact, ...], *, compile_ms: int = 1000) -> Entry:
    """An entry under keys made of the name."""
    return Entry(
        key=digest_of(f"key {name}"),
        weak_key=digest_of(f"weak {name}"),
        crate_name=name,
        unit_kind="lib",
        compile_ms=compile_ms,
        artifacts=artifacts,
        dep_info_name=f"{name}.d",
        dep_info=b"<target>/lib%b.rlib: <workspace>/src/lib.rs\n" % name.encode(),
        stdout=b"",
        stderr=b"warning: unused\n",
        links=(f"lib{name}-0123",),
    )


def memo_of(entry: Entry, *files: str) -> InputMemo:
    """A memo that leads to an entry."""
    inputs = [
        MemoInput(InputKind.FILE, name.encode(), digest_of(name)) for name in files or ("<workspace>/src/lib.rs",)
    ]
    return InputMemo(
        entry.weak_key, entry.key, (*inputs, MemoInput(InputKind.ENV, b"CARGO_PKG_NAME", b"\x01" + b"v" * 32))
    )
