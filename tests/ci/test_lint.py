"""Actions, templates and workflows are what GitHub and GitLab take, by their own schemas and by linters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.servers import ServersError, installed

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("action/**/*.sh"), *ROOT.glob("tools/*.sh")])


def schema(name: str, *files: Path, transform: str = "") -> None:
    words = ["--data-transform", transform] if transform else []
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{name}", *words, *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_actions_are_of_githubs_schema() -> None:
    actions = sorted(ROOT.glob("action/**/action.yml"))
    assert len(actions) == 2
    schema("github-actions", *actions)


def test_the_template_is_of_gitlabs_schema() -> None:
    schema("gitlab-ci", ROOT / "action" / "gitlab" / "kache.yml", transform="gitlab-ci")


def test_workflows_pass_actionlint() -> None:
    """Each workflow of ours, and one that uses the actions with the inputs that the page names."""
    workflows = sorted(ROOT.glob(".github/workflows/*.yml"))
    assert workflows
    try:
        actionlint = installed("actionlint")
    except ServersError as error:
        pytest.skip(str(error))
    done = subprocess.run([actionlint, *workflows], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    done = subprocess.run(["shellcheck", "--exclude=SC2086", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
