"""As whom a remote is asked: what `kache doctor` and `kache remote status` say. No secret is in it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping

from kache.config.remote import RemotePlace
from kache.remote.credentials import aws_credentials

_AZURE_WAYS = (
    ("AZURE_STORAGE_ACCOUNT_KEY", "the account's key (AZURE_STORAGE_ACCOUNT_KEY)"),
    ("AZURE_STORAGE_SAS_TOKEN", "a shared access signature (AZURE_STORAGE_SAS_TOKEN)"),
)


_OTHERS = {
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
_NOBODY = "nobody: without credentials"


def is_nobody(place: RemotePlace, env: Mapping[str, str]) -> bool:
    """Whether Azure or Google is asked without credentials."""
    return place.is_anonymous and not any(env.get(name) for name in _OTHERS[place.kind])


def whose(place: RemotePlace, env: Mapping[str, str]) -> str:
    """Who we are to a remote, and what says so.

    Raises:
        RemoteDeniedError: there are no credentials.
    """
    if place.kind == "s3":
        source = aws_credentials(place.profile, env, anonymous=place.is_anonymous)
        key_id = source.key_id()
        return f"access key {key_id} ({source.says})" if key_id else source.says
    if place.kind == "az":
        return _NOBODY if is_nobody(place, env) else _azure(env)
    if place.kind == "gs":
        return _NOBODY if is_nobody(place, env) else _google(place, env)
    return f"the user {_user(env)}"


def _azure(env: Mapping[str, str]) -> str:
    for variable, says in _AZURE_WAYS:
        if env.get(variable):
            return says
    if env.get("AZURE_CLIENT_ID"):
        return f"the application {env['AZURE_CLIENT_ID']} (AZURE_CLIENT_ID)"
    return "the machine's identity"


def _google(place: RemotePlace, env: Mapping[str, str]) -> str:
    if place.endpoint:
        return "nobody: a server of one's own is asked without credentials"
    path = env.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path:
        return "the machine's account"
    try:
        with open(path, "rb") as file:
            mail = str(json.load(file).get("client_email", ""))
    except (OSError, ValueError, AttributeError):
        mail = ""
    return f"{mail or 'whoever stands in ' + path} (GOOGLE_APPLICATION_CREDENTIALS)"


def _user(env: Mapping[str, str]) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return env.get("USER", "") or "of this process"
