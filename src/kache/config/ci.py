"""Who builds: a pull request must not write to what everybody reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_GITHUB_EVENTS = ("pull_request", "pull_request_target", "pull_request_review", "issue_comment", "merge_group")
_GITLAB_SOURCES = ("merge_request_event", "external_pull_request_event")


def pull_request(env: Mapping[str, str]) -> str:
    """What says that this is a build of a pull or merge request; empty if nothing does.

    GitHub: GITHUB_EVENT_NAME, of all events that run somebody's proposal; GitLab: CI_PIPELINE_SOURCE or
    CI_MERGE_REQUEST_IID. Elsewhere nobody says so: KACHE_REMOTE_READONLY=1 does.
    """
    event = env.get("GITHUB_EVENT_NAME", "")
    if event in _GITHUB_EVENTS:
        return f"GITHUB_EVENT_NAME={event}"
    if env.get("GITHUB_HEAD_REF"):
        return "GITHUB_HEAD_REF"
    source = env.get("CI_PIPELINE_SOURCE", "")
    if source in _GITLAB_SOURCES:
        return f"CI_PIPELINE_SOURCE={source}"
    return "CI_MERGE_REQUEST_IID" if env.get("CI_MERGE_REQUEST_IID") else ""
