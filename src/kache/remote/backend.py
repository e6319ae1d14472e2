"""One way to every kind of server: obstore's clients, with our errors, bounds and time limits.

To add a kind: a function that makes its client, a row in `_MAKERS`, a scheme in `kache.config.remote`, and a server in
`tests/support/servers`; the suite in `tests/remote` then runs on it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore import exceptions, store

from kache.config.remote import RemotePlace
from kache.errors import RemoteDeniedError, RemoteError, RemoteObjectError, RemoteUnreachableError
from kache.remote import answers
from kache.remote.credentials import Provider, Source, aws_credentials
from kache.remote.identity import is_nobody
from kache.remote.pace import Pace

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

CHUNK_BYTES = 1 << 18
RANGE_CHUNK_BYTES = 1 << 16
MULTIPART_BYTES = 8 << 20
"""Longer objects are sent in parts; they are packs, whose names say what is in them, so nothing is lost without a
condition. A request that gets no answer within the patience for a byte is broken off, however much it has sent: on a
line of 0.5 MB/s that is after 10 MB."""
_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 1
_LISTED_AT_ONCE = 1000
MAX_LISTED = 2_000_000
"""Names are kept while a remote is looked through, some 200 bytes each, and anybody who may write can add some."""
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""A 404 that says more than that an object is not there."""


_CONFLICTS = ("ConditionalRequestConflict", "OperationAborted")
_CONFLICT_PAUSES_S = (0.1, 0.4, 1.0)


class _ConflictError(Exception):
    """AWS's 409: somebody puts or deletes the very object just now, and nobody knows yet whether it will be there."""


class Found(NamedTuple):
    """An object of a listing."""

    name: str
    size: int
    modified_s: float


class Range(NamedTuple):
    """A stretch of an object, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        stall_s: without a byte.
        connect_s: for a connection.
        retries: of what may go better the next time (5xx, 429, broken connections), with growing, jittered pauses.
        total_s: for all tries of one request together, but the bytes of a body.
    """

    stall_s: float = 0.8
    connect_s: float = 0.8
    retries: int = 2
    total_s: float = 0.8


IN_THE_BACKGROUND = Patience(stall_s=20.0, connect_s=5.0, retries=4, total_s=60.0)


