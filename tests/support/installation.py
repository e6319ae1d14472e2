"""A second installation of kache that a test may change: an environment with a copy of the package and the launcher."""

from __future__ import annotations

import shutil
import sysconfig
import venv
from pathlib import Path

from tests.support.sandbox import KACHE


class Installation:
    """An environment of its own that sees this one's libraries.

    Args:
        where: an absent directory.

    Attributes:
        kache: its launcher.
        package: its copy of the Python package.
    """

    def __init__(self, where: Path) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(where)
        site = next((where / "lib").glob("python*")) / "site-packages"
        libraries = Path(sysconfig.get_path("platlib"))
        self.package = site / "kache"
        shutil.copytree(libraries / "kache", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        # Behind the copy on the path: its own kache is never found.
        (site / "libraries.pth").write_text(f"{libraries}\n")
        self.python = where / "bin" / "python"
        self.kache = where / "bin" / "kache"
        shutil.copy2(KACHE, self.kache)
        self.script = where / "bin" / "kache-python"
        self.script.write_text(f"#!{self.python}\n")
        self.script.chmod(0o755)

    def become_version(self, version: str) -> None:
        """Make the package another version than the launcher's."""
        for path in (self.package / "__init__.py",):
            text = path.read_text()
            line = next(line for line in text.splitlines() if line.startswith("__version__"))
            path.write_text(text.replace(line, f'__version__ = "{version}"'))
