"""Packages of a Cargo.lock, each by an id that changes with anything the lockfile says of it."""

from __future__ import annotations

import os
from typing import NamedTuple

from kache.core.digest import Digest, hash_bytes, hash_parts
from kache.core.usage import ORIGIN_BYTES

MAX_BYTES = 16 << 20


class LockPackages(NamedTuple):
    """What a lockfile says.

    Attributes:
        digest: of the file; empty where there is none that can be read.
        ids: (name, version) to the ids of packages that come from elsewhere; two sources may have one such pair.
        versions: name to the versions of all packages.
        needs: (name, version) to the dependencies of a package, as the file writes them.
        members: (name, version) of packages without a source.
    """

    digest: Digest
    ids: dict[tuple[str, str], bytes]
    versions: dict[str, list[str]]
    needs: dict[tuple[str, str], list[str]]
    members: list[tuple[str, str]]


def read(root: bytes) -> LockPackages:
    """Read the lockfile of a workspace."""
    try:
        with open(os.path.join(root, b"Cargo.lock"), "rb") as file:
            data = file.read(MAX_BYTES)
    except OSError:
        return LockPackages(b"", {}, {}, {}, [])
    import tomllib

    try:
        packages = tomllib.loads(data.decode()).get("package", [])
    except (ValueError, RecursionError):
        packages = []
    ids: dict[tuple[str, str], bytes] = {}
    versions: dict[str, list[str]] = {}
    needs: dict[tuple[str, str], list[str]] = {}
    members: list[tuple[str, str]] = []
    for package in packages if isinstance(packages, list) else []:
        if not isinstance(package, dict):
            continue
        name, version = str(package.get("name", "")), str(package.get("version", ""))
        versions.setdefault(name, []).append(version)
        listed = package.get("dependencies", [])
        needs[name, version] = [str(each) for each in listed] if isinstance(listed, list) else []
        if not package.get("source"):
            members.append((name, version))
        else:
            fields = tuple(str(package.get(name, "")) for name in ("name", "version", "source", "checksum"))
            ids[fields[0], fields[1]] = package_id(*fields)
    return LockPackages(hash_bytes(data), ids, versions, needs, members)


def package_id(name: str, version: str, source: str, checksum: str) -> bytes:
    """Id of a row."""
    return hash_parts([b"package", *(field.encode() for field in (name, version, source, checksum))])[:ORIGIN_BYTES]
