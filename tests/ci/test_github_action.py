"""The GitHub action's steps, run as scripts: what one job compiled, the next does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.github_job import GitHubCaches, GitHubJob
from tests.support.projects import chain, hello
from tests.support.sandbox import KACHE, Sandbox

MakeBox = Callable[[str], Sandbox]
FILES = chain()
READY = {"install": "path", "run": "cargo build"}


def job(make_box: MakeBox, where: str, caches: GitHubCaches, **more: str) -> GitHubJob:
    """A machine of its own with a checkout at a path of its own, and kache in its image."""
    box = make_box("daemon")
    path = f"{KACHE.parent}{os.pathsep}{box.env()['PATH']}"
    return GitHubJob(box, box.checkout(where, FILES).path, caches, **{"PATH": path, **more})


@pytest.fixture
def caches(tmp_path: Path) -> GitHubCaches:
    return GitHubCaches(tmp_path / "caches")


def test_with_githubs_cache_the_second_run_is_all_hits(make_box: MakeBox, caches: GitHubCaches) -> None:
    first = job(make_box, "one/work", caches)
    first.use("action", **READY).succeeded()
    assert "| 0 of 3 (0 %) | 3 |" in first.summary
    second = job(make_box, "another/place/work", caches, GITHUB_RUN_ID="2")
    ended = second.use("action", **READY).succeeded()
    assert "| 3 of 3 (100 %) | 0 |" in second.summary
    assert ended.outputs["restore"]["cache-matched-key"] == caches.keys[1]
    assert len(caches.keys) == 2, "each run of the main branch saves"


def test_a_pull_request_reads_and_saves_nothing(make_box: MakeBox, caches: GitHubCaches) -> None:
    job(make_box, "work", caches).use("action", **READY).succeeded()
    proposal = job(make_box, "work", caches, GITHUB_EVENT_NAME="pull_request", GITHUB_RUN_ID="2")
    proposal.use("action", **READY).succeeded()
    assert "| 3 of 3 (100 %) | 0 |" in proposal.summary
    assert len(caches.keys) == 1
    asked = job(make_box, "work", caches, GITHUB_EVENT_NAME="pull_request", GITHUB_RUN_ID="3")
    asked.use("action", **READY, save="always").succeeded()
    assert len(caches.keys) == 2, "`save: always` asks for it"


def keys(box: Sandbox) -> tuple[str, str]:
    """A secret key and its public one."""
    found = box.data("keys", "generate", "--secret")
    return found["secret"], found["public"]


def test_with_a_remote_steps_of_the_users_own_and_the_last_step_share_it(
    make_box: MakeBox, caches: GitHubCaches, tmp_path: Path
) -> None:
    """The signing key is in the last step alone; a build never sees it."""
    secret, public = keys(make_box("in-process"))
    remote = {"install": "path", "remote": f"file://{tmp_path}/shared", "trusted_keys": public, "trust_domain": "us"}
    (tmp_path / "shared").mkdir()
    first = job(make_box, "one/work", caches)
    first.use("action", **remote).succeeded()
    built = subprocess.run(
        ["bash", "-ec", "cargo build; env"],
        cwd=first.workspace,
        env=first.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "KACHE_REMOTE_SIGNING_KEY" not in built.stdout
    saved = first.use("action/save", signing_key=secret).succeeded()
    assert "sent: 3 entries" in saved.log
    assert "::warning" not in saved.log
    assert "| 0 of 3 (0 %) | 3 |" in first.summary
    patient = {"KACHE_REMOTE_STALL": "30", "KACHE_REMOTE_WAIT": "60"}
    proposal = job(make_box, "two/work", caches, GITHUB_EVENT_NAME="pull_request", **patient)
    ended = proposal.use("action", **remote, run="cargo build", signing_key=secret).succeeded()
    assert "| 3 of 3 (100 %) | 0 |" in proposal.summary
    fetched = ended.log.partition("## Prefetch\n")[2].partition("##")[0]
    assert "3" in fetched and "::notice" not in fetched, "by the manifest that the first job saved"
    assert "sent:" not in ended.log, "a pull request sends nothing, not even with a key"
    assert caches.keys == [], "GitHub's cache is not used beside a remote"


def test_a_build_that_fails_fails_the_step_and_what_was_compiled_is_saved(
    make_box: MakeBox, caches: GitHubCaches
) -> None:
    failing = job(make_box, "work", caches)
    ended = failing.use("action", install="path", run="cargo build\nfalse\necho never")
    assert ended.failed == ["Build"]
    assert "never" not in ended.log
    assert len(caches.keys) == 1 and "| 0 of 3 (0 %) | 3 |" in failing.summary


def test_it_installs_itself_from_the_actions_own_checkout(make_box: MakeBox, caches: GitHubCaches) -> None:
    """What `uses: owner/kache/action@ref` does where no release is: pip and cargo, for real."""
    box = make_box("daemon")
    here = GitHubJob(box, box.checkout("work", hello()).path, caches, PIP_CACHE_DIR=str(Path(tmp_cache())))
    ended = here.use("action", run="cargo build").succeeded()
    assert ended.outputs["install"]["kache"] == f"{here.env['RUNNER_TEMP']}/kache/bin/kache"
    assert "| 0 of 2 (0 %) | 2 |" in here.summary


def tmp_cache() -> str:
    """Where pip keeps what it fetched on this machine."""
    done = subprocess.run(["python3", "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "/nonexistent"


@pytest.mark.parametrize(
    ("inputs", "more", "says"),
    [
        ({"install": "/nonexistent.whl"}, {}, "pip could not install /nonexistent.whl"),
        ({"install": "path"}, {"PATH": "/usr/bin:/bin"}, "kache is not on PATH"),
        ({"install": "path", "save": "sometimes"}, {}, "it is not one of auto, always, never"),
    ],
    ids=["a wheel that is not there", "no kache in the image", "an unknown word for save"],
)
def test_bad_input_says_what_why_and_the_way_out(
    make_box: MakeBox, caches: GitHubCaches, inputs: dict[str, str], more: dict[str, str], says: str
) -> None:
    ended = job(make_box, "work", caches, **more).use("action", **inputs, run="cargo build")
    assert ended.failed and says in ended.log and "Fix: " in ended.log
    assert "Build" not in ended.ran


def test_the_last_step_without_the_first_says_so(make_box: MakeBox, caches: GitHubCaches) -> None:
    ended = job(make_box, "work", caches).use("action/save")
    assert ended.failed and "Fix: use it before this one" in ended.log
