"""A scratch home for `kache init`: a cargo home of its own, no service manager unless a fake one is asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from tests.support.cli import CliBox
from tests.support.sandbox import KACHE

WRAPPER = str(KACHE)
_SYSTEMCTL = """\
#!/bin/sh
# Stands in for systemctl: notes its words, and makes and removes the link that enabling makes.
echo "$*" >>"{log}"
wants="$HOME/.config/systemd/user/default.target.wants"
case "$2" in
    enable) [ ! -e "{fail}" ] || {{ echo "no bus" >&2; exit 1; }}
        mkdir -p "$wants" && ln -sf ../kache.service "$wants/kache.service" ;;
    disable) rm -f "$wants/kache.service" ;;
esac
"""

Tree = dict[str, tuple[str, int, bytes]]


class InitBox(CliBox):
    """See above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings = {"KACHE_DAEMON": "0"}

    @property
    def cargo_home(self) -> Path:
        return self.home / ".cargo"

    @property
    def config(self) -> Path:
        return self.cargo_home / "config.toml"

    def env(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """No wrapper, no CI, bash; the cargo home is below the scratch home."""
        gone = ("RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER", "CI", "SUDO_UID", "XDG_RUNTIME_DIR", "CARGO_INCREMENTAL")
        kept = {name: value for name, value in super().env().items() if name not in gone}
        own = {"CARGO_HOME": str(self.cargo_home), "SHELL": "/bin/bash", "XDG_RUNTIME_DIR": str(self.root / "run")}
        return {**kept, **own, **self.settings, **(more or {})}

    def init(self, *words: str, env: dict[str, str] | None = None) -> Any:
        """`kache init --no-probe WORDS…`; the undo has no probe."""
        flags = () if "--undo" in words else ("--no-probe",)
        return self.run("init", *flags, *words, env=env)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file below the home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def tree(self) -> Tree:
        """Everything below the home and the working directory: kind, mode, content or where a link leads."""
        found: Tree = {}
        for top in (self.home, self.cwd):
            for directory, names, files in os.walk(top):
                for name in (*names, *files):
                    path = Path(directory, name)
                    found[str(path.relative_to(self.root))] = _facts(path)
        return found

    def fake_systemd(self) -> Path:
        """Have a user manager: a `systemctl` that only notes its words, in the file that is returned."""
        log = self.root / "systemctl.log"
        programs = self.root / "bin"
        programs.mkdir()
        script = programs / "systemctl"
        script.write_text(_SYSTEMCTL.format(log=log, fail=self.root / "fail"))
        script.chmod(0o755)
        (self.root / "run" / "systemd").mkdir(parents=True)
        (self.root / "run" / "systemd" / "private").touch()
        self.settings["PATH"] = f"{programs}:{os.environ['PATH']}"
        self.settings["KACHE_DAEMON"] = "1"
        return log


def _facts(path: Path) -> tuple[str, int, bytes]:
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        return "link", 0, os.fsencode(os.readlink(path))
    if stat.S_ISDIR(facts.st_mode):
        return "directory", stat.S_IMODE(facts.st_mode), b""
    return "file", stat.S_IMODE(facts.st_mode), path.read_bytes()
