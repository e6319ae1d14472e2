"""Names of the objects of a remote (docs/decisions/0010). Pure.

v1/memos/ab/<locator>/<slot>    signed document, `documents.PathSet`
v1/entries/ab/<name>            signed document, `documents.EntryManifest`
v1/packs/ab/<digest>.tar.zst    the blobs of entries, `pack`
v1/builds/ab/<scope>/<age>-<id> signed document, `documents.BuildManifest`; age counts down, so the newest are first
v1/units/ab/<scope>/<age>-…     signed document, `unit_sets.UnitSetDocument`
"""

from __future__ import annotations

from typing import NamedTuple

from kache.core.digest import Digest, hash_parts

VERSION = "v1"
MAX_SLOTS = 8
PACK_SUFFIX = ".tar.zst"
_DIGEST_CHARS = 64
_LAST_S = 9_999_999_999
"""A second that builds count down from, in ten digits: some 250 years from now."""
_AGE_CHARS = 10


class Kind:
    """Directories of a remote, which are also the kinds a signature names."""

    MEMOS = "memos"
    ENTRIES = "entries"
    PACKS = "packs"
    BUILDS = "builds"
    """Their names are longer: `parse_build`."""
    UNITS = "units"
    """Those of `kache.remote.unit_sets`."""


KINDS = (Kind.MEMOS, Kind.ENTRIES, Kind.PACKS)


class ObjectName(NamedTuple):
    """What a name says: a kind, 32 bytes, and the slot of a memo."""

    kind: str
    digest: Digest
    slot: int = 0


class BuildName(NamedTuple):
    """What the name of a build manifest says: whose builds, when it began (s since the Unix epoch), which record."""

    scope: Digest
    at_s: int
    record: Digest


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


def build_scope(domain: str, workspace: Digest, namespace: str = "") -> Digest:
    """Where the manifests of a workspace's builds are."""
    return hash_parts([b"builds", domain.encode(), workspace, namespace.encode()])


def build_name(name: BuildName) -> str:
    """Name of a build manifest: in a listing the newest come first."""
    age = _LAST_S - min(max(name.at_s, 0), _LAST_S)
    return f"{builds_of(name.scope)}{age:0{_AGE_CHARS}}-{name.record.hex()}"


def build_subject(name: BuildName) -> Digest:
    """What the signature of a build manifest is for: all that its name says."""
    return hash_parts([b"build", name.scope, str(name.at_s).encode(), name.record])


def builds_of(scope: Digest) -> str:
    """What all names of a scope start with."""
    return f"{_below(Kind.BUILDS, scope)}/"


def parse_build(name: str) -> BuildName | None:
    """Read the name of a build manifest back; None if it is none of ours."""
    parts = name.split("/")
    if len(parts) != 5 or parts[:2] != [VERSION, Kind.BUILDS] or not _is_digest(parts[3]) or parts[3][:2] != parts[2]:
        return None
    age, hyphen, record = parts[4].partition("-")
    if not hyphen or not _is_digest(record) or len(age) != _AGE_CHARS or age.strip("0123456789"):
        return None
    return BuildName(bytes.fromhex(parts[3]), _LAST_S - int(age), bytes.fromhex(record))


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
    if not _is_digest(rest) or rest[:2] != fan:
        return None
    return ObjectName(kind, bytes.fromhex(rest), slot)


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST_CHARS and not text.strip("0123456789abcdef")


def _below(kind: str, digest: Digest) -> str:
    name = digest.hex()
    return f"{VERSION}/{kind}/{name[:2]}/{name}"
