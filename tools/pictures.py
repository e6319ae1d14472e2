"""`make pictures`: the pictures of the documentation, made of a real project, into docs/pictures.

A project is built with the installed kache in a scratch home: cold, in a second checkout, and after an edit. What a
terminal shows meanwhile becomes a recording (SVG that plays by itself), the monitor gives its tabs as SVG, and a
headless browser draws the HTML report. Figures in them are of that one run; pages that count are made by the benchmark.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pexpect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from bench import projects
from bench.environment import plain_env
from bench.errors import BenchError

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 100, 30
TABS = ("builds", "why", "projects", "store")
BROWSERS = ("chromium", "google-chrome", "chrome")
RECORDING, REPORT = "first-hits.svg", "report.png"
NAMES = (RECORDING, REPORT, *(f"monitor-{tab}.svg" for tab in TABS))
_COMMAND_LIMIT_S = 900
_FETCHED_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
# What the recording shows; a pause after each, in seconds, for people to read.
SESSION = (
    ("kache init --yes --no-service --no-completions &> /dev/null", 1.0),
    ("cd one && kache cargo build --quiet", 2.0),
    ("cd ../two && kache cargo build --quiet", 3.0),
    ("kache stats --last-build", 4.0),
    ("echo '// an edit' >> SOURCE && kache cargo build --quiet", 2.5),
    ("kache why-miss", 6.0),
)


class Shown(NamedTuple):
    """A command of the recording.

    Attributes:
        command: as it is shown behind the prompt.
        output: as the terminal got it, colours included.
        took_s: from its start to its end.
        pause_s: after it.
    """

    command: str
    output: str
    took_s: float
    pause_s: float


def main() -> int:
    """Make them all."""
    parser = argparse.ArgumentParser(prog="make pictures", description="Make the pictures of the documentation.")
    parser.add_argument("--project", default="ripgrep", help="a name of bench/projects.toml, or a cargo project's path")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where they go (default: docs/pictures)")
    options = parser.parse_args()
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        print(
            "error[no-browser]: there is no chromium\nwhy: it draws the report\nfix: install chromium", file=sys.stderr
        )
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as scratch:
        try:
            make(options.project, Path(scratch), options.out, browser)
        except BenchError as error:
            print(f"error: {error}\nwhy: {error.why}", file=sys.stderr)
            return 1
    for name in NAMES:
        print(f"pictures: {options.out / name}")
    return 0


def make(project: str, scratch: Path, out: Path, browser: str) -> None:
    """Build a project and take the pictures.

    Args:
        project: a catalogue's name or a path.
        scratch: an empty directory.
        out: where pictures go.
        browser: a Chromium.
    """
    env = _environment(scratch)
    base = plain_env(os.environ, scratch)
    found = projects.published(project, scratch, base) if project in projects.catalogue() else None
    found = found or projects.local(Path(project), base)
    for checkout in ("one", "two"):
        projects.checkout(found, scratch / "work" / checkout, base)
    source = next(
        name for name in ("crates/core/main.rs", "src/main.rs", "src/lib.rs") if (found.source / name).exists()
    )
    try:
        shown = record(SESSION, source, scratch / "work", env)
        (out / RECORDING).write_text(recording(shown))
        for tab in TABS:
            _kache(["monitor", "--snapshot", str(out / f"monitor-{tab}.svg"), "--tab", tab], scratch, env)
            made = out / f"monitor-{tab}.svg"
            made.write_text(_FETCHED_FONT.sub("", made.read_text()))
        _kache(["report", "--since", "1h", "--format", "html", "-o", str(scratch / "report.html")], scratch, env)
        _draw(browser, scratch / "report.html", out / REPORT, env)
    finally:
        _kache(["daemon", "stop"], scratch, env)


def record(session: Sequence[tuple[str, float]], source: str, where: Path, env: Mapping[str, str]) -> list[Shown]:
    """Type commands into a shell on a terminal and keep what it shows.

    Args:
        session: command and pause after it; SOURCE in a command stands for `source`.
        source: a file of the project.
        where: the shell's directory.
        env: its environment.
    """
    shell = pexpect.spawn(
        "bash", ["--noprofile", "--norc"], env={**env, "PS1": "@prompt@ "}, cwd=str(where), encoding="utf-8"
    )
    shell.setwinsize(ROWS, COLUMNS)
    shell.expect_exact("@prompt@ ")
    shown = []
    for command, pause_s in session:
        typed = command.replace("SOURCE", source)
        started = time.monotonic()
        shell.sendline(typed)
        shell.expect_exact("@prompt@ ", timeout=_COMMAND_LIMIT_S)
        output = shell.before.replace("\r\n", "\n").removeprefix(typed + "\n")
        shown.append(Shown(typed, _settled(output), time.monotonic() - started, pause_s))
    shell.sendeof()
    shell.close()
    return shown


def recording(shown: Sequence[Shown]) -> str:
    """An SVG in which each line appears when it did; a wait of more than four seconds is shortened to that."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    begins: list[float] = []
    now_s = 0.5
    for each in shown:
        before = console.export_text(clear=False).count("\n")
        console.print(Text.assemble(("$ ", "bold green"), each.command), soft_wrap=False)
        begins += [now_s] * (console.export_text(clear=False).count("\n") - before)
        now_s += 0.4 + min(each.took_s, 4.0)
        before = console.export_text(clear=False).count("\n")
        if each.output:
            console.print(Text.from_ansi(each.output))
        begins += [now_s] * (console.export_text(clear=False).count("\n") - before)
        now_s += each.pause_s
    svg = console.export_svg(title="kache", theme=MONOKAI, unique_id="recording")
    rules = "".join(
        f'[clip-path="url(#recording-line-{line})"]{{animation:shows 1ms {begin:.1f}s backwards}}'
        for line, begin in enumerate(begins)
    )
    # It plays once; who wants no motion, or has a viewer that knows none, sees all of it.
    still = "@media (prefers-reduced-motion:reduce){text{animation:none!important}}"
    style = f"<style>@keyframes shows{{from{{opacity:0}}to{{opacity:0}}}}{rules}{still}</style>"
    return _FETCHED_FONT.sub("", svg).replace("<defs>", f"{style}<defs>", 1)


