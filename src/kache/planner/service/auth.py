"""Who asks, and what they may: bearer tokens by scope, and tokens of an OIDC issuer (`oidc`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kache.errors import PlannerSetupError

READ = "read"
WRITE = "write"
SCOPES = (READ, WRITE)
MIN_TOKEN_CHARS = 16
MAX_TOKEN_CHARS = 16_384
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+):(?P<scopes>[a-z+]+):(?P<token>\S+)$")


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, by name, and what they may."""

    name: str
    scopes: frozenset[str]


ANYBODY = Principal("anybody", frozenset(SCOPES))


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """Why a token is not taken; it is told to whoever sent it, so it says nothing of others."""


class Verifier(Protocol):
    """Says whose a token is."""

    def principal(self, token: str) -> Principal | None:
        """Whose it is; None if it is none of this verifier's.

        Raises:
            Refused: it is this verifier's, and not good.
        """


@dataclass(frozen=True, slots=True)
class Tokens:
    """Fixed tokens, kept as digests.

    Attributes:
        known: digest to whom it belongs.
    """

    known: dict[bytes, Principal] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, where: str) -> Tokens:
        """Read `NAME:SCOPES:TOKEN` entries, divided by blanks or lines; SCOPES is `read`, `write` or `read+write`.

        Raises:
            PlannerSetupError: an entry is none.
        """
        known = {}
        lines = [line.partition("#")[0] for line in text.splitlines()]
        for number, word in enumerate(" ".join(lines).split(), 1):
            found = _ENTRY.match(word)
            scopes = frozenset(found["scopes"].split("+")) if found else frozenset()
            if found is None or not scopes <= set(SCOPES) or len(found["token"]) < MIN_TOKEN_CHARS:
                raise PlannerSetupError(
                    f"entry {number} of {where} is no token",
                    why=f"one is NAME:SCOPES:TOKEN, scopes are read, write or read+write, and a token has"
                    f" {MIN_TOKEN_CHARS} characters or more",
                    fix="write it so; a token can be made with: openssl rand -hex 24",
                )
            known[_digest(found["token"])] = Principal(found["name"], scopes)
        return cls(known)

    def principal(self, token: str) -> Principal | None:
        """See `Verifier`."""
        mark, who = _digest(token), None
        for known, principal in self.known.items():  # all of them: how long it takes says nothing
            if hmac.compare_digest(known, mark):
                who = principal
        return who


class Door:
    """Lets in, or says why not.

    Args:
        verifiers: asked in this order; without any everybody may do everything.
    """

    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = tuple(verifiers)

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return not self._verifiers

    def principal(self, header: str) -> Principal:
        """Whose request this is.

        Args:
            header: value of Authorization: `Bearer TOKEN`, or `Basic` with the token as password, for browsers.

        Raises:
            Refused: it names nobody that is known.
        """
        if self.is_open:
            return ANYBODY
        token = _token_of(header)
        if not token:
            raise Refused("a bearer token is needed")
        if len(token) > MAX_TOKEN_CHARS:
            raise Refused("the token is too long")
        for verifier in self._verifiers:
            found = verifier.principal(token)
            if found is not None:
                return found
        raise Refused("the token is not known here")


def _token_of(header: str) -> str:
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
