r"""Units as they may leave this machine, and units of other machines made this one's (docs/decisions/0016). Pure.

No value of a variable leaves, and no path but those cargo itself compares. A unit that cannot do without stays here,
and what stands on it comes by hits on other machines. What has to be compared there (CARGO_HOME, the tools of the
host, the variables that steer linkers) goes as a digest salted by the trust domain.

    in a run's `output` and `root-output`      its OUT_DIR -> "\0<out>\0"     the rest of OUT_DIR's neighbours: not sent
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from kache.cargo import dep_info
from kache.cargo.fingerprints import RUN_PREFIX
from kache.core.digest import hash_parts
from kache.core.unit import Unit, UnitFile
from kache.engine.warm_start.script_runs import for_cargo

MAX_INLINE_BYTES = 2 << 20
"""Of a unit's small files together."""
_OUT = b"\0<out>\0"
_ENV_VALUE = re.compile(rb"^# env-dep:(?!CARGO_|OUT_DIR=)([^=\n]*)=.*$", re.MULTILINE)
_BUILT = (".fingerprint", "build", "deps", "examples")


@dataclass(frozen=True, slots=True)
class Machine:
    """What units are compared with, or must not name.

    Attributes:
        target_dir, root, cargo_home, home: absolute paths; `root` is the workspace's.
        host: identity of the tools that build scripts and links find.
        steering: digest of the variables that steer them.
        domain: name of the trust domain.
    """

    target_dir: bytes
    root: bytes
    cargo_home: bytes
    home: bytes
    host: bytes
    steering: bytes
    domain: str

    def salted(self, what: str, value: bytes) -> bytes:
        """A digest that only members of the trust domain can compare."""
        return hash_parts([what.encode(), self.domain.encode(), value]) if value else b""


def portable(units: Iterable[Unit], machine: Machine) -> tuple[Unit, ...]:
    """What of some units may leave this machine, in their order."""
    return tuple(each for each in (_portable(unit, machine) for unit in units) if each is not None)


def _portable(unit: Unit, machine: Machine) -> Unit | None:
    if (
        unit.tied_to
        or unit.observed
        or not unit.cwd.startswith(b"<")
        or what_is_odd(unit, unit.directory.rpartition("/.fingerprint/")[0])
        or sum(len(file.content) for file in unit.files) > MAX_INLINE_BYTES
    ):
        return None
    own_out = _content_of(unit, "root-output")
    files = []
    for file in unit.files:
        content = _sent(file, unit, own_out)
        if content is None or any(path in content for path in _paths(machine)):
            return None
        files.append(replace(file, content=content, mtime_ns=0))
    return replace(
        unit,
        files=tuple(files),
        build=0,
        cargo_home=machine.salted("cargo home", unit.cargo_home),
        host=machine.salted("host", unit.host),
        steering=machine.salted("steering", unit.steering),
    )


def _paths(machine: Machine) -> list[bytes]:
    found = [machine.target_dir, machine.root, machine.cargo_home, machine.home]
    return [path.rstrip(b"/") + b"/" for path in found if len(path) > 1]


def _content_of(unit: Unit, name: str) -> bytes:
    return next((file.content for file in unit.files if os.path.basename(file.path) == name), b"")


def _sent(file: UnitFile, unit: Unit, own_out: bytes) -> bytes | None:
    """The content of a small file as it is sent; None where it has what must not be."""
    name = os.path.basename(file.path)
    if file.digest:
        return b""
    if os.path.dirname(file.path) == unit.directory:
        return _sent_fingerprint(file.content, name, unit)
    if file.is_template:
        return _ENV_VALUE.sub(rb"# env-dep:\1=", file.content)
    if not unit.stem.startswith(RUN_PREFIX) or not _is_beside_out(file, unit):
        return file.content
    if name == "output":
        told = for_cargo(file.content) + b"\n"
        return told.replace(own_out, _OUT) if own_out else told
    return {"stderr": b"", "root-output": _OUT}.get(name, file.content)


def _sent_fingerprint(content: bytes, name: str, unit: Unit) -> bytes | None:
    if name == f"{unit.stem}.json":
        return _facts(content)
    if name.startswith("dep-"):
        values = dep_info.values_of_variables(content)
        return content if values is not None and not values else None
    return content