def _settled(output: str) -> str:
    """What stays of lines that were written over, without control sequences other than colours."""
    lines = [line.rpartition("\r")[2] for line in output.replace("\r\n", "\n").split("\n")]
    text = "\n".join(lines)
    text = re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]|\x1b[=>]|\x1b\][^\x07]*\x07", "", text)
    return text.strip("\n")


def _environment(scratch: Path) -> dict[str, str]:
    """Of somebody who has just installed kache and nothing else of the kind."""
    (scratch / "home").mkdir()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("KACHE_", "XDG_", "RUSTC_", "CARGO_"))
    }
    cargo = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    home = scratch / "home"
    # The registry's crates are those of this machine, its configuration is not.
    (home / ".cargo").mkdir()
    for name in ("registry", "bin"):
        if Path(cargo, name).exists():
            (home / ".cargo" / name).symlink_to(Path(cargo, name))
    return {
        **kept,
        "HOME": str(home),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CARGO_NET_OFFLINE": "true",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "GIT_CEILING_DIRECTORIES": str(scratch),
    }


def _kache(words: list[str], where: Path, env: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["kache", *words],
        cwd=where,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"kache {words[0]} fails", done.stderr.strip()[-500:], "see what it says")


def _draw(browser: str, page: Path, picture: Path, env: Mapping[str, str]) -> None:
    argv = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
    ]
    argv += [
        f"--user-data-dir={page.parent / 'browser'}",
        f"--screenshot={picture}",
        "--window-size=1000,1300",
        page.as_uri(),
    ]
    done = subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=False, timeout=180)
    if done.returncode or not picture.exists():
        raise BenchError("the browser draws nothing", done.stderr.strip()[-500:], "see whether it starts by hand")


if __name__ == "__main__":
    sys.exit(main())
