"""The GitLab template's scripts, run as scripts: what one job compiled, the next does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gitlab_job import GitLabJob
from tests.support.projects import chain
from tests.support.sandbox import KACHE, Sandbox

MakeBox = Callable[[str], Sandbox]
MAIN = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7"}
PATIENT = {"KACHE_REMOTE_STALL": "30", "KACHE_REMOTE_WAIT": "60"}


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    made = tmp_path / "caches"
    made.mkdir()
    return made


def job(make_box: MakeBox, where: str, caches: Path, extends: str = ".kache", **more: str) -> GitLabJob:
    """A machine of its own with a checkout at a path of its own, and kache in its image."""
    box = make_box("daemon")
    path = f"{KACHE.parent}{os.pathsep}{box.env()['PATH']}"
    ready = {"PATH": path, "KACHE_INSTALL": "path"}
    return GitLabJob(box, box.checkout(where, chain()).path, caches, extends, **{**ready, **more})


def test_with_gitlabs_cache_the_second_run_is_all_hits_and_merge_requests_save_nothing(
    make_box: MakeBox, caches: Path
) -> None:
    first = job(make_box, "one/work", caches, **MAIN)
    assert first.run("cargo build"), first.log
    assert "| 0 of 3 (0 %) | 3 |" in first.report
    saved = sorted(path.stat().st_ino for path in caches.rglob("*"))
    request = job(make_box, "two/work", caches, **REQUEST)
    assert request.run("cargo build"), request.log
    assert "| 3 of 3 (100 %) | 0 |" in request.report
    assert sorted(path.stat().st_ino for path in caches.rglob("*")) == saved, "read only"


def test_with_a_bucket_only_the_branch_that_has_the_key_sends(make_box: MakeBox, caches: Path, tmp_path: Path) -> None:
    made = make_box("in-process").data("keys", "generate", "--secret")
    (tmp_path / "shared").mkdir()
    remote = {"KACHE_REMOTE": f"file://{tmp_path}/shared", "KACHE_REMOTE_TRUSTED_KEYS": made["public"], **PATIENT}
    first = job(
        make_box, "one/work", caches, ".kache-bucket", KACHE_REMOTE_SIGNING_KEY=made["secret"], **remote, **MAIN
    )
    assert first.run("cargo build"), first.log
    assert "kache: " not in first.log, "nothing to complain about"
    second = job(make_box, "two/work", caches, ".kache-bucket", **remote, **REQUEST)
    assert second.run("cargo build"), second.log
    assert "| 3 of 3 (100 %) | 0 |" in second.report
    assert not list(caches.iterdir())


def test_a_script_that_fails_fails_the_job_and_leaves_a_report(make_box: MakeBox, caches: Path) -> None:
    failing = job(make_box, "work", caches, **MAIN)
    assert not failing.run("cargo build", "false")
    assert "| 0 of 3 (0 %) | 3 |" in failing.report


def test_nothing_said_about_where_to_install_from_says_how(make_box: MakeBox, caches: Path) -> None:
    silent = job(make_box, "work", caches, KACHE_INSTALL="", **MAIN)
    assert not silent.run("cargo build")
    assert "the variable KACHE_INSTALL is empty. Fix: " in silent.log
