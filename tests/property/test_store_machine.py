"""Any order of recording, serving, damage, eviction, restarts, crashes: no wrong restore, no lost entry."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kache.core.entry import Role
from kache.errors import BlobBrokenError
from kache.store.local import LocalStore, RestoreHow
from tests.support.store import StoreBox, digest_of

NAMES = st.sampled_from(["a", "b", "c"])
ROLES = st.sampled_from([Role.RLIB, Role.RMETA, Role.LINKED])
CONTENTS = st.sampled_from([b"one", b"two", b"three"])
"""Repeated when used: a failing example stays readable."""
DAMAGE = st.sampled_from(["flip", "flip keeping date", "truncate", "delete", "replace"])


class StoreMachine(RuleBasedStateMachine):
    """The model: what was recorded under each name, and which blobs somebody has damaged since."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="kache-machine-"))
        self.recorded: dict[str, dict[Role, bytes]] = {}
        self.damaged: set[bytes] = set()
        self.count = 0

    @initialize()
    def open(self) -> None:
        self.box = StoreBox(self.root)

    @rule(name=NAMES, contents=st.dictionaries(ROLES, CONTENTS, min_size=1))
    def put(self, name: str, contents: dict[Role, bytes]) -> None:
        contents = {role: content * 2000 for role, content in contents.items()}
        self.box.put(name, contents)
        self.recorded[name] = contents
        # A damaged blob of the same content was found out and replaced.
        self.damaged -= {digest_of(content) for content in contents.values()}

    @rule(name=NAMES, how=st.sampled_from(list(RestoreHow)), same_target=st.booleans())
    def serve(self, name: str, how: RestoreHow, same_target: bool) -> None:
        entry = self.box.store.entry(digest_of(f"key {name}"))
        expected = self.recorded.get(name)
        if entry is None:
            assert expected is None or self.is_damaged(expected)
            self.recorded.pop(name, None)
            return
        assert expected is not None
        self.count += not same_target
        for artifact in entry.artifacts:
            target = self.root / "target" / f"out-{self.count}-{artifact.role}"
            try:
                self.box.store.restore(artifact, os.fsencode(target), mode=0o644, how=how)
            except BlobBrokenError:
                assert artifact.digest in self.damaged
                self.drop(artifact.digest)
                assert self.box.store.entry(entry.key) is None
                return
            assert target.read_bytes() == expected[artifact.role]
            assert artifact.digest not in self.damaged

    def is_damaged(self, contents: dict[Role, bytes]) -> bool:
        return any(digest_of(content) in self.damaged for content in contents.values())

    def drop(self, digest: bytes) -> None:
        for name, contents in list(self.recorded.items()):
            if digest in map(digest_of, contents.values()):
                del self.recorded[name]
        self.damaged.discard(digest)

    @rule(content=CONTENTS, how=DAMAGE)
    def damage(self, content: bytes, how: str) -> None:
        content *= 2000
        blob = self.box.blob(digest_of(content))
        if not blob.exists() or digest_of(content) in self.damaged:
            return
        time.sleep(0.01)  # a tick of the kernel's clock
        found = blob.stat()
        if how == "delete":
            blob.unlink()
        elif how == "truncate":
            blob.chmod(0o644)
            os.truncate(blob, found.st_size // 2)
        elif how == "replace":
            blob.unlink()
            blob.write_bytes(b"x" * found.st_size)
        else:
            blob.chmod(0o644)
            blob.write_bytes(content[:-1] + b"!")
            if how == "flip keeping date":
                os.utime(blob, ns=(found.st_atime_ns, found.st_mtime_ns))
        self.damaged.add(digest_of(content))

    @rule()
    def remove_targets(self) -> None:
        shutil.rmtree(self.root / "target")
        (self.root / "target").mkdir()

    @rule(limit=st.sampled_from([0, 20_000, 10**9]))
    def evict(self, limit: int) -> None:
        self.box.store.gc(limit)
        for name in list(self.recorded):
            if self.box.store.entry(digest_of(f"key {name}")) is None:
                assert limit < 10**9 or self.is_damaged(self.recorded[name])
                del self.recorded[name]
        self.damaged &= {digest_of(content) for held in self.recorded.values() for content in held.values()}

    @rule(name=NAMES)
    def purge(self, name: str) -> None:
        self.box.store.purge(name)
        self.recorded.pop(name, None)
        self.damaged &= {digest_of(content) for held in self.recorded.values() for content in held.values()}

    @rule()
    def idle(self) -> None:
        self.box.store._verifier._rest_until = 0
        self.box.store.verify_changed(5)
        for digest in list(self.damaged):
            self.drop(digest)

    @rule()
    def reopen(self) -> None:
        self.box.reopen()

    @rule()
    def crash(self) -> None:
        self.box.store._index.close()  # what memory was ahead with is lost
        self.box.store = LocalStore.open(self.box.cache_dir)

    @rule(name=NAMES, contents=st.dictionaries(ROLES, CONTENTS, min_size=1))
    def another_process_puts(self, name: str, contents: dict[Role, bytes]) -> None:
        ours, self.box.store = self.box.store, LocalStore.open(self.box.cache_dir)
        self.put(name, contents)
        self.box.store.close()
        self.box.store = ours
        assert ours.refresh()

    @invariant()
    def nothing_temporary_stays(self) -> None:
        assert self.box.temps() == []

    def teardown(self) -> None:
        if hasattr(self, "box"):
            self.box.store.close()
        shutil.rmtree(self.root)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
