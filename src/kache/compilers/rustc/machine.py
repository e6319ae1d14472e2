"""Facts of this machine that code can depend on."""

from __future__ import annotations

from functools import lru_cache

from kache.core.digest import Digest, hash_bytes

_FIELDS = (b"vendor_id", b"cpu family", b"model", b"model name", b"stepping", b"flags", b"Features", b"CPU part")


@lru_cache(maxsize=1)
def cpu_identity() -> Digest:
    """What `-C target-cpu=native` means here: model and features of the first processor, or the machine's name."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            first = file.read().split(b"\n\n", 1)[0]
    except OSError:
        import platform

        return hash_bytes(platform.platform().encode() + platform.node().encode())
    lines = [line for line in first.splitlines() if line.split(b":", 1)[0].strip() in _FIELDS]
    return hash_bytes(b"\n".join(lines))
