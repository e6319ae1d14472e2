"""Rules about the files themselves: sizes, words that must not appear, files that must not be there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 100
MAX_FILE_BYTES = 1_000_000
TEXT_SUFFIXES = {".py", ".rs", ".md", ".toml", ".sh", ".txt", ".json", ".yaml", ".yml", ""}
# Written so that this file does not find itself.
FORBIDDEN = {
    "an absolute home path": r"/(?:root|home/(?!me\b|you\b|user\b|a\b|b\b)[a-z_]\w*)/",
    "a package registry's host": r"\b(?:crates[.]io/(?:api|index)|(?:index|static)[.]crates|pypi[.]org|registry[.]npm)",
    "work put off": r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b",
    "a merge conflict": r"^(?:<{7} |>{7} |={7}$)",
}


def tracked() -> list[Path]:
    """Files of the project; git says which, and a source archive has none of the others anyway."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_has(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = []
    for path in tracked():
        if path.suffix not in TEXT_SUFFIXES or path.name.startswith("LICENSE"):
            continue
        text = path.read_text(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert not found


def test_modules_and_functions_can_be_read_in_one_sitting() -> None:
    too_long = []
    for path in tracked():
        if path.suffix not in {".py", ".rs"}:
            continue
        text = path.read_text()
        lines = text.count("\n")
        if lines > MAX_MODULE_LINES:
            too_long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        if path.suffix == ".py":
            too_long += [f"{path.relative_to(ROOT)}: {name}" for name in long_functions(text)]
    assert not too_long


def test_no_big_and_no_built_file_is_tracked() -> None:
    big = [path for path in tracked() if path.stat().st_size > MAX_FILE_BYTES]
    built = [path for path in tracked() if path.suffix in {".pyc", ".so", ".rlib", ".whl"}]
    assert not big + built


def test_every_package_says_what_it_is_for() -> None:
    packages = [path for path in tracked() if path.name == "__init__.py" and "tests" not in path.parts]
    assert not [path for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]


def long_functions(text: str) -> list[str]:
    """Names and lengths of the functions that are too long."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"{node.name}: {length} lines")
    return found
