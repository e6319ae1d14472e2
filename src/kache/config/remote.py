"""Where the remote is: one URL, or the `[cache.remote]` table. Pure.

s3://bucket/prefix?endpoint=https://host:9000&region=auto&profile=ci&style=virtual
gs://bucket/prefix      az://container/prefix?account=name      file:///mnt/cache
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

EXPECTED = "s3://bucket/prefix, gs://…, az://…, file:///dir, or a table with type and bucket"
_KINDS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "file": "file", "filesystem": "file"}
_STYLES = ("path", "virtual")
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")
_OPTIONS = ("endpoint", "region", "profile", "style", "account", "anonymous")
_TABLE_KEYS = ("type", "url", "bucket", "prefix", "path", *_OPTIONS)


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """A configured remote, without credentials.

    Attributes:
        kind: s3, gs, az or file.
        bucket: bucket or container; of `file` the absolute directory.
        prefix: what every name starts with, without slashes at its ends.
        endpoint: URL of the server where it is not the provider's own.
        region: of S3; `auto` for R2.
        profile: of the AWS configuration files.
        style: path or virtual: where the bucket stands in a request; by default path with an endpoint.
        account: of Azure.
        anonymous: `yes`: who has no credentials asks without; a bucket that everybody may read.
    """

    kind: str
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    style: str = ""
    account: str = ""
    anonymous: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether who has no credentials asks without."""
        return self.anonymous in _YES

    @property
    def url(self) -> str:
        """The one way to write it."""
        options = "&".join(f"{name}={_quoted(getattr(self, name))}" for name in _OPTIONS if getattr(self, name))
        base = f"file://{self.bucket}" if self.kind == "file" else f"{self.kind}://{self.bucket}"
        path = f"/{self.prefix}" if self.prefix else ""
        return f"{base}{path}" + (f"?{options}" if options else "")

    def __str__(self) -> str:
        return self.url


def parse_place(value: object) -> RemotePlace:
    """Read a place.

    Args:
        value: a URL, or a table as TOML gave it.

    Raises:
        ValueError: it is none; the text says what would be right.
    """
    if isinstance(value, str):
        return _checked(_of_url(value.strip()))
    if isinstance(value, Mapping):
        return _checked(_of_table(value))
    raise ValueError(EXPECTED)


def overridden(place: RemotePlace | None, **more: str) -> RemotePlace | None:
    """A place with single values replaced (the KACHE_S3_* variables); a bucket alone makes one of S3."""
    given = {name: value for name, value in more.items() if value}
    if place is None:
        return RemotePlace("s3", **given) if "bucket" in given else None
    return replace(place, **given) if given and place.kind == "s3" else place


def below(place: RemotePlace, *names: str) -> RemotePlace:
    """A place further down: names are plain."""
    return replace(place, prefix="/".join(part for part in (place.prefix, *names) if part))


def _of_url(text: str) -> RemotePlace:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _KINDS:
        raise ValueError(EXPECTED)
    rest, _, query = rest.partition("?")
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in _OPTIONS:
            raise ValueError(f"only {', '.join(_OPTIONS)} after the question mark")
        options[name] = _unquoted(value)
    if _KINDS[scheme] == "file":
        return RemotePlace("file", _unquoted(rest), **options)
    bucket, _, prefix = rest.partition("/")
    return RemotePlace(_KINDS[scheme], _unquoted(bucket), _unquoted(prefix).strip("/"), **options)


def _of_table(table: Mapping[str, object]) -> RemotePlace:
    values: dict[str, str] = {}
    for name, value in table.items():
        if name not in _TABLE_KEYS:
            raise ValueError(f"only the keys {', '.join(_TABLE_KEYS)}")
        if not isinstance(value, str):
            raise ValueError(f"a text in quotes for {name}")  # noqa: TRY004 - callers catch one class
        values[name] = value
    if "url" in values:
        place = _of_url(values.pop("url"))
        return replace(place, **{name: value for name, value in values.items() if name in _OPTIONS})
    kind = _KINDS.get(values.pop("type", "s3"))
    if kind is None:
        raise ValueError("a type of s3, gs, az or file")
    directory = values.pop("path", "")
    if kind == "file":
        values["bucket"] = directory or values.get("bucket", "")
    values["prefix"] = values.get("prefix", "").strip("/")
    return RemotePlace(kind, values.pop("bucket", ""), **values)


def _checked(place: RemotePlace) -> RemotePlace:
    if place.kind == "file":
        if not place.bucket.startswith("/"):
            raise ValueError("file:// and an absolute path")
    elif not place.bucket or "/" in place.bucket:
        raise ValueError("a bucket")
    if place.style and place.style not in _STYLES:
        raise ValueError("a style of path or virtual")
    if place.anonymous not in (*_YES, *_NO):
        raise ValueError("anonymous of yes or no")
    if place.endpoint and not place.endpoint.startswith(("http://", "https://")):
        raise ValueError("an endpoint that starts with https:// or http://")
    if any(part in ("", ".", "..") for part in place.prefix.split("/")) and place.prefix:
        raise ValueError("a prefix of plain names")
    if any(ord(letter) < 0x20 for field in fields(place) for letter in getattr(place, field.name)):
        raise ValueError(EXPECTED)
    return place


def _unquoted(text: str) -> str:
    head, *rest = text.split("%")
    raw = head.encode()
    for part in rest:
        try:
            raw += bytes([int(part[:2], 16)]) + part[2:].encode()
        except ValueError:
            raise ValueError("two hexadecimal digits after %") from None
    return raw.decode(errors="replace")


def _quoted(text: str) -> str:
    return "".join(letter if letter not in "%&#? " else f"%{ord(letter):02X}" for letter in text)
