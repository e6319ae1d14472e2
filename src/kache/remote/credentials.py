"""AWS credentials: what the environment, the shared files and their programs give, renewed before they expire.

The order is the AWS tools': KACHE_S3_ACCESS_KEY, AWS_ACCESS_KEY_ID, web identity, the profile's keys or its
`credential_process`, container and instance roles. Web identity and roles are the client library's own; SSO and
`role_arn` profiles need boto3 beside kache, which knows all of it.
"""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kache.errors import RemoteDeniedError

Provider = Callable[[], Any]
_PROCESS_LIMIT_S = 60
_PASSED = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
}
_NEEDS_BOTO3 = ("sso_session", "sso_start_url", "role_arn", "source_profile")


def aws_credentials(profile: str, env: Mapping[str, str]) -> dict[str, Any] | Provider:
    """What to give the client: settings of its own, or a function it calls whenever it needs new ones.

    Args:
        profile: the configured one; empty for AWS_PROFILE or `default`.
        env: the caller's environment.

    Raises:
        RemoteDeniedError: the profile is not there, or cannot be used without boto3.
    """
    if not profile:
        for prefix in ("KACHE_S3_", "AWS_"):
            key = env.get(f"{prefix}ACCESS_KEY" if prefix == "KACHE_S3_" else "AWS_ACCESS_KEY_ID", "")
            secret = env.get(f"{prefix}SECRET_KEY" if prefix == "KACHE_S3_" else "AWS_SECRET_ACCESS_KEY", "")
            if key and secret:
                token = env.get("AWS_SESSION_TOKEN", "") if prefix == "AWS_" else ""
                return _keys(key, secret, token)
        if "AWS_WEB_IDENTITY_TOKEN_FILE" in env:
            return {own: env[name] for name, own in _PASSED.items() if env.get(name)}
    name = profile or env.get("AWS_PROFILE") or "default"
    section = _profile(name, env)
    if section.get("aws_access_key_id") and section.get("aws_secret_access_key"):
        return _keys(
            section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
        )
    if section.get("credential_process"):
        return _process(section["credential_process"], env)
    if any(section.get(key) for key in _NEEDS_BOTO3):
        return _boto3(name)
    if profile:
        raise RemoteDeniedError(f"no AWS profile {profile!r} with credentials", why="looked in the shared AWS files")
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


def _process(command: str, env: Mapping[str, str]) -> Provider:
    def ask() -> dict[str, Any]:
        try:
            done = subprocess.run(
                shlex.split(command), env=dict(env), capture_output=True, timeout=_PROCESS_LIMIT_S, check=True
            )
            answer = json.loads(done.stdout)
            expires = answer.get("Expiration")
            return {
                "access_key_id": answer["AccessKeyId"],
                "secret_access_key": answer["SecretAccessKey"],
                "token": answer.get("SessionToken"),
                "expires_at": datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
            }
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            raise RemoteDeniedError("credential_process gave no credentials", why=str(error)) from error

    return ask


def _boto3(profile: str) -> Provider:
    try:
        import boto3  # type: ignore[import-not-found]
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        why = "it signs in by SSO or takes on a role, which boto3 does"
        raise RemoteDeniedError(
            f"the AWS profile {profile!r} needs boto3", why=why, fix="pip install boto3, beside kache"
        ) from error
    provider: Provider = Boto3CredentialProvider(boto3.session.Session(profile_name=profile))
    return provider