def _build_dir(unit: Unit) -> str:
    """The directory of a run, below the target directory."""
    profile, _, name = unit.directory.rpartition("/.fingerprint/")
    return f"{profile}/build/{name}"


def _is_beside_out(file: UnitFile, unit: Unit) -> bool:
    """Whether a file of a run is cargo's own, not one that the script wrote."""
    return os.path.dirname(file.path) == _build_dir(unit)


def _facts(content: bytes) -> bytes | None:
    """What cargo says of a unit, for people and for us, without flags; None if it has values of variables.

    cargo compares the hash of all of it; this text it reads only to say why a unit is not fresh.
    """
    try:
        facts: dict[str, Any] = msgspec.json.decode(content)
        for local in facts.get("local", ()):
            if local.get("RerunIfEnvChanged", {}).get("val") is not None:
                return None
    except (msgspec.MsgspecError, AttributeError):
        return None
    return msgspec.json.encode({**facts, "rustflags": []}) if facts.get("rustflags") else content


def at_home(units: Iterable[Unit], machine: Machine, date_ns: int) -> tuple[Unit, ...]:
    """Units of another machine as this one's.

    What was made for another CARGO_HOME or host keeps a digest that equals nothing here: placing says so.

    Args:
        units: out of a verified document.
        machine: this one.
        date_ns: what their files are dated, as their blobs are: all alike, so that no order is out of order.
    """
    return tuple(_at_home(unit, machine, date_ns) for unit in units)


def _at_home(unit: Unit, machine: Machine, date_ns: int) -> Unit:
    def own(what: str, sent: bytes, here: bytes) -> bytes:
        return here if sent and sent == machine.salted(what, here) else sent

    out = os.path.join(machine.target_dir, os.fsencode(f"{_build_dir(unit)}/out"))
    files = []
    for file in unit.files:
        is_told = unit.stem.startswith(RUN_PREFIX) and _is_beside_out(file, unit)
        content = file.content.replace(_OUT, out) if is_told else file.content
        size = len(content) if not file.digest and file.size else file.size
        files.append(replace(file, content=content, mtime_ns=date_ns, size=size))
    return replace(
        unit,
        files=tuple(files),
        cargo_home=own("cargo home", unit.cargo_home, machine.cargo_home),
        host=own("host", unit.host, machine.host),
        steering=own("steering", unit.steering, machine.steering),
    )


def what_is_odd(unit: Unit, profile: str) -> str:
    """What of a unit from elsewhere must not be written here; empty if nothing.

    Every file belongs below the profile's directory, those of a run or a fingerprint into the unit's own, and what is
    in a directory that all share has the unit's name. Nothing odd is sent: a reader would refuse the whole set for it.
    """
    directory, _, name = unit.directory.rpartition("/")
    if directory != f"{profile}/.fingerprint" or not _is_plain(name) or not _is_plain(unit.stem):
        return f"a unit in {unit.directory!r}"
    for file in unit.files:
        parts = file.path.split("/")
        below = parts[len(profile.split("/")) :]
        is_ours = file.path.startswith(f"{profile}/") and len(below) > 1 and below[0] in _BUILT
        if not is_ours or not all(_is_plain(part) for part in parts):
            return f"a file {file.path!r}"
        if below[0] == ".fingerprint" and (len(below) != 3 or below[1] != name):
            return f"a file {file.path!r} of another unit"
        if below[0] == "build" and not file.digest and unit.stem.startswith(RUN_PREFIX) and below[1] != name:
            return f"a file {file.path!r} of another unit"
        if below[0] in ("deps", "examples") and not _is_named_after(parts[-1], unit, name):
            return f"a file {file.path!r} of another unit"
    return ""


def _is_named_after(file: str, unit: Unit, name: str) -> bool:
    """Whether an output has the unit's hash in its name; one without a hash (a cdylib) its target's name."""
    stem = file.partition(".")[0]
    target = unit.stem.partition("-")[2].replace("-", "_")
    return stem.endswith(f"-{name.rpartition('-')[2]}") or stem.removeprefix("lib").replace("-", "_") == target


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and "/" not in part and "\0" not in part
