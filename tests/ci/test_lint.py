"""Actions, templates and workflows are what GitHub and GitLab take, by their own schemas and by linters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

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
        if "KACHE_NO_SERVERS" not in os.environ:
            raise
        pytest.skip(str(error))
    done = subprocess.run([actionlint, *workflows], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    done = subprocess.run(["shellcheck", "--exclude=SC2086", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_page_has_every_input_of_the_action_with_its_default() -> None:
    page = (ROOT / "docs" / "how-to" / "ci.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*?)\|", page, re.MULTILINE))
    inputs = YAML(typ="safe").load((ROOT / "action" / "action.yml").read_text())["inputs"]
    assert set(inputs) <= set(rows)
    told = {name: rows[name].strip(" `") for name in inputs if not str(inputs[name]["default"]).startswith("${{")}
    assert told == {name: str(inputs[name]["default"]) for name in told}
    of_save = YAML(typ="safe").load((ROOT / "action" / "save" / "action.yml").read_text())["inputs"]
    shared = {name: inputs[name]["default"] for name in of_save}
    assert {name: of_save[name]["default"] for name in of_save} == shared, "the same words mean the same in both"
