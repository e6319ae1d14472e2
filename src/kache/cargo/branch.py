"""On which branch and in which job a build runs: from git's HEAD and what CI says."""

from __future__ import annotations

import os
from collections.abc import Mapping

_BRANCHES = (b"GITHUB_HEAD_REF", b"GITHUB_REF_NAME", b"CI_COMMIT_REF_NAME", b"BUILDKITE_BRANCH", b"CIRCLE_BRANCH")
_JOBS = (b"GITHUB_JOB", b"CI_JOB_NAME", b"BUILDKITE_STEP_KEY", b"CIRCLE_JOB")
_MAX = 200
_HEAD = b"ref: refs/heads/"


def job_of(env: Mapping[bytes, bytes]) -> str:
    """Name of the CI job; empty elsewhere."""
    return _first(env, _JOBS)


def branch_of(root: bytes, env: Mapping[bytes, bytes]) -> str:
    """Name of the branch; empty for a detached HEAD and outside of git."""
    said = _first(env, _BRANCHES)
    if said:
        return said
    directory = root
    while True:
        git = os.path.join(directory, b".git")
        try:
            if os.path.isfile(git):  # a worktree: `gitdir: …`
                with open(git, "rb") as file:
                    named = file.read(4096).removeprefix(b"gitdir:").strip()
                git = os.path.join(directory, named)
            with open(os.path.join(git, b"HEAD"), "rb") as file:
                head = file.read(4096).strip()
        except OSError:
            if directory in (b"/", b""):
                return ""
            directory = os.path.dirname(directory)
            continue
        return head.removeprefix(_HEAD).decode(errors="replace")[:_MAX] if head.startswith(_HEAD) else ""


def _first(env: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> str:
    value = next((env[name] for name in names if env.get(name)), b"")
    return value.decode(errors="replace")[:_MAX]
