"""The remote: does it answer, is anybody believed, may we write, and is the trust domain secret."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from kache.errors import KacheError
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

if TYPE_CHECKING:
    from kache.engine.transfer.remotes import Remote

_PROBE = "v1/probe"


def check(around: Surroundings) -> list[Finding]:
    """Read, and write and remove one small object if anything is sent from here."""
    if around.config.remote is None:
        return [Finding(OK, "none is used" if around.config.local_only else "none is configured")]
    from kache.engine.transfer.policy import why_not_write
    from kache.engine.transfer.remotes import open_one
    from kache.remote.identity import whose

    try:
        remote = open_one(around.config, around.env)
    except KacheError as error:
        return [Finding(FAIL, f"{error.what}: nothing is shared", error.why, error.fix)]
    found = [_whom(remote)]
    why_not = why_not_write(around.config, around.env)
    try:
        identity = whose(remote.place, around.env)
        asyncio.run(_read(remote))
        found.append(Finding(OK, f"{remote.place} can be read, as {identity}"))
        own = remote.own
        if own is not None and own.secret is not None:
            asyncio.run(_write(own))
            found.append(
                Finding(OK, f"this pull request writes to {own.place}, signed by {own.secret.public().id.hex()}")
            )
        elif why_not:
            found.append(Finding(OK, f"nothing is sent: {why_not}"))
        else:
            asyncio.run(_write(remote))
            signer = remote.secret.public().id.hex() if remote.secret else ""
            found.append(Finding(OK, f"it can be written; what is sent is signed by {signer}"))
    except KacheError as error:
        why = f"{error.why}; builds go on with the store of this machine"
        found.append(Finding(FAIL, error.what, why, error.fix))
    if not around.config.trust_domain:
        why = "digests of variables that crates read are sent; without a salt a short value could be guessed"
        found.append(Finding(WARN, "trust_domain is empty", why, "set it to one secret text on all machines"))
    return found


def _whom(remote: Remote) -> Finding:
    keys = [f"{key.id.hex()} {key.label}".strip() for key in remote.trusted.keys.values()]
    if not keys:
        why = "what nobody we trust has signed is not taken"
        return Finding(WARN, "no key is trusted", why, "kache keys trust, with the public key of who sends")
    return Finding(OK, f"trusting {', '.join(keys)}")


async def _read(remote: Remote) -> None:
    await remote.bulk.get(_PROBE, 1)


async def _write(remote: Remote) -> None:
    name = f"{_PROBE}-{os.getpid()}-{os.urandom(4).hex()}"
    await remote.bulk.create(name, b"kache doctor")
    await remote.bulk.delete([name])
