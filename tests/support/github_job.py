"""A job of GitHub Actions, as far as a composite action can tell: its steps run as scripts in a scratch home.

    job = GitHubJob(box, checkout, caches, event="push")
    job.use("action", run="cargo build").succeeded()

Real bash and real programs. What GitHub's runner does around them is done here: expressions, conditions, the files
that GITHUB_ENV, GITHUB_PATH and GITHUB_OUTPUT name. GitHub's cache service is a directory: keys are written once, and
found by prefix.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.pages import ROOT
from tests.support.sandbox import Sandbox

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_NAME = re.compile(r"'[^']*'|[a-z]+(?:\.[\w-]+)+")
_STEP_LIMIT_S = 300


class GitHubCaches:
    """The cache service of one repository.

    Args:
        directory: where saved directories are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True)

    @property
    def keys(self) -> list[str]:
        """What was saved, the newest first."""
        saved = sorted(self._directory.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [path.name for path in saved]

    def save(self, key: str, path: Path) -> None:
        """Keep a copy; a key is never written twice."""
        assert key not in self.keys, f"GitHub refuses to save {key} again"
        shutil.copytree(path, self._directory / key)
        os.utime(self._directory / key)

    def restore(self, wanted: str, prefix: str, path: Path) -> str:
        """Put back the very key, or the newest that begins with the prefix; the key found, or nothing."""
        found = next((key for key in self.keys if key == wanted or (prefix and key.startswith(prefix))), "")
        if found:
            # As an archive is unpacked: other inodes, today's change times.
            shutil.copytree(self._directory / found, path, dirs_exist_ok=True)
        return found


@dataclass
class Ended:
    """How an action ended.

    Attributes:
        outputs: of each step with an id.
        log: what all steps printed.
        failed: names of steps that failed.
        ran: names of steps that ran.
    """

    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""
    failed: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def succeeded(self) -> Ended:
        """No step failed."""
        assert not self.failed, self.log
        return self


class GitHubJob:
    """One job on one machine.

    Args:
        box: the machine's home; what belongs to kache in its environment is left out.
        workspace: the checkout.
        caches: of the repository.
        more: further variables: GITHUB_EVENT_NAME and the like, credentials.

    Attributes:
        github: of the context of that name, what is not the default.
    """

    def __init__(self, box: Sandbox, workspace: Path, caches: GitHubCaches, **more: str) -> None:
        self._temp = box.root / "runner"
        self._temp.mkdir()
        self._caches = caches
        self.github: dict[str, str] = {}
        self.workspace = workspace
        box.cache_dir = self._temp / "kache-cache"  # a job that fails leaves a daemon there
        kept = {name: value for name, value in box.env().items() if not name.startswith(("KACHE_", "RUSTC_WRAPPER"))}
        files = {name: str(self._file(name)) for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
        own = {
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(self._temp),
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
            "CI": "true",
        }
        event = {"GITHUB_EVENT_NAME": "push", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1"}
        self.env = {**kept, **own, **files, **event, **more}

    @property
    def summary(self) -> str:
        """The job's summary."""
        return self._file("GITHUB_STEP_SUMMARY").read_text()

    def use(self, action: str, **inputs: str) -> Ended:
        """Run the steps of a composite action of this repository; inputs with `_` where the name has a dash."""
        document = YAML(typ="safe").load((ROOT / action / "action.yml").read_text())
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(document["inputs"])
        contexts: dict[str, Any] = {
            "github": {"job": "test", "action_ref": "", "action_repository": "", **self.github},
            "inputs": {},
            "steps": {},
            "env": self.env,
        }
        for name, described in document["inputs"].items():
            contexts["inputs"][name] = given.get(name, _filled(str(described.get("default", "")), contexts))
        ended = Ended()
        for step in document["runs"]["steps"]:
            self._step(step, ROOT / action, contexts, ended)
        return ended

    def _step(self, step: dict[str, Any], action: Path, contexts: dict[str, Any], ended: Ended) -> None:
        condition = str(step.get("if", ""))
        if (ended.failed and "always()" not in condition) or (condition and not _value(condition, contexts)):
            return
        ended.ran.append(step["name"])
        output = self._file("GITHUB_OUTPUT")
        output.write_text("")
        if "uses" in step:
            self._cache(step, contexts, output)
        else:
            self._script(step, action, contexts, ended)
        if "id" in step:
            outputs = dict(line.partition("=")[::2] for line in output.read_text().splitlines())
            ended.outputs[step["id"]] = outputs
            contexts["steps"][step["id"]] = {"outputs": outputs}
        self.env |= dict(line.partition("=")[::2] for line in self._file("GITHUB_ENV").read_text().splitlines())
        added = self._file("GITHUB_PATH").read_text().split()
        self.env["PATH"] = os.pathsep.join(dict.fromkeys([*reversed(added), *self.env["PATH"].split(os.pathsep)]))

    def _script(self, step: dict[str, Any], action: Path, contexts: dict[str, Any], ended: Ended) -> None:
        own = {name: _filled(str(text), contexts) for name, text in step.get("env", {}).items()}
        where = self.workspace / _filled(str(step.get("working-directory", ".")), contexts)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", _filled(step["run"], contexts)],
            cwd=where,
            env={
                **self.env,
                **own,
                "GITHUB_ACTION_PATH": str(action),
                "GITHUB_OUTPUT": str(self._file("GITHUB_OUTPUT")),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_STEP_LIMIT_S,
            check=False,
        )
        ended.log += f"## {step['name']}\n{done.stdout}"
        if done.returncode:
            ended.failed.append(step["name"])

    def _cache(self, step: dict[str, Any], contexts: dict[str, Any], output: Path) -> None:
        words = {name: _filled(str(text), contexts) for name, text in step["with"].items()}
        if step["uses"].startswith("actions/cache/save@"):
            self._caches.save(words["key"], Path(words["path"]))
        else:
            assert step["uses"].startswith("actions/cache/restore@")
            found = self._caches.restore(words["key"], words["restore-keys"], Path(words["path"]))
            output.write_text(f"cache-matched-key={found}\n")

    def _file(self, name: str) -> Path:
        path = self._temp / name.lower()
        path.touch()
        return path


def _filled(text: str, contexts: dict[str, Any]) -> str:
    return _EXPRESSION.sub(lambda found: str(_value(found[1], contexts)), text)


def _value(expression: str, contexts: dict[str, Any]) -> Any:
    """An expression of the kind these actions use: names, texts, comparisons, `&&`, `||`, always()."""
    names: dict[str, Any] = {}

    def named(found: re.Match[str]) -> str:
        if found[0].startswith("'"):
            return found[0]
        value: Any = contexts
        for part in found[0].split("."):
            value = value.get(part, {})
        names[f"v{len(names)}"] = value or ""
        return f"v{len(names) - 1}"

    text = _NAME.sub(named, expression).replace("&&", " and ").replace("||", " or ").replace("always()", "True")
    return eval(text, {"__builtins__": {}}, names)
