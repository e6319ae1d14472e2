"""Completions loaded in the shells they are for, and asked as a person asks: by pressing Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kache.cli.completions import SHELLS, make
from kache.cli.verbs import VERBS

HAVE = {shell: shutil.which(shell) for shell in (*SHELLS, "pwsh")}
ASKED = {
    "a verb": ("kache da", {"daemon"}),
    "an action": ("kache daemon st", {"start", "status", "stop"}),
    "an action of a parser": ("kache config un", {"unset"}),
    "a setting": ("kache config set max", {"max_size"}),
    "a flag": ("kache gc --max-", {"--max-age", "--max-size"}),
    "a value": ("kache list --sort s", {"saved", "size"}),
    "help": ("kache help why", {"why-miss"}),
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("completions")
    for shell in SHELLS:
        (directory / shell).write_text(make(shell))
    return directory


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(HAVE.get(shell) is None, reason=f"needs {shell}")


@needs("bash")
@pytest.mark.parametrize("what", ASKED)
def test_bash(scripts: Path, what: str) -> None:
    line, wanted = ASKED[what]
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kache; printf "%s\\n" "${COMPREPLY[@]}";'
        "complete -p kache"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", str(scripts / "bash"), *line.split(" ")],
        capture_output=True,
        text=True,
        check=True,
    )
    *found, registered = done.stdout.split("\n")[:-1]
    assert set(found) == wanted and registered == "complete -F _kache kache" and done.stderr == ""


@needs("bash")
def test_bash_offers_files_for_paths_alone(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    program = 'source "$0"; COMP_WORDS=(kache report -o re); COMP_CWORD=3; _kache; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", program, str(scripts / "bash")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "report.html\n"


@needs("fish")
@pytest.mark.parametrize("what", ASKED)
def test_fish(scripts: Path, tmp_path: Path, what: str) -> None:
    line, wanted = ASKED[what]
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C '{line}'"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {found.split("\t")[0] for found in done.stdout.splitlines()} == wanted and done.stderr == ""


@needs("zsh")
@pytest.mark.parametrize("what", ASKED)
def test_zsh(scripts: Path, tmp_path: Path, what: str) -> None:
    """Tab lists several, or completes the only one."""
    line, wanted = ASKED[what]
    child = pexpect.spawn(
        "zsh",
        ["-f", "-i"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb"},
        encoding="utf-8",
        timeout=30,
        dimensions=(50, 160),
    )
    try:
        child.sendline(f"autoload -Uz compinit && compinit -u -D && source {scripts / 'zsh'} && PS1=RE''ADY")
        child.expect("READY")
        child.send(f"{line}\t\t")
        for word in sorted(wanted):
            child.expect_exact(word if len(wanted) > 1 else word[-2:])
    finally:
        child.close(force=True)


@needs("zsh")
def test_zsh_autoloads_it_from_fpath(scripts: Path, tmp_path: Path) -> None:
    directory = tmp_path / "functions"
    directory.mkdir()
    shutil.copy(scripts / "zsh", directory / "_kache")
    program = f"fpath=({directory} $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[kache]"
    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "_kache\n" and done.stderr == ""


@needs("elvish")
@pytest.mark.parametrize("what", ["a verb", "an action", "a setting"])
def test_elvish(scripts: Path, tmp_path: Path, what: str) -> None:
    line, wanted = ASKED[what]
    child: Any = pexpect.spawn(
        "elvish",
        ["-norc"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm"},
        encoding="utf-8",
        timeout=30,
        dimensions=(50, 160),
    )
    try:
        *given, last = line.split(" ")
        words = " ".join(f"'{word}'" for word in (*given, last))
        child.send(
            f"eval (slurp <{scripts / 'elvish'}); "
            f"$edit:completion:arg-completer[kache] {words} | each {{|c| put $c[stem] }} | to-lines >{tmp_path}/out\r"
        )
        child.send("exit\r")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert wanted <= set((tmp_path / "out").read_text().split())


@needs("pwsh")
def test_powershell(scripts: Path) -> None:
    program = f". {scripts / 'powershell'}; (TabExpansion2 'kache da' 8).CompletionMatches.CompletionText"
    done = subprocess.run(["pwsh", "-NoProfile", "-Command", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["daemon"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_is_in_every_script(scripts: Path, shell: str) -> None:
    text = (scripts / shell).read_text()
    assert not [verb.name for verb in VERBS if verb.name not in text]
