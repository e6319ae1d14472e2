"""Who may send to a remote, and what of an environment a remote has to know. Imports nothing of `kache.remote`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from kache.config.ci import namespace, pull_request
from kache.config.load import Config
from kache.config.paths import keys_dir
from kache.config.remote import RemotePlace, below
from kache.core.entry import InputKind, MemoInput

_PREFIXES = (b"KACHE_", b"AWS_", b"AZURE_", b"GOOGLE_", b"GITHUB_", b"CI_", b"XDG_", b"HOME=", b"PATH=", b"SSL_CERT_")
_SIGNING_ENV = "KACHE_REMOTE_SIGNING_KEY"
_SIGNING_NAME = "signing.key"
PULL_DIRECTORY = "pull"
"""Below the prefix of a remote: a directory for each pull request that may write."""


def relevant(env: Iterable[bytes]) -> dict[str, str]:
    """What of a caller's environment leads to a remote, its keys and its credentials."""
    pairs = (os.fsdecode(pair).partition("=") for pair in env if pair.startswith(_PREFIXES))
    return {name: value for name, _, value in pairs}


def why_not_write(config: Config, env: Mapping[str, str]) -> str:
    """Why nothing is sent from here to what everybody reads; empty if it is."""
    if config.remote_readonly:
        return f"remote_readonly is set ({config.origins.get('remote_readonly', 'KACHE_REMOTE_READONLY')})"
    request = pull_request(env)
    if request:
        return f"this is a build of a pull request ({request})"
    return "" if _has_key(env) else "there is no signing key"


def own_place(config: Config, env: Mapping[str, str]) -> RemotePlace | None:
    """Where this pull request's builds write, and they alone read; None for any other build, or if it may not."""
    if config.remote is None or config.remote_readonly or config.remote_pull_requests != "own":
        return None
    name = namespace(env)
    return below(config.remote, PULL_DIRECTORY, name) if name and _has_key(env) else None


def sent_to(config: Config, env: Mapping[str, str]) -> RemotePlace | None:
    """Where what is compiled here goes; None if nowhere."""
    own = own_place(config, env)
    return own if own is not None or why_not_write(config, env) else config.remote


def _has_key(env: Mapping[str, str]) -> bool:
    return bool(env.get(_SIGNING_ENV)) or (keys_dir(env) / _SIGNING_NAME).exists()


def source_of(inputs: Iterable[MemoInput]) -> bytes:
    """Content digest of the crate's root source: dep-info names it first, and so do memos."""
    return next((item.value for item in inputs if item.kind == InputKind.FILE), b"")
