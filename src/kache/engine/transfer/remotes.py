"""The remotes that builds have named so far, open, with what is known of their health."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kache.config.load import Config
from kache.config.remote import RemotePlace
from kache.core.digest import Digest, hash_parts
from kache.engine.transfer.policy import own_place, why_not_write
from kache.engine.transfer.speed import Speed
from kache.errors import KacheError
from kache.remote.backend import IN_THE_BACKGROUND, Backend, Patience
from kache.remote.breaker import Breaker
from kache.remote.keyring import Keyring
from kache.remote.pace import Pace
from kache.remote.trust import SecretKey, Trusted

log = logging.getLogger("kache")
_FRESH_S = 5.0
_KEPT = 8


@dataclass(slots=True)
class Remote:
    """One remote as one user may use it.

    Attributes:
        place: where.
        demand: for what a build waits for.
        bulk: for what nobody waits for.
        trusted: who is believed.
        secret: what is sent is signed with it; None where nothing may be sent.
        reads, writes: whether it is worth asking.
        domain: name of the trust domain.
        upload_rate: bytes a second, 0 for no bound.
        download_rate: the same of what is fetched.
        concurrency: requests at one time.
        wait_s: how long a build may wait for an entry that is quickly compiled.
        speed: what it has shown lately.
        own: the namespace of this pull request: written here, and looked in after the rest.
        warm_limit_s: how long cargo may wait before a fresh target is filled.
    """

    place: RemotePlace
    demand: Backend
    bulk: Backend
    trusted: Trusted
    secret: SecretKey | None
    reads: Breaker = field(default_factory=Breaker)
    writes: Breaker = field(default_factory=Breaker)
    domain: str = ""
    upload_rate: int = 0
    download_rate: int = 0
    concurrency: int = 16
    wait_s: float = 0.25
    warm_limit_s: float = 60.0
    speed: Speed = field(default_factory=Speed)
    own: Remote | None = None


class Remotes:
    """Opens each once for each set of credentials. Belongs to one event loop."""

    def __init__(self) -> None:
        self._open: dict[Digest, tuple[float, Remote | None]] = {}
        self._said = ""

    def of(self, config: Config, env: Mapping[str, str]) -> Remote | None:
        """The remote of a caller; None if none is configured, or it cannot be used (said once in the log).

        Args:
            config: the caller's.
            env: what `policy.relevant` leaves of the caller's environment.
        """
        place = config.remote
        if place is None:
            return None
        settings = (
            config.trust_domain,
            config.remote_readonly,
            config.remote_pull_requests,
            config.remote_stall_s,
            config.remote_wait_s,
            config.remote_warm_limit_s,
            config.remote_upload_rate,
            config.remote_download_rate,
            config.remote_concurrency,
        )
        parts = [place.url, repr(settings), *(f"{name}={env[name]}" for name in sorted(env))]
        mark = hash_parts(part.encode("utf-8", "surrogateescape") for part in parts)
        known = self._open.pop(mark, None)
        if known is None or time.monotonic() - known[0] > _FRESH_S:
            known = (time.monotonic(), self._renewed(config, place, env, known[1] if known else None))
        self._open[mark] = known
        while len(self._open) > _KEPT:
            self._open.pop(next(iter(self._open)))
        return known[1]

    def writable(self) -> dict[str, Remote]:
        """Those that may be sent to, by URL; the last opened of each."""
        return {str(remote.place): remote for remote in self.all() if remote.secret}

    def all(self) -> list[Remote]:
        """Every open one."""
        opened = [remote for _, remote in self._open.values() if remote]
        return opened + [remote.own for remote in opened if remote.own]

    def _renewed(
        self, config: Config, place: RemotePlace, env: Mapping[str, str], before: Remote | None
    ) -> Remote | None:
        """Open, or look at the keys again."""
        try:
            if before is not None:
                keyring = Keyring(env)
                before.trusted, before.secret = keyring.trusted, _secret(config, env, keyring)
                if before.own is not None:
                    before.own.secret, before.own.trusted = keyring.signing, _own_alone(keyring)
                return before
            remote = open_one(config, env)
        except (KacheError, OSError) as error:
            text = f"remote {place} is not used: {error.line if isinstance(error, KacheError) else error}"
            if text != self._said:
                log.warning("%s", text)
            self._said = text
            return None
        if not remote.trusted.keys:
            log.warning("remote %s: no key is trusted, so nothing is taken from it; kache keys trust", place)
        why_not = why_not_write(config, env)
        log.info("remote %s: %s", place, f"read only, {why_not}" if why_not else "read and write")
        if remote.own is not None:
            log.info("remote %s: this pull request's own", remote.own.place)
        return remote


def open_one(config: Config, env: Mapping[str, str]) -> Remote:
    """Open the remote of a configuration that has one.

    Raises:
        RemoteError: it cannot be used.
        KeysError: the keys cannot be read.
    """
    place = config.remote
    assert place is not None
    keyring = Keyring(env)
    remote = _opened(config, env, place, keyring.trusted, _secret(config, env, keyring))
    own = own_place(config, env)
    if own is not None:
        remote.own = _opened(config, env, own, _own_alone(keyring), keyring.signing)
        # Part of every signature: what was signed there is nothing anywhere else.
        remote.own.domain = f"{config.trust_domain}\0{own.prefix}"
    return remote


def _opened(
    config: Config, env: Mapping[str, str], place: RemotePlace, trusted: Trusted, secret: SecretKey | None
) -> Remote:
    stall_s = config.remote_stall_s
    pace = Pace(config.remote_download_rate)
    return Remote(
        place,
        Backend(place, env, Patience(stall_s, stall_s, total_s=stall_s), pace),
        Backend(place, env, IN_THE_BACKGROUND, pace),
        trusted,
        secret,
        domain=config.trust_domain,
        upload_rate=config.remote_upload_rate,
        download_rate=config.remote_download_rate,
        concurrency=config.remote_concurrency,
        wait_s=config.remote_wait_s,
        warm_limit_s=config.remote_warm_limit_s,
    )


def _secret(config: Config, env: Mapping[str, str], keyring: Keyring) -> SecretKey | None:
    return None if why_not_write(config, env) else keyring.signing


def _own_alone(keyring: Keyring) -> Trusted:
    return Trusted([keyring.signing.public()] if keyring.signing else [])
