"""Names of the objects of a remote (docs/decisions/0010). Pure.

v1/memos/ab/<locator>/<slot>    signed document, `documents.PathSet`
v1/entries/ab/<name>            signed document, `documents.EntryManifest`
v1/packs/ab/<digest>.tar.zst    the blobs of one entry, `pack`
"""

from __future__ import annotations

from typing import NamedTuple

from kache.core.digest import Digest, hash_parts

VERSION = "v1"
MAX_SLOTS = 8
PACK_SUFFIX = ".tar.zst"
_DIGEST_CHARS = 64


class Kind:
    """Directories of a remote, which are also the kinds a signature names."""

    MEMOS = "memos"
    ENTRIES = "entries"
    PACKS = "packs"


KINDS = (Kind.MEMOS, Kind.ENTRIES, Kind.PACKS)


class ObjectName(NamedTuple):
    """What a name says: a kind, 32 bytes, and the slot of a memo."""

    kind: str
    digest: Digest
    slot: int = 0


def locator(domain: str, weak_key: Digest, source: Digest) -> Digest:
    """Where the memos of a weak key are, for one content of the crate's root source."""
    return hash_parts([b"memo", domain.encode(), weak_key, source])


def entry_subject(domain: str, key: Digest) -> Digest:
    """Under which name an entry is kept: domains do not get in each other's way."""
    return hash_parts([b"entry", domain.encode(), key])


def memo_name(place: Digest, slot: int) -> str:
    """Name of a memo."""
    return f"{_below(Kind.MEMOS, place)}/{slot}"


def entry_name(subject: Digest) -> str:
    """Name of an entry manifest."""
    return _below(Kind.ENTRIES, subject)


def pack_name(digest: Digest) -> str:
    """Name of a pack."""
    return _below(Kind.PACKS, digest) + PACK_SUFFIX


def directory(kind: str) -> str:
    """What all names of a kind start with."""
    return f"{VERSION}/{kind}/"


def parse(name: str) -> ObjectName | None:
    """Read a name back; None if it is none of ours."""
    parts = name.split("/")
    if len(parts) < 4 or parts[0] != VERSION or parts[1] not in KINDS:
        return None
    kind, fan, rest = parts[1], parts[2], parts[3]
    slot = 0
    if kind == Kind.MEMOS:
        if len(parts) != 5 or not parts[4].isdigit():
            return None
        slot = int(parts[4])
    elif len(parts) != 4:
        return None
    if kind == Kind.PACKS:
        if not rest.endswith(PACK_SUFFIX):
            return None
        rest = rest.removesuffix(PACK_SUFFIX)
    if len(rest) != _DIGEST_CHARS or rest[:2] != fan or rest.strip("0123456789abcdef"):
        return None
    return ObjectName(kind, bytes.fromhex(rest), slot)


def _below(kind: str, digest: Digest) -> str:
    name = digest.hex()
    return f"{VERSION}/{kind}/{name[:2]}/{name}"
