"""Libraries of the registry made members of a project, so that a leaf and the middle of its tree can be edited too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.context import Context
from bench.errors import BenchError
from bench.projects import cargo, copy_tree, unpacked
from bench.usage import tail

_LINE = re.compile(r"^#\[allow\(dead_code\)\] fn kache_edit\(\) -> u64 \{ \d+ \}\n", re.MULTILINE)


def prepare(context: Context, where: Path, chosen: Mapping[str, str]) -> dict[str, str]:
    """Make the chosen libraries members.

    Args:
        context: of the run.
        where: a fresh checkout.
        chosen: `leaf` and `middle` to a crate of the lock file, `root` to a file of the project.

    Returns:
        Place to the file, below the checkout, whose edit is one of that place.
    """
    files = {"root": chosen["root"]}
    lock = (where / "Cargo.lock").read_text()
    lines = []
    for place in ("leaf", "middle"):
        crate = chosen[place]
        locked = re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock)
        if locked is None:
            raise BenchError(f"{crate} is not locked", f"see {where / 'Cargo.lock'}", "see bench/projects.toml")
        copy_tree(unpacked(crate, locked[1], context.work, context.base_env), where / "members" / crate)
        lines.append(f'{crate} = {{ path = "members/{crate}" }}\n')
        files[place] = f"members/{crate}/src/lib.rs"
    manifest = where / "Cargo.toml"
    text = manifest.read_text()
    if "[patch.crates-io]" in text:
        raise BenchError(f"{where.name} has patches of its own", "see its Cargo.toml", "see bench/projects.toml")
    # Libraries stay what they are to the workspace: dependencies, whose lints are capped.
    manifest.write_text(text + "\n[patch.crates-io]\n" + "".join(lines))
    done = cargo(["metadata", "--offline", "--format-version", "1"], context.base_env, where)
    if done.returncode:
        raise BenchError("cargo does not take the members", tail(done.stderr, 6), "see bench/projects.toml")
    return {place: files[place] for place in ("leaf", "middle", "root")}


def edit(file: Path, number: int) -> None:
    """Change the code by one line: a function that nobody calls, with a number in it."""
    line = f"#[allow(dead_code)] fn kache_edit() -> u64 {{ {number} }}\n"
    text, count = _LINE.subn(line, file.read_text())
    file.write_text(text if count else f"{text.rstrip()}\n{line}")
