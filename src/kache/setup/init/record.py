"""What `kache init` did, so that `--undo` can take it back byte for byte.

`init.json` and the backups lie in the state dir. Each file is noted there before it is written: a run that is killed
half way is taken back, or finished, by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kache.config.paths import state_dir
from kache.errors import ConfigFileError, KacheError, SetupFailedError
from kache.setup import files
from kache.setup.init.step import Write
from kache.setup.toml_edit import with_value, without

_VERSION = 1


@dataclass(slots=True)
class Note:
    """One file that was written.

    Attributes:
        path: of the file, symbolic links resolved.
        written: hash of the content we gave it.
        backup: name of the copy of what was there; empty when there was nothing.
        table: of the one key that is ours; empty when the whole file is.
        key: its name.
        value: what we set it to.
        before: what it was; None when it was not there.
    """

    path: str
    written: str
    backup: str = ""
    table: str = ""
    key: str = ""
    value: str = ""
    before: Any = None


@dataclass(slots=True)
class Record:
    """The notes of every run since the last undo.

    Attributes:
        directory: where it is kept.
        notes: files, in the order they were first written.
        directories: those that were made, in that order.
        service: the login service that was installed, empty for none.
        kept: what was found beside our keys when they were taken back, and left; of this process alone.
    """

    directory: Path
    notes: list[Note] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    service: str = ""
    kept: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, env: Mapping[str, str]) -> Record:
        """Read it; an empty one when there is none.

        Raises:
            SetupFailedError: it cannot be read, or a newer kache wrote it.
        """
        directory = state_dir(env)
        record = cls(directory)
        try:
            found = json.loads((directory / "init.json").read_bytes())
            if found["version"] != _VERSION:
                raise ValueError(f"its version is {found['version']}, this kache knows {_VERSION}")
            record.notes = [Note(**note) for note in found["files"]]
            record.directories = list(found["directories"])
            record.service = str(found["service"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupFailedError(
                f"cannot read {directory / 'init.json'}", why=str(error), fix="move it away; its backups lie beside it"
            ) from error
        return record

    @property
    def is_empty(self) -> bool:
        """Nothing was done, or all of it was taken back."""
        return not self.notes and not self.service

    def write(self, write: Write) -> None:
        """Write one file, its note and its backup first.

        Raises:
            OSError: something cannot be written.
        """
        real = Path(os.path.realpath(write.path))
        self._made(self.directory)
        note = self._note(real, write)
        self.save()
        self._made(real.parent)
        files.replace(real, write.content, write.mode)
        note.written = _hash(write.content)
        self.save()

    def take_back(self, note: Note) -> str:
        """Put a file back as it was, and forget its note.

        Returns:
            What was left as it is and why; empty when all is as before.

        Raises:
            OSError: it cannot be written.
            ConfigFileError: it was changed since, and our key cannot be taken out of it.
        """
        path = Path(note.path)
        problem = ""
        content = _content(path)
        backup = self.directory / note.backup if note.backup else None
        as_before = content == (None if backup is None else _content(backup))
        if content is not None and not as_before:
            if _hash(content) == note.written:
                _put_back(path, backup)
            elif note.key:
                left = _without_key(note, path, content)
                if left != (b"" if backup is None else backup.read_bytes()):
                    self.kept.append(f"{path} was changed since: kache's line is out of it, the rest is left as it is")
                if left or backup is not None:
                    files.replace(path, left)
                else:
                    path.unlink()
            else:
                problem = f"{path} was changed since and is left as it is"
        elif content is None and backup is not None:
            problem = f"{path} was removed since and is left so"
        if problem and backup is not None:
            problem = f"{problem}; what it was before kache is in {backup}"
        self.notes.remove(note)
        self.save()
        if backup is not None and not problem:
            backup.unlink(missing_ok=True)
        return problem

    def tidy(self) -> None:
        """Remove the directories that were made and are empty again, and the record with the last of them."""
        if self.is_empty:
            (self.directory / "init.json").unlink(missing_ok=True)
        for name in sorted(self.directories, key=len, reverse=True):  # the inner ones first
            with contextlib.suppress(OSError):
                os.rmdir(name)
        self.directories = [name for name in self.directories if os.path.isdir(name)]
        if not self.is_empty:
            self.save()

    def note_directories(self, directories: list[Path]) -> None:
        """Remember directories that were made."""
        self.directories += [str(each) for each in directories if str(each) not in self.directories]

    def save(self) -> None:
        """Write it down.

        Raises:
            OSError: it cannot be written.
        """
        self._made(self.directory)
        document = {
            "version": _VERSION,
            "files": [asdict(note) for note in self.notes],
            "directories": self.directories,
            "service": self.service,
        }
        files.replace(self.directory / "init.json", json.dumps(document, indent=1).encode() + b"\n")

    def _free_name(self, name: str) -> str:
        """A name for a backup, which takes no other's place."""
        number = len(self.notes)
        while (self.directory / f"{number}-{name}").exists():
            number += 1
        return f"{number}-{name}"

    def _made(self, directory: Path) -> None:
        self.note_directories(files.make_directories(directory))

    def _note(self, path: Path, write: Write) -> Note:
        note = next((each for each in self.notes if each.path == str(path)), None)
        content = _content(path)
        if note is None:
            note = Note(str(path), written="")
            self.notes.append(note)
        elif content is None or _hash(content) == note.written:
            note.value = write.key.value if write.key is not None else ""
            return note  # what was there before us is noted already
        original = content
        if write.key is not None:
            if content is not None and note.key and _value(content, note) == note.value:
                original = _without_key(note, path, content)  # ours is no part of what was there before us
            note.table, note.key, note.value = write.key.table, write.key.name, write.key.value
            note.before = None if original is None else _value(original, note)
        if original is not None:
            note.backup = note.backup or self._free_name(path.name)
            (self.directory / note.backup).write_bytes(original)
            if content == original:
                with contextlib.suppress(OSError):
                    files.copy_facts(path, self.directory / note.backup)
        return note


def undo(record: Record) -> list[str]:
    """Take everything back, the last first.

    Returns:
        What was left as it is, and why.

    Raises:
        KacheError: a file cannot be written.
    """
    problems = []
    for note in reversed(list(record.notes)):
        try:
            problem = record.take_back(note)
        except OSError as error:
            raise SetupFailedError(f"cannot put {note.path} back", why=error.strerror or str(error)) from error
        if problem:
            problems.append(problem)
    record.tidy()
    return problems


def _put_back(path: Path, backup: Path | None) -> None:
    if backup is None:
        path.unlink()
    else:
        files.restore(backup, path)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _value(content: bytes, note: Note) -> Any:
    import tomllib

    try:
        table = tomllib.loads(content.decode()).get(note.table, {})
    except (ValueError, UnicodeDecodeError):
        return None
    return table.get(note.key) if isinstance(table, dict) else None


def _without_key(note: Note, path: Path, content: bytes) -> bytes:
    """The file as somebody changed it, with our key as it was; as it is if the key is no longer ours."""
    if _value(content, note) != note.value:
        return content
    try:
        text = content.decode()
        if note.before is None:
            return without(text, path, note.table, note.key).encode()
        return with_value(text, path, note.table, note.key, note.before).encode()
    except (KacheError, UnicodeDecodeError) as error:
        raise ConfigFileError(
            f"{path} was changed since, and kache's key cannot be taken out", why=str(error)
        ) from error
