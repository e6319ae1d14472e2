"""Rows of `memos` and `inputs`: the closures that lead from a weak key to entries.

A memo's inputs are kept in two lists, files and the rest, each once for all memos that have it: the same crate built
with other flags reads the same files. `layout` says how the two interleave; it is null when all files come first.

    inputs.body = zlib(msgpack([kinds, names, values]))      hash = first 16 bytes of its digest
    layout      = one letter an input: f(ile list) or r(est)
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kache.core.digest import hash_bytes
from kache.core.entry import InputKind, InputMemo, MemoInput

MAX_PER_WEAK_KEY = 16

Inputs = tuple[MemoInput, ...]
_log = logging.getLogger("kache")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, list[bytes], list[bytes]])
_KINDS = {kind.value: kind for kind in InputKind}
_FILES = frozenset({InputKind.FILE, InputKind.ABSENT, InputKind.DIRECTORY, InputKind.PRESENT})


def encode_inputs(inputs: Iterable[MemoInput]) -> bytes:
    """The body of a list of inputs."""
    listed = list(inputs)
    kinds = "".join(item.kind for item in listed)
    plain = _encoder.encode((kinds, [item.name for item in listed], [item.value for item in listed]))
    return zlib.compress(plain, 6)


def decode_inputs(body: bytes) -> Inputs:
    """The inputs of a body.

    Raises:
        ValueError: another version or an accident wrote it.
    """
    try:
        kinds, names, values = _decoder.decode(zlib.decompress(body))
        return tuple(MemoInput(_KINDS[k], n, v) for k, n, v in zip(kinds, names, values, strict=True))
    except (msgspec.MsgspecError, zlib.error, KeyError) as error:
        raise ValueError(f"inputs that cannot be read: {error}") from error


def save(connection: sqlite3.Connection, memo: InputMemo, now_ns: int) -> None:
    """Insert or replace a memo; the oldest beyond 16 of its weak key go, their entries are left to eviction."""
    files = [item for item in memo.inputs if item.kind in _FILES]
    rest = [item for item in memo.inputs if item.kind not in _FILES]
    layout = None
    if [*files, *rest] != list(memo.inputs):
        layout = "".join("f" if item.kind in _FILES else "r" for item in memo.inputs)
    connection.execute(
        "INSERT OR REPLACE INTO memos(weak_key, key, used_ns, files_id, rest_id, layout, notes_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(memo.weak_key, memo.key, now_ns, _inputs_id(connection, files), _inputs_id(connection, rest), layout),
            None if memo.notes is None else _inputs_id(connection, list(memo.notes)) or 0,
        ),
    )
    connection.execute(
        "DELETE FROM memos WHERE weak_key = ?1 AND key NOT IN"
        " (SELECT key FROM memos WHERE weak_key = ?1 ORDER BY used_ns DESC, key LIMIT ?2)",
        (memo.weak_key, MAX_PER_WEAK_KEY),
    )


def rebuild(
    weak_key: bytes, rows: Iterable[tuple[Any, ...]], inputs_of: Callable[[bytes | None], Inputs]
) -> list[InputMemo]:
    """Memos from rows of (key, hash of the files' list, of the rest's, layout); one that cannot be read is left out."""
    memos = []
    for key, files_mark, rest_mark, layout in rows:
        try:
            files, rest = inputs_of(files_mark), inputs_of(rest_mark)
            memos.append(InputMemo(weak_key, key, _merged(files, rest, layout)))
        except (ValueError, StopIteration) as error:
            _log.warning("a memo cannot be read: %s", error)
    return memos


def delete_unused_inputs(connection: sqlite3.Connection) -> None:
    """Delete input lists that no memo has."""
    connection.execute(
        "DELETE FROM inputs WHERE id NOT IN (SELECT files_id FROM memos WHERE files_id IS NOT NULL"
        " UNION SELECT rest_id FROM memos WHERE rest_id IS NOT NULL"
        " UNION SELECT notes_id FROM memos WHERE notes_id IS NOT NULL)"
    )


def _merged(files: Inputs, rest: Inputs, layout: str | None) -> Inputs:
    if layout is None:
        return files + rest
    if (layout.count("f"), layout.count("r")) != (len(files), len(rest)):
        raise ValueError("lists and layout disagree")
    next_of = {"f": iter(files), "r": iter(rest)}
    return tuple(next(next_of[letter]) for letter in layout)


def _inputs_id(connection: sqlite3.Connection, inputs: list[MemoInput]) -> int | None:
    if not inputs:
        return None
    body = encode_inputs(inputs)
    mark = hash_bytes(body)[:16]
    row = connection.execute("SELECT id FROM inputs WHERE hash = ?", (mark,)).fetchone()
    if row is not None:
        return int(row[0])
    return connection.execute("INSERT INTO inputs(hash, body) VALUES (?, ?)", (mark, body)).lastrowid
