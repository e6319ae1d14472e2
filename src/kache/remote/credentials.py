"""AWS credentials: what the environment, the shared files and their programs give, renewed before they expire.

The order is the AWS tools': KACHE_S3_ACCESS_KEY, AWS_ACCESS_KEY_ID, web identity, the profile's role, single sign-on,
`credential_process` or keys, container and instance roles. Web identity and the roles of machines are the client
library's own; roles and single sign-on of profiles are boto3's, which runs in a process of its own
(`kache.remote.aws_profile`): it reads the caller's environment, not the daemon's, and takes no memory of the daemon.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kache.errors import RemoteDeniedError

Provider = Callable[[], dict[str, Any]]
_PROCESS_LIMIT_S = 60
_REREAD = timedelta(minutes=10)
"""Keys of a file are read again by then: sign-in tools write new ones there. The client asks 5 minutes before."""
_ENDS_SOON = timedelta(minutes=5)
"""The client takes what ends so soon for ended."""
_PASSED = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_ENDPOINT_URL_STS": "endpoint_url_sts",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "metadata_endpoint",
}
_SIGN_IN = ("sso_session", "sso_start_url")
_ROLE = ("role_arn", "source_profile", "web_identity_token_file")
_EXTRA = "pip install 'kache[aws]', into the environment that kache is installed in"


@dataclass(frozen=True, slots=True)
class Source:
    """Where credentials come from.

    Attributes:
        says: that, for people.
        settings: of the client, which asks for credentials itself if they hold no keys.
        provider: called by the client whenever it needs new ones; None where the settings say enough.
        region: of the profile.
    """

    says: str
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    provider: Provider | None = None
    region: str = ""

    def key_id(self) -> str:
        """The id of the key in use, which is no secret; empty if only the client knows it.

        Raises:
            RemoteDeniedError: there are none.
        """
        found = self.provider() if self.provider else self.settings
        return str(found.get("access_key_id", ""))


def aws_credentials(profile: str, env: Mapping[str, str], *, anonymous: bool = False) -> Source:
    """Find them.

    Args:
        profile: the configured one; empty for AWS_PROFILE or `default`.
        env: the caller's environment.
        anonymous: without any, ask without, and no machine for its role.

    Raises:
        RemoteDeniedError: the profile is not there, or cannot be used without boto3.
    """
    name = profile or env.get("AWS_PROFILE") or "default"
    if not profile:
        found = _of_environment(env)
        if found is not None:
            return found
    section = _profile(name, env)
    region = section.get("region", "")
    if any(section.get(key) for key in _ROLE):
        return Source(f"profile {name}, which takes on a role", provider=_boto3(name, env), region=region)
    if any(section.get(key) for key in _SIGN_IN):
        return Source(f"profile {name}, by single sign-on", provider=_boto3(name, env), region=region)
    if section.get("credential_process"):
        command = shlex.split(section["credential_process"])
        return Source(
            f"profile {name}, by its credential_process", provider=_process(command, env, name), region=region
        )
    if section.get("aws_access_key_id") and section.get("aws_secret_access_key"):
        return Source(f"profile {name}", provider=_file(name, env), region=region)
    if profile:
        raise RemoteDeniedError(f"no AWS profile {profile!r} with credentials", why="looked in the shared AWS files")
    return _of_machine(env, region, anonymous=anonymous)


def _of_environment(env: Mapping[str, str]) -> Source | None:
    for key, secret, token in (
        ("KACHE_S3_ACCESS_KEY", "KACHE_S3_SECRET_KEY", "KACHE_S3_SESSION_TOKEN"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ):
        if env.get(key) and env.get(secret):
            return Source(key, _keys(env[key], env[secret], env.get(token, "")))
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return Source(f"web identity, role {env.get('AWS_ROLE_ARN', '?')}", _passed(env))
    return None


def _of_machine(env: Mapping[str, str], region: str, *, anonymous: bool) -> Source:
    if any(name.startswith("AWS_CONTAINER_CREDENTIALS") and value for name, value in env.items()):
        return Source("the container's role", _passed(env), region=region)
    if anonymous:
        return Source("nobody: without credentials", {"skip_signature": True}, region=region)
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        why = "neither the environment, nor a profile, nor a container has any"
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; docs/how-to/remote.md lists all ways"
        raise RemoteDeniedError("there are no AWS credentials", why=why, fix=fix)
    return Source("the machine's role", _passed(env), region=region)


def _passed(env: Mapping[str, str]) -> dict[str, Any]:
    return {own: env[variable] for variable, own in _PASSED.items() if env.get(variable)}


def _keys(key: str, secret: str, token: str) -> dict[str, Any]:
    found = {"access_key_id": key, "secret_access_key": secret}
    return {**found, "session_token": token} if token else found


def _profile(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """A profile's settings: the config file's, and over them the credentials file's."""
    below = Path(env.get("HOME", "/"), ".aws")
    merged: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(env.get(variable) or below / file)
        except (configparser.Error, UnicodeDecodeError) as error:
            raise RemoteDeniedError(f"cannot read the AWS {file} file", why=str(error)) from error
        if parser.has_section(section):
            merged |= dict(parser.items(section))
    return merged


def _file(name: str, env: Mapping[str, str]) -> Provider:
    """Keys of the shared files, as they are now."""

    def read() -> dict[str, Any]:
        section = _profile(name, env)
        try:
            return {
                "access_key_id": section["aws_access_key_id"],
                "secret_access_key": section["aws_secret_access_key"],
                "token": section.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + _REREAD,
            }
        except KeyError as error:
            raise RemoteDeniedError(f"the AWS profile {name!r} has no {error} any more") from error

    return read


class _Kept:
    """A provider whose answer is kept while it lasts.

    A build waits shorter than some of these programs take: what comes too late for one request is there for the next.
    """

    def __init__(self, ask: Provider) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answer: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        with self._lock:
            ends = self._answer.get("expires_at") if self._answer else None
            if self._answer is None or (ends is not None and ends - datetime.now(UTC) < _ENDS_SOON):
                self._answer = self._ask()
            return self._answer


def _process(command: Sequence[str], env: Mapping[str, str], name: str) -> Provider:
    """What a program prints, in the form that `credential_process` has."""

    def ask() -> dict[str, Any]:
        what = f"the credential_process of profile {name} gave no credentials"
        try:
            done = subprocess.run(
                command,
                env=dict(env),
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_PROCESS_LIMIT_S,
                check=False,
            )
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
                raise RemoteDeniedError(what, why=said or f"it ended with {done.returncode}")
            answer = json.loads(done.stdout)
            expires = answer.get("Expiration")
            return {
                "access_key_id": answer["AccessKeyId"],
                "secret_access_key": answer["SecretAccessKey"],
                "token": answer.get("SessionToken"),
                "expires_at": datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
            }
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RemoteDeniedError(what, why=f"{type(error).__name__}: {error}"[:300]) from error

    return _Kept(ask)


def _boto3(profile: str, env: Mapping[str, str]) -> Provider:
    if importlib.util.find_spec("boto3") is None:
        why = "it signs in or takes on a role, which boto3 does, and that is not installed"
        raise RemoteDeniedError(f"the AWS profile {profile!r} needs boto3", why=why, fix=_EXTRA)
    # -P: the current directory may hold anything.
    argv = [sys.executable, "-P", "-m", "kache.remote.aws_profile", profile]
    return _process(argv, {"PATH": os.defpath, **env}, profile)
