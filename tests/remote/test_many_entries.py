"""A remote with many entries: listed, brought and verified in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from kache.core.digest import hash_bytes
from kache.core.entry import Artifact, Entry, InputKind, MemoInput, Role
from kache.engine.record import cache_key
from kache.remote import documents, layout
from kache.remote.documents import EntryManifest, Member
from kache.remote.layout import Kind
from kache.remote.pack import write_pack
from kache.remote.trust import SecretKey
from tests.support.machines import Machines
from tests.support.sandbox import KACHE, Sandbox

EXTRA_KB = 64 * 1024
# 10,000 take a minute to make and to bring.
COUNT = 10_000 if os.environ.get("SLOW_TESTS") == "1" else 1_000

_PEAK = """import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def filled(root: Path, secret: SecretKey, count: int, scratch: Path) -> None:
    """Entries of a file and 40 inputs each, signed."""
    blob, pack = scratch / "blob", scratch / "pack"
    for number in range(count):
        content = os.urandom(4000) + b"%d" % number
        blob.write_bytes(content)
        member = Member(hash_bytes(content), len(content))
        fd = os.open(pack, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        packed = write_pack(fd, (member,), lambda _: os.open(blob, os.O_RDONLY))
        os.close(fd)
        weak = hash_bytes(b"weak %d" % number)
        inputs = tuple(
            MemoInput(InputKind.FILE, b"<workspace>/src/file%d.rs" % at, hash_bytes(b"%d %d" % (number, at)))
            for at in range(40)
        )
        key, name = cache_key(weak, inputs), f"crate{number}"
        artifact = Artifact(f"lib{name}-0123.rlib", Role.RLIB, member.digest, member.size, executable=False)
        entry = Entry(key, weak, name, "lib", 100, (artifact,), f"{name}-0123.d", b"x: y\n" * 40, b"", b"", ())
        manifest = EntryManifest(entry, inputs, (member,), packed.digest, packed.size, int(time.time()), "tests")
        subject = layout.entry_subject("", key)
        for place, data in (
            (layout.pack_name(packed.digest), pack.read_bytes()),
            (layout.entry_name(subject), secret.sign(Kind.ENTRIES, subject, documents.encode(manifest))),
        ):
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def peak_kb(box: Sandbox, *words: str) -> int:
    """Of a command that succeeds."""
    argv = [sys.executable, "-c", _PEAK, str(KACHE), *words]
    done = subprocess.run(argv, env=box.env(), capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_many_entries_are_listed_brought_and_verified_in_little_memory(machines: Machines, tmp_path: Path) -> None:
    """Guards small machines: memory that does not grow with what a bucket holds."""
    secret = SecretKey.generate()
    box = machines.make(KACHE_REMOTE_TRUSTED_KEYS=secret.public().text)
    alone_kb = peak_kb(box, "sync", "--pull")
    filled(Path(machines.remote.removeprefix("file://")), secret, COUNT, tmp_path)
    for words in (("remote", "verify", "--packs"), ("sync", "--pull", "--dry-run"), ("sync", "--pull")):
        assert peak_kb(box, *words) < alone_kb + EXTRA_KB, words
    assert box.data("sync", "--pull")["pull"]["skipped"] == COUNT
