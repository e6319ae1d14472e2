"""What servers say when they refuse, out of the client's long texts, and what people can do about it. Pure."""

from __future__ import annotations

import re

_STATUS = re.compile(r"status code: (\d{3})|\b([45]\d\d) [A-Z][a-z]")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})")
_BARE_REDIRECT = "redirect without LOCATION"
"""The client's words for AWS's answer from another region, whose body it does not show."""
_DENIED_STATUS = ("401", "403")
_ADVICE = {
    "RequestTimeTooSkewed": "set this machine's clock; kache doctor says how far it is off",
    "RequestExpired": "set this machine's clock",
    "ExpiredToken": "sign in again, or renew the credentials that the environment or the profile holds",
    "ExpiredTokenException": "sign in again, or renew the credentials that the environment or the profile holds",
    "InvalidAccessKeyId": "look at the access key: this server does not know it",
    "SignatureDoesNotMatch": "look at the secret key, and at the region and endpoint of the remote",
    "AuthenticationFailed": "look at the account's key, and at this machine's clock",
    "NoSuchBucket": "make the bucket, or look at its name and the endpoint",
    "ContainerNotFound": "make the container, or look at its name and the account",
    "AccessDenied": "grant what docs/how-to/remote.md lists under Permissions, s3:ListBucket too",
    "PermanentRedirect": "set the region of the remote: the bucket is in another one",
    "AuthorizationHeaderMalformed": "set the region of the remote: the bucket is in another one",
    "IllegalLocationConstraintException": "set the region of the remote: the bucket is in another one",
    "SlowDown": "lower remote_concurrency; it is tried again by itself",
}
_DENIED_CODES = tuple(name for name in _ADVICE if name != "SlowDown")


def code(text: str) -> str:
    """The server's own name for what is wrong; empty if it gave none."""
    found = _CODE.search(text)
    if found is None:
        return "PermanentRedirect" if _BARE_REDIRECT in text else ""
    return found[1]


def status(text: str) -> str:
    """The HTTP status in an error's text; empty if there is none."""
    found = _STATUS.search(text)
    if found is None and _BARE_REDIRECT in text:
        return "301"
    return (found[1] or found[2]) if found else ""


def is_denied(text: str) -> bool:
    """Whether trying again would not help: the server knows us and does not let us, or does not know us."""
    return status(text) in _DENIED_STATUS or code(text) in _DENIED_CODES


def reason(text: str) -> str:
    """One line: status, code and message of the server if it gave them, else how the client begins."""
    # Whoever runs the server writes it, and it is shown on terminals.
    text = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text.strip())
    number, name, message = status(text), code(text), _MESSAGE.search(text)
    if not number and not name:
        return text.partition("\n")[0][:300]
    # The first sentence: some servers go on with hints for programmers.
    sentence = message[1].strip().partition("\n")[0].partition(". ")[0] if message else ""
    said = ": ".join(part for part in (name, sentence) if part)
    return f"the server answered {number or 'an error'}" + (f", {said}" if said else "")


def advice(text: str) -> str:
    """What to do; empty where the error's own words say enough."""
    return _ADVICE.get(code(text), "")
