"""`python -m tests.support.store_worker ROOT SEED`: use a store without end; the test kills it."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from kache.core.entry import Event, Role
from kache.errors import BlobBrokenError, StoreError
from kache.store.local import RestoreHow
from tests.support.store import StoreBox, digest_of

NAMES = [f"crate{number}" for number in range(12)]


def content_of(name: str, role: Role, variant: int) -> bytes:
    """What a compile writes; variants are different compiles of one key."""
    return f"{name} {role} {variant} ".encode() * (500 + 40 * variant)


def main(root: Path, seed: int) -> None:
    """Work until killed."""
    chance = random.Random(seed)
    box = StoreBox(root, f"target-{os.getpid()}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        name = chance.choice(NAMES)
        action = chance.choices(["put", "restore", "gc", "purge", "events", "verify", "reopen"], [8, 8, 2, 1, 2, 1, 1])[
            0
        ]
        if action == "put":
            roles = chance.sample([Role.RLIB, Role.RMETA, Role.LINKED], chance.randint(1, 3))
            box.put(name, {role: content_of(name, role, chance.randrange(3)) for role in roles})
        elif action == "restore":
            _restore(box, name, chance)
        elif action == "gc":
            box.store.gc(chance.choice([0, 100_000, 10**9]))
        elif action == "purge":
            box.store.purge(name)
        elif action == "events":
            key = digest_of(f"key {name}")
            box.store.add_events([Event(at_ns=time.time_ns(), build="1-1", outcome="local_hit", entry_key=key)])
        elif action == "verify":
            box.store.verify_changed(0.02)
        else:
            box.reopen()


def _restore(box: StoreBox, name: str, chance: random.Random) -> None:
    entry = box.store.entry(digest_of(f"key {name}"))
    for artifact in entry.artifacts if entry else ():
        target = box.target / f"out-{chance.randrange(20)}"
        how = RestoreHow.SHARED if artifact.role is Role.RLIB else RestoreHow.PRIVATE
        try:
            box.store.restore(artifact, os.fsencode(target), mode=0o644, how=how)
        except BlobBrokenError:
            continue
        if digest_of(target.read_bytes()) != artifact.digest:
            raise StoreError(f"{name}: a wrong restore")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
