"""Tokens of an OIDC issuer: GitHub Actions, GitLab, or any other that publishes its keys."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from kache.errors import PlannerSetupError
from kache.planner.service.auth import READ, SCOPES, Principal, Refused

log = logging.getLogger("kache")
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Public keys alone: `none` proves nothing, and with HS256 whoever knows the public key could sign."""
LEEWAY_S = 60
"""By how much clocks may disagree."""
FRESH_S = 3600.0
MIN_PAUSE_S = 5.0
"""Between two looks at the issuer's keys because of a key that is not known: anybody can make such a token."""
_LIMIT_S = 5.0
_MAX_BYTES = 1 << 20
_PULL_REQUESTS = ("pull_request", "pull_request_target", "merge_group", "merge_request_event")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who is believed, and about whom.

    Attributes:
        url: the `iss` of its tokens.
        audience: the `aud` they must have.
        allowed: owners (`acme`), repositories (`acme/app`) or subjects (`sub:…`) that may come in.
        scopes: what they may.
    """

    url: str
    audience: str
    allowed: tuple[str, ...]
    scopes: frozenset[str] = frozenset(SCOPES)


class Oidc:
    """Verifies tokens of one issuer.

    Args:
        issuer: whose.
        clock: monotonic, in seconds.

    Raises:
        PlannerSetupError: the issuer is not described well enough to be believed.
    """

    def __init__(self, issuer: Issuer, clock: Callable[[], float] = time.monotonic) -> None:
        place = urlsplit(issuer.url)
        if place.scheme != "https" and place.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise PlannerSetupError(
                f"{issuer.url} is no issuer",
                why="without https anybody could give it other keys",
                fix="name it by https",
            )
        if not issuer.audience or not issuer.allowed:
            raise PlannerSetupError(
                f"the issuer {issuer.url} needs an audience and somebody to let in",
                why="its tokens are made for many services and by many people",
                fix="say --oidc-audience, and --oidc-allow OWNER or OWNER/REPOSITORY",
            )
        self._issuer = issuer
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._fetched = self._tried = clock() - FRESH_S - MIN_PAUSE_S - 1

    def principal(self, token: str) -> Principal | None:
        """See `auth.Verifier`."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None  # no JWT at all
        if header.get("alg") not in ALGORITHMS:
            raise Refused("the token's algorithm is not one that proves anything")
        key = self._key(str(header.get("kid", "")))
        if key is None:
            raise Refused("the token is signed by a key that its issuer does not publish")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the token is not good: {error}") from error
        return self._allowed(claims)

    def _allowed(self, claims: dict[str, Any]) -> Principal:
        repository = str(claims.get("repository") or claims.get("project_path") or "")
        owner = str(claims.get("repository_owner") or repository.partition("/")[0])
        names = {name for name in (repository, owner, f"sub:{claims['sub']}") if name}
        if not names & set(self._issuer.allowed):
            raise Refused("nobody let this repository or owner in")
        event = str(claims.get("event_name") or claims.get("pipeline_source") or "")
        scopes = self._issuer.scopes
        if event in _PULL_REQUESTS:  # a proposal's build says nothing about what will be built
            scopes &= {READ}
        return Principal(repository or str(claims["sub"]), scopes)

    def _key(self, kid: str) -> Any:
        with self._lock:
            now = self._clock()
            is_stale = now - self._fetched > FRESH_S
            if (is_stale or kid not in self._keys) and now - self._tried > MIN_PAUSE_S:
                self._tried = now
                self._fetch(now)
            return self._keys.get(kid)

    def _fetch(self, now: float) -> None:
        """Take the keys that are published now: one that is no longer among them is not believed any more."""
        try:
            about = _json(self._issuer.url.rstrip("/") + "/.well-known/openid-configuration")
            keys = _json(str(about["jwks_uri"]))
            found = jwt.PyJWKSet.from_dict(keys).keys
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            log.warning("the keys of %s cannot be had: %s", self._issuer.url, error)
            return
        self._keys = {str(key.key_id): key for key in found if key.key_type in ("RSA", "EC", "OKP")}
        self._fetched = now


def _json(url: str) -> dict[str, Any]:
    place = urlsplit(url)
    if place.scheme != "https" and place.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError(f"{url} is not https")
    with urllib.request.urlopen(url, timeout=_LIMIT_S) as answer:  # noqa: S310 - its scheme was looked at
        found = json.loads(answer.read(_MAX_BYTES))
    if not isinstance(found, dict):
        raise ValueError(f"{url} gives no object")  # noqa: TRY004 - callers catch one class
    return found
