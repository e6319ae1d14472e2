"""A job of GitLab CI that extends one of the template's: its scripts run in a scratch home as GitLab's runner would.

before_script and script are one shell, after_script is another. The cache comes before and goes after, as its policy
says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.pages import ROOT
from tests.support.sandbox import Sandbox

TEMPLATE = ROOT / "action" / "gitlab" / "kache.yml"
_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
_LIMIT_S = 300


class GitLabJob:
    """One job on one machine.

    Args:
        box: the machine's home; what belongs to kache in its environment is left out.
        workspace: the checkout.
        caches: directory of what runners share.
        extends: `.kache` or `.kache-bucket`.
        more: variables of the project and of the pipeline.
    """

    def __init__(self, box: Sandbox, workspace: Path, caches: Path, extends: str, **more: str) -> None:
        jobs = YAML(typ="safe").load(TEMPLATE.read_text())
        self._job: dict[str, Any] = {**jobs[".kache"], **jobs[extends]}
        self._caches = caches
        self.workspace = workspace
        self.log = ""
        kept = {name: value for name, value in box.env().items() if not name.startswith(("KACHE_", "RUSTC_WRAPPER"))}
        own = {
            "CI": "true",
            "CI_PROJECT_DIR": str(workspace),
            "CI_JOB_ID": str(box.root.name),
            "CI_JOB_NAME_SLUG": "test",
        }
        own |= {"CI_DEFAULT_BRANCH": "main", "TMPDIR": str(box.root)}
        self.env = {**kept, **own, **more}
        self.env = {**self._expanded({**self._job["variables"], **self._rule()}), **self.env}
        box.cache_dir = Path(self.env["KACHE_CACHE_DIR"])

    def run(self, *script: str) -> bool:
        """Run the job; whether its script succeeded."""
        cache = self._job["cache"]
        if cache:
            self._restore(self._filled(cache["key"]), cache["paths"][0])
        passed = self._shell([*self._job["before_script"], *script])
        self._shell(self._job["after_script"])
        if cache and "push" in self._filled(cache["policy"]):
            self._save(self._filled(cache["key"]), cache["paths"][0])
        return passed

    @property
    def report(self) -> str:
        """The artifact."""
        return Path(self.workspace, str(self._job["artifacts"]["paths"][0])).read_text()

    def _rule(self) -> dict[str, str]:
        """Variables of the first rule that holds."""
        for rule in self._job["rules"]:
            text = self._filled(re.sub(r"\$\w+", lambda found: f'"{found[0]}"', rule["if"]))
            if eval(text.replace("&&", " and ").replace("||", " or "), {"__builtins__": {}}):
                found: dict[str, str] = rule.get("variables", {})
                return found
        return {}

    def _expanded(self, variables: dict[str, str]) -> dict[str, str]:
        return {name: self._filled(text) for name, text in variables.items()}

    def _filled(self, text: str) -> str:
        return re.sub(r"\$(\w+)", lambda found: self.env.get(found[1], ""), text)

    def _shell(self, lines: list[str]) -> bool:
        done = subprocess.run(
            [*_SHELL, "\n".join(lines)],
            cwd=self.workspace,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        self.log += done.stdout
        return done.returncode == 0

    def _restore(self, key: str, path: str) -> None:
        if (self._caches / key).exists():
            # Other inodes and today's change times, as an archive gives them.
            shutil.copytree(self._caches / key, self.workspace / path)

    def _save(self, key: str, path: str) -> None:
        if not (self.workspace / path).exists():
            return  # GitLab says that no file matches, and goes on
        shutil.rmtree(self._caches / key, ignore_errors=True)
        shutil.copytree(self.workspace / path, self._caches / key)
