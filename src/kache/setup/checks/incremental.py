"""Incremental compilation: who asks for it, and what kache makes of that."""

from __future__ import annotations

import tomllib
from pathlib import Path

from kache.cargo import configuration
from kache.cargo.configuration import Found
from kache.errors import CargoConfigError
from kache.setup.finding import OK, SKIP, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """A fact, no fault: kache caches with and without, and takes the flag off what it caches."""
    try:
        found = _settings(around)
    except CargoConfigError as error:
        return [Finding(SKIP, error.what)]
    says = ", ".join(f"{each.origin} = {str(each.value).lower()}" for each in found)
    takes = "compiles that are cached run without -C incremental"
    return [Finding(OK, f"{says or 'cargo decides, as nothing is set'}; {takes}")]


def _settings(around: Surroundings) -> list[Found]:
    found = [Found(around.env[name], name) for name in ("CARGO_INCREMENTAL",) if around.env.get(name)]
    found += configuration.values(around.env, around.cwd, "build", "incremental")
    for profile in ("dev", "release", "test"):
        found += configuration.values(around.env, around.cwd, f"profile.{profile}", "incremental")
    return [*found, *_of_manifest(around.cwd)]


def _of_manifest(cwd: Path | None) -> list[Found]:
    for directory in (cwd, *cwd.parents) if cwd else ():
        path = directory / "Cargo.toml"
        try:
            profiles = tomllib.loads(path.read_text()).get("profile")
        except (OSError, ValueError):
            continue
        if isinstance(profiles, dict):
            return [
                Found(table["incremental"], f"{path} [profile.{name}]", path)
                for name, table in profiles.items()
                if isinstance(table, dict) and "incremental" in table
            ]
    return []