class Backend:
    """The objects of one remote.

    Thread promise: belongs to one event loop. Every method raises a RemoteError for what the server or the network did.

    Args:
        place: where.
        env: of whoever asks: credentials are in it, or what leads to them.
        patience: how long to wait.
        pace: of what is fetched; several may share one.

    Attributes:
        refusal: why no credentials were given, until the error that comes of it is told.
    """

    def __init__(
        self, place: RemotePlace, env: Mapping[str, str], patience: Patience, pace: Pace | None = None
    ) -> None:
        self.place = place
        self.patience = patience
        self._pace = pace or Pace()
        self.requests = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.env = env
        self.refusal: RemoteDeniedError | None = None
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._made: Any = None

    @property
    def _store(self) -> Any:
        """The client, made when it is first needed: a directory may be mounted, credentials may come, later."""
        if self._made is None:
            try:
                self._made = _MAKERS[self.place.kind](self)
            except (exceptions.BaseError, ValueError, OSError) as error:
                raise RemoteUnreachableError(f"cannot use {self.place}", why=first_line(error)) from error
        return self._made

    async def get(self, name: str, limit_bytes: int) -> bytes | None:
        """A whole small object; None if there is none.

        Raises:
            RemoteObjectError: it is larger than the limit.
        """
        parts, size = [], 0
        async for part in self.stream(name):
            if part is None:
                return None
            size += len(part)
            if size > limit_bytes:
                raise RemoteObjectError(f"{name} has more than {limit_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    async def stream(self, name: str, place: Range | None = None) -> AsyncIterator[bytes | None]:
        """An object, or a stretch of it, piece by piece; a single None if there is none.

        Raises:
            RemoteObjectError: it has no such stretch.
        """
        self.requests += 1
        options: Any = None if place is None else {"range": (place.start, place.start + place.size)}
        # Where several arrive at once each is slow, and one that waits for a large piece would seem to stand still.
        chunk_bytes = CHUNK_BYTES if place is None else RANGE_CHUNK_BYTES
        try:
            client = self._store
            async with asyncio.timeout(self.patience.total_s):
                result = await obstore.get_async(client, self._prefix + name, options=options)
            pieces = result.stream(min_chunk_size=chunk_bytes).__aiter__()
            while True:
                async with asyncio.timeout(self.patience.stall_s):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                self.received_bytes += len(piece)
                await self._pace.passed(len(piece))
                yield bytes(piece)
        except FileNotFoundError as error:
            if answers.code(str(error)) in _NO_BUCKET:
                raise self._known(error, f"cannot read {name}") from error
            yield None
        except (exceptions.BaseError, OSError, TimeoutError) as error:
            if place is not None and _is_beyond(error):
                raise RemoteObjectError(f"{name} is shorter than it must be", why=first_line(error)) from error
            raise self._known(error, f"cannot read {name}") from error

    async def create(self, name: str, content: bytes | Path) -> bool:
        """Put an object that must not be there yet.

        Returns:
            False if there is one of that name: it stays as it is.
        """
        size = len(content) if isinstance(content, bytes) else os.stat(content).st_size
        for pause_s in (*_CONFLICT_PAUSES_S, None):
            try:
                return await self._create(name, content, size)
            except _ConflictError as error:
                if pause_s is None:
                    raise self._known(error, f"cannot write {name}") from error
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError

    async def _create(self, name: str, content: bytes | Path, size: int) -> bool:
        in_parts = size > MULTIPART_BYTES
        self.requests += 1 + (size // _PART_BYTES + 2 if in_parts else 0)
        how: dict[str, Any] = {"mode": "create", "use_multipart": False}
        if in_parts:
            how = {"use_multipart": True, "chunk_size": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
        client = self._store
        try:
            limit_s = self.patience.total_s + size / (64 << 10)
            async with asyncio.timeout(limit_s):
                await obstore.put_async(client, self._prefix + name, content, **how)
        except (exceptions.BaseError, OSError, TimeoutError) as error:
            if answers.code(str(error)) in _CONFLICTS:
                raise _ConflictError(str(error)) from error
            if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
                return False
            if answers.status(str(error)) in ("409", "412"):
                return False
            raise self._known(error, f"cannot write {name}") from error
        self.sent_bytes += size
        return True

    async def list(self, prefix: str) -> AsyncIterator[Found]:
        """All objects whose names start with a directory's.

        Raises:
            RemoteObjectError: there are more than anybody of ours has put there.
        """
        cut, client, count = len(self._prefix), self._store, 0
        try:
            async for batch in obstore.list(client, self._prefix + prefix, chunk_size=_LISTED_AT_ONCE):
                self.requests += 1
                count += len(batch)
                if count > MAX_LISTED:
                    raise RemoteObjectError(f"{self.place} has more than {MAX_LISTED} objects below {prefix}")
                for item in batch:
                    yield Found(item["path"][cut:], item["size"], item["last_modified"].timestamp())
        except FileNotFoundError:
            return
        except (exceptions.BaseError, OSError) as error:
            raise self._known(error, "cannot list") from error

    async def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        self.requests += 1
        client = self._store
        try:
            await obstore.delete_async(client, [self._prefix + name for name in names])
        except FileNotFoundError:
            # A directory's client stops at the first one that is not there, whatever it has removed by then.
            for name in names if len(names) > 1 else ():
                await self.delete([name])
        except (exceptions.BaseError, OSError) as error:
            raise self._known(error, "cannot delete") from error

    def credentials_of(self, source: Source) -> Provider | None:
        """A source's provider, whose own words are kept for the error that the client makes of them."""
        provider = source.provider
        if provider is None:
            return None

        def ask() -> dict[str, Any]:
            try:
                return provider()
            except RemoteDeniedError as error:
                self.refusal = error
                raise

        return ask

    def _known(self, error: BaseException, what: str) -> RemoteError:
        text, what = str(error), f"{what} in {self.place}"
        refusal, self.refusal = self.refusal, None
        if refusal is not None:  # the client's text has only half of it
            return RemoteDeniedError(what, why=f"{refusal.what}: {refusal.why}", fix=refusal.fix)
        refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
        if isinstance(error, refusals) or answers.is_denied(text):
            self._made = None  # the next request asks for credentials anew: these may have ended
            return RemoteDeniedError(what, why=first_line(error), fix=answers.advice(text))
        why = "it stood still for too long" if isinstance(error, TimeoutError) else first_line(error)
        return RemoteUnreachableError(what, why=why, fix=answers.advice(text))


def first_line(error: BaseException) -> str:
    """What a client says, without its inner life."""
    return answers.reason(str(error)) or type(error).__name__


def _is_beyond(error: BaseException) -> bool:
    """Whether a range was asked for that the object does not have."""
    text = str(error)
    return "416" in text or "InvalidRange" in text or "Requested range" in text or "Range started at" in text


def _client(patience: Patience, place: RemotePlace) -> ClientConfig:
    return {
        "allow_http": place.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "read_timeout": timedelta(seconds=patience.stall_s),
        "timeout": timedelta(seconds=600),
        "user_agent": "kache",
    }


def _retry(patience: Patience) -> RetryConfig:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.total_s),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    }


def _s3(backend: Backend) -> ObjectStore:
    place, env, patience = backend.place, backend.env, backend.patience
    found = aws_credentials(place.profile, env, anonymous=place.is_anonymous)
    regions = (place.region, env.get("AWS_REGION"), env.get("AWS_DEFAULT_REGION"), found.region, "us-east-1")
    config: Any = {
        "bucket": place.bucket,
        "region": next(region for region in regions if region),
        "virtual_hosted_style_request": place.style == "virtual",
        **found.settings,
    }
    endpoint = place.endpoint or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""
    if endpoint:
        config["endpoint"] = _virtual(endpoint, place) if place.style == "virtual" else endpoint
    client, retry = _client(patience, place), _retry(patience)
    client["allow_http"] = endpoint.startswith("http://")
    provider: Any = backend.credentials_of(found)
    return store.S3Store(config=config, client_options=client, retry_config=retry, credential_provider=provider)


def _virtual(endpoint: str, place: RemotePlace) -> str:
    """The client takes the endpoint as it is, so the bucket has to be in it."""
    scheme, _, host = endpoint.partition("://")
    return endpoint if host.startswith(f"{place.bucket}.") else f"{scheme}://{place.bucket}.{host}"


def _gcs(backend: Backend) -> ObjectStore:
    place, env, patience = backend.place, backend.env, backend.patience
    config: Any = {"bucket": place.bucket, "skip_signature": is_nobody(place, env)}
    if env.get("GOOGLE_APPLICATION_CREDENTIALS"):
        config["application_credentials"] = env["GOOGLE_APPLICATION_CREDENTIALS"]
    if place.endpoint:
        # A server of one's own, such as an emulator: it knows no keys of Google's.
        config["service_account_key"] = (
            f'{{"gcs_base_url": "{place.endpoint}", "disable_oauth": true, "client_email": "", "private_key": "",'
            ' "private_key_id": ""}'
        )
    return store.GCSStore(config=config, client_options=_client(patience, place), retry_config=_retry(patience))


def _azure(backend: Backend) -> ObjectStore:
    place, env, patience = backend.place, backend.env, backend.patience
    config: Any = {"container_name": place.bucket, "skip_signature": is_nobody(place, env)}
    names = {
        "account_name": place.account or env.get("AZURE_STORAGE_ACCOUNT_NAME", ""),
        "account_key": env.get("AZURE_STORAGE_ACCOUNT_KEY", ""),
        "sas_key": env.get("AZURE_STORAGE_SAS_TOKEN", ""),
        "client_id": env.get("AZURE_CLIENT_ID", ""),
        "client_secret": env.get("AZURE_CLIENT_SECRET", ""),
        "tenant_id": env.get("AZURE_TENANT_ID", ""),
        "federated_token_file": env.get("AZURE_FEDERATED_TOKEN_FILE", ""),
        "endpoint": place.endpoint,
    }
    config.update({name: value for name, value in names.items() if value})
    return store.AzureStore(config=config, client_options=_client(patience, place), retry_config=_retry(patience))


def _directory(backend: Backend) -> ObjectStore:
    place = backend.place
    if not os.path.isdir(place.bucket):
        raise FileNotFoundError(f"there is no directory {place.bucket}")
    return store.LocalStore(place.bucket)


_MAKERS: Mapping[str, Callable[[Backend], ObjectStore]] = {
    "s3": _s3,
    "gs": _gcs,
    "az": _azure,
    "file": _directory,
}
