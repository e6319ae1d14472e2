"""In what AWS and R2 differ from the servers that can be run here, as rules of the proxy in front of one of those.

Each function is one documented difference; where it is documented stands in its first line. `aws()` and `r2()` are all
of a provider's checks, for `FaultyProxy.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs

from tests.support.servers.proxy import Rule

Check = Callable[[bytes, bytes], tuple[str, str] | None]
_UNKNOWN_TO_R2 = (
    b"x-amz-acl",
    b"x-amz-grant-full-control",
    b"x-amz-tagging",
    b"x-amz-object-lock-mode",
    b"x-amz-server-side-encryption-aws-kms-key-id",
    b"x-amz-request-payer",
)


def error(code: str, message: str = "") -> bytes:
    """The body of an S3 error."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def skewed() -> Rule:
    """AWS, error responses: a date more than 15 minutes off is refused with 403."""
    text = "The difference between the request time and the current time is too large."
    return Rule("403", value=error("RequestTimeTooSkewed", text))


def expired(times: int = -1) -> Rule:
    """AWS, error responses: a session token that has ended is refused with 400, not with 403."""
    return Rule("400", value=error("ExpiredToken", "The provided token has expired."), times=times)


def slow_down(times: int = -1) -> Rule:
    """AWS, error responses: too many requests are told by 503 SlowDown, not by 429."""
    return Rule("503", value=error("SlowDown", "Please reduce your request rate."), times=times)


def conflict(times: int = -1) -> Rule:
    """AWS, conditional writes: a put that meets another one or a delete gets 409, and is to be tried again."""
    text = "A conflicting conditional operation is currently in progress against this resource."
    return Rule("409", method="PUT", value=error("ConditionalRequestConflict", text), times=times)


def other_region() -> Rule:
    """AWS, request routing: a bucket of another region answers 301 with the endpoint it wants."""
    return Rule("301", value=error("PermanentRedirect", "The bucket must be addressed using the specified endpoint."))


def unlisted() -> Rule:
    """AWS, GetObject: without s3:ListBucket an object that is not there is 403 AccessDenied, not 404."""
    return Rule("403", method="GET", value=error("AccessDenied", "Access Denied"))


def aws() -> list[Check]:
    """What AWS refuses and MinIO takes."""
    return [_no_trailers, _one_length, _signed_for("us-east-1"), _delete_at_most_a_thousand]


def r2() -> list[Check]:
    """What R2 refuses and MinIO takes."""
    return [
        _no_trailers,
        _one_length,
        _signed_for("auto"),
        _delete_at_most_a_thousand,
        _known_headers_alone,
        _PartsOfOneSize(),
    ]


def _no_trailers(head: bytes, _body: bytes) -> tuple[str, str] | None:
    """R2, S3 compatibility: streaming signatures with trailing checksums are not implemented."""
    return ("501", "NotImplemented") if b"-trailer" in head.lower() or b"\nx-amz-trailer:" in head.lower() else None


def _one_length(head: bytes, _body: bytes) -> tuple[str, str] | None:
    """AWS, error responses: a put says how long it is (411 MissingContentLength)."""
    is_put = head.startswith(b"PUT ")
    return ("411", "MissingContentLength") if is_put and b"\ncontent-length:" not in head.lower() else None


def _signed_for(region: str) -> Check:
    """AWS and R2, signatures: version 4, for the bucket's region; R2's is `auto`, and `us-east-1` is taken for it."""

    def check(head: bytes, _body: bytes) -> tuple[str, str] | None:
        found = re.search(rb"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request", head)
        if found is None:
            return "403", "AccessDenied"
        return None if found[1].decode() in (region, "us-east-1") else ("400", "AuthorizationHeaderMalformed")

    return check


def _delete_at_most_a_thousand(head: bytes, body: bytes) -> tuple[str, str] | None:
    """AWS, DeleteObjects: up to 1,000 keys, and a digest of the body."""
    if not re.match(rb"POST /[^ ]*\?delete", head):
        return None
    has_digest = b"\ncontent-md5:" in head.lower() or b"\nx-amz-checksum-" in head.lower()
    if not has_digest:
        return "400", "InvalidRequest"
    return ("400", "MalformedXML") if body.count(b"<Key>") > 1000 else None


def _known_headers_alone(head: bytes, _body: bytes) -> tuple[str, str] | None:
    """R2, S3 compatibility: these headers are answered with 501."""
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    return ("501", "NotImplemented") if names & set(_UNKNOWN_TO_R2) else None


class _PartsOfOneSize:
    """R2, multipart uploads: all parts but the last have one size."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[int, int]] = {}

    def __call__(self, head: bytes, body: bytes) -> tuple[str, str] | None:
        target = head.split(b" ", 2)[1].decode()
        asked = parse_qs(target.partition("?")[2], keep_blank_values=True)
        upload = asked.get("uploadId", [""])[0]
        if head.startswith(b"PUT ") and upload:
            self._sizes.setdefault(upload, {})[int(asked["partNumber"][0])] = len(body)
        elif head.startswith(b"POST ") and upload:
            sizes = self._sizes.pop(upload, {})
            if len({sizes[number] for number in sorted(sizes)[:-1]}) > 1:
                return "400", "InvalidPart"
        return None
