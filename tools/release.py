"""`make release VERSION=1.2.3` and what the release workflow asks: one version, one changelog, a bill of materials.

    python -m tools.release prepare 1.2.3    write the version where it stands, and gather changes/ into CHANGELOG.md
    python -m tools.release check v1.2.3     the tag is the version, and the changelog has it
    python -m tools.release notes v1.2.3     what the changelog says of it
    python -m tools.release materials PYTHON FILE     CycloneDX of what is installed for a Python

The version is that of native/launcher/Cargo.toml; `prepare` writes it there and where it has to be repeated.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
TOWNCRIER, CYCLONEDX = "towncrier==26.9.0", "cyclonedx-bom==7.5.0"
# File to the line in it; {} is the version.
PLACES = {
    "native/launcher/Cargo.toml": (r'^version = ".*"$', 'version = "{0}"'),
    "native/launcher/Cargo.lock": (r'(?<=^name = "kache"\n)version = ".*"$', 'version = "{0}"'),
    "src/kache/__init__.py": (r'^__version__ = ".*"$', '__version__ = "{0}"'),
    "deploy/chart/Chart.yaml": (r'^version: .*\nappVersion: ".*"$', 'version: {0}\nappVersion: "{0}"'),
}


class ReleaseError(Exception):
    """What is not fit for a release; printed as three lines."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"error[no-release]: {what}\nwhy: {why}\nfix: {fix}")


def prepare(version: str, root: Path, day: str) -> None:
    """Write a version into the tree and the fragments into the changelog.

    Args:
        version: without a `v`.
        root: of the tree.
        day: of the release, 2026-11-30.

    Raises:
        ReleaseError: it is no version, or there is nothing to release.
    """
    if VERSION.fullmatch(version) is None:
        raise ReleaseError(f"{version!r} is no version", "it has to look like 1.2.3 or 1.2.3rc1", "give such a one")
    fragments = [path for path in (root / "changes").glob("*.md") if path.name != "README.md"]
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text()
    open_heading = f"## {version} (unreleased)\n"
    if open_heading not in text and not fragments:
        raise ReleaseError(
            f"{version} changes nothing", "there is no fragment in changes/", "write one: changes/README.md"
        )
    for name, (pattern, line) in PLACES.items():
        path = root / name
        replaced, count = re.subn(pattern, line.format(version), path.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise ReleaseError(
                f"{name} has {count} lines for the version", f"looked for {pattern}", "mend tools/release.py"
            )
        path.write_text(replaced)
    changelog.write_text(text.replace(open_heading, f"## {version} ({day})\n"))
    if fragments:
        words = ["build", "--yes", "--version", version, "--date", day, "--dir", str(root)]
        _tool(TOWNCRIER, "towncrier", *words)


def check(tag: str, root: Path) -> None:
    """See that a tag is the tree's version and that the changelog has it, dated.

    Raises:
        ReleaseError: it is not.
    """
    version = str(tomllib.loads((root / "native/launcher/Cargo.toml").read_text())["package"]["version"])
    if tag != f"v{version}":
        raise ReleaseError(
            f"the tag is {tag}", f"the version is {version}", f"make release VERSION={tag[1:]}, then tag"
        )
    left = [path.name for path in (root / "changes").glob("*.md") if path.name != "README.md"]
    if left:
        raise ReleaseError(f"changes/{left[0]} is in no release", "it is left over", "make release gathers it")
    notes(tag, root)


def notes(tag: str, root: Path) -> str:
    """What the changelog says of a version, without its heading.

    Raises:
        ReleaseError: nothing, or it has no date.
    """
    heading = re.escape(f"## {tag.removeprefix('v')} (")
    found = re.search(
        rf"^{heading}([^)\n]*)\)\n(.*?)(?=^## |\Z)", (root / "CHANGELOG.md").read_text(), re.DOTALL | re.MULTILINE
    )
    if found is None or found[1] == "unreleased":
        raise ReleaseError(f"CHANGELOG.md has no dated section {tag}", "a release says what it changes", "make release")
    return found[2].strip()


def materials(python: str, out: Path) -> None:
    """Write a CycloneDX document of what is installed for a Python."""
    _tool(CYCLONEDX, "cyclonedx-py", "environment", python, "--output-reproducible", "--output-file", str(out))


def _tool(requirement: str, program: str, *words: str) -> None:
    """Run a program of the registry in an environment that goes again."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.EnvBuilder(with_pip=True, symlinks=True).create(scratch)
        bin_ = Path(scratch, "bin")
        install = [str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        for argv in (install, [str(bin_ / program), *words]):
            done = subprocess.run(argv, check=False, capture_output=True, text=True)
            if done.returncode:
                raise ReleaseError(
                    f"{program} fails", (done.stderr or done.stdout).strip()[-1000:], "mend what it says"
                )


def main() -> int:
    """Do one of them."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description="Prepare and check a release.")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, word in (("prepare", "version"), ("check", "tag"), ("notes", "tag")):
        verbs.add_parser(verb).add_argument(word)
    of_materials = verbs.add_parser("materials")
    of_materials.add_argument("python")
    of_materials.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        if options.verb == "prepare":
            prepare(options.version, options.root, datetime.datetime.now(datetime.UTC).date().isoformat())
            print(f"release: this tree is {options.version}; look at the diff, commit, push the tag v{options.version}")
        elif options.verb == "check":
            check(options.tag, options.root)
        elif options.verb == "notes":
            print(notes(options.tag, options.root))
        else:
            materials(options.python, options.out)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
