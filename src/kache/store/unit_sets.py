"""Rows of `unit_sets`: what profile directories held after builds, for warm start.

body = zlib(msgpack(UnitSet))        id = digest of workspace, profile and toolchain: the newest build's set stays
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

from kache.core.digest import hash_parts
from kache.core.unit import UnitSet

MAX_SETS = 64
OF_OTHERS = "SELECT body FROM unit_sets WHERE workspace <> ? AND toolchain = ? ORDER BY used_ns DESC LIMIT ?"
ONE = "SELECT body FROM unit_sets WHERE id = ?"

_log = logging.getLogger("kache")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UnitSet)


def name_of(workspace: bytes, profile: str, toolchain: bytes) -> bytes:
    """The `id` of a set."""
    return hash_parts([workspace, profile.encode(), toolchain])


def save(connection: sqlite3.Connection, unit_set: UnitSet, now_ns: int) -> None:
    """Insert or replace a set; the longest unused beyond 64 go."""
    name = name_of(unit_set.workspace, unit_set.profile, unit_set.toolchain)
    body = zlib.compress(_encoder.encode(unit_set), 1)
    connection.execute(
        "INSERT OR REPLACE INTO unit_sets(id, workspace, toolchain, used_ns, body) VALUES (?, ?, ?, ?, ?)",
        (name, unit_set.workspace, unit_set.toolchain, now_ns, body),
    )
    connection.execute(
        "DELETE FROM unit_sets WHERE id NOT IN (SELECT id FROM unit_sets ORDER BY used_ns DESC LIMIT ?)", (MAX_SETS,)
    )


def decode(rows: Iterable[tuple[Any, ...]]) -> list[UnitSet]:
    """Sets of rows of `ONE` or `OF_OTHERS`; one that cannot be read is left out."""
    sets = []
    for (body,) in rows:
        try:
            sets.append(_decoder.decode(zlib.decompress(body)))
        except (msgspec.MsgspecError, zlib.error) as error:
            _log.warning("a unit set cannot be read: %s", error)
    return sets
