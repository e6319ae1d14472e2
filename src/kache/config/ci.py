"""Who builds: a pull request must not write to what everybody reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b

EXPLICIT_ENV = "KACHE_PULL_REQUEST"
"""Set where nobody else says that this is one: a name or number of it, which is then its namespace."""
_GITHUB_EVENTS = ("pull_request", "pull_request_target", "pull_request_review", "issue_comment", "merge_group")
_GITLAB_SOURCES = ("merge_request_event", "external_pull_request_event")
_NO = ("", "0", "false", "no", "off")
_NAME_LIMIT = 64


def pull_request(env: Mapping[str, str]) -> str:
    """What says that this is a build of a pull or merge request; empty if nothing does.

    GitHub: GITHUB_EVENT_NAME, of all events that run somebody's proposal; GitLab: CI_PIPELINE_SOURCE or
    CI_MERGE_REQUEST_IID. Elsewhere nobody says so: KACHE_PULL_REQUEST does.
    """
    explicit = env.get(EXPLICIT_ENV, "")
    if explicit.lower() not in _NO:
        return f"{EXPLICIT_ENV}={explicit}"
    event = env.get("GITHUB_EVENT_NAME", "")
    if event in _GITHUB_EVENTS:
        return f"GITHUB_EVENT_NAME={event}"
    if env.get("GITHUB_HEAD_REF"):
        return "GITHUB_HEAD_REF"
    source = env.get("CI_PIPELINE_SOURCE", "")
    if source in _GITLAB_SOURCES:
        return f"CI_PIPELINE_SOURCE={source}"
    return "CI_MERGE_REQUEST_IID" if env.get("CI_MERGE_REQUEST_IID") else ""


def namespace(env: Mapping[str, str]) -> str:
    """A plain name for what a pull request may write, the same for all of its builds; empty if this is none.

    Of two projects in one bucket, requests of the same number get two.
    """
    if not pull_request(env):
        return ""
    explicit = env.get(EXPLICIT_ENV, "")
    project = env.get("GITHUB_REPOSITORY") or env.get("CI_PROJECT_PATH") or env.get("CI_PROJECT_ID") or ""
    number = re.match(r"refs/pull/(\d+)/", env.get("GITHUB_REF", ""))
    which = (
        (explicit if explicit.lower() not in _NO else "")
        or (number[1] if number else "")
        or env.get("CI_MERGE_REQUEST_IID")
        or env.get("CI_EXTERNAL_PULL_REQUEST_IID")
        or env.get("GITHUB_HEAD_REF")
        or env.get("GITHUB_REF")
        or "request"
    )
    text = f"{project}/{which}" if project else which
    mark = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:_NAME_LIMIT]
    return f"{plain}-{mark}" if plain else mark
