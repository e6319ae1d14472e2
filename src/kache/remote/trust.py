r"""Who wrote a document, and whether we trust them (docs/decisions/0010).

    document = "kache1\n" msgpack([key id, signature, body])
    signed   = "kache remote 1\0" kind "\0" subject digest-of-body

Kind and subject are not in the document: they are what the reader asked for, so that a document moved to another name
does not verify. A public key is written `kache-ed25519:<base64>`, a secret one `kache-ed25519-secret:<base64>`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kache.core.digest import Digest, hash_bytes
from kache.errors import KeysError, UntrustedError

MAGIC = b"kache1\n"
_CONTEXT = b"kache remote 1\0"
_PUBLIC = "kache-ed25519:"
_SECRET = "kache-ed25519-secret:"  # noqa: S105 - the prefix, not a secret
_KEY_BYTES = 32
_ID_BYTES = 8

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes])


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that documents are checked with.

    Attributes:
        raw: its 32 bytes.
        label: what people call it.
    """

    raw: bytes
    label: str = field(default="", compare=False)

    @property
    def id(self) -> bytes:
        """What documents name it by: 8 bytes of its digest."""
        return hash_bytes(self.raw)[:_ID_BYTES]

    @property
    def text(self) -> str:
        """How it is written."""
        return _PUBLIC + base64.b64encode(self.raw).decode()

    @classmethod
    def parse(cls, text: str, label: str = "") -> PublicKey:
        """Read one as it is written.

        Raises:
            KeysError: it is none.
        """
        if text.startswith(_SECRET):
            raise KeysError("this is a secret key", why="a secret key belongs to its writer alone")
        return cls(_key_bytes(text, _PUBLIC, "public"), label)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that documents are signed with."""

    raw: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> SecretKey:
        """A new one."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """Read one as it is written.

        Raises:
            KeysError: it is none.
        """
        return cls(_key_bytes(text, _SECRET, "secret"))

    @property
    def text(self) -> str:
        """How it is written."""
        return _SECRET + base64.b64encode(self.raw).decode()

    def public(self, label: str = "") -> PublicKey:
        """Its public half."""
        return PublicKey(Ed25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw(), label)

    def sign(self, kind: str, subject: Digest, body: bytes) -> bytes:
        """A document.

        Args:
            kind: directory of the remote it is for.
            subject: the locator or name it is for, 32 bytes.
            body: its content.
        """
        signature = Ed25519PrivateKey.from_private_bytes(self.raw).sign(_signed(kind, subject, body))
        return MAGIC + _encoder.encode((self.public().id, signature, body))


class Trusted:
    """The public keys a reader has pinned.

    Args:
        keys: at best few.
    """

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self.keys = {key.id: key for key in keys}

    def body(self, kind: str, subject: Digest, document: bytes) -> bytes:
        """The body of a document, once its signature was found right.

        Raises:
            UntrustedError: it is unsigned, signed by a key that is not pinned, altered, or for another name.
        """
        if not document.startswith(MAGIC):
            raise UntrustedError("an object is not a signed document")
        try:
            key_id, signature, body = _decoder.decode(memoryview(document)[len(MAGIC) :])
        except msgspec.MsgspecError as error:
            raise UntrustedError("an object is not a signed document", why=str(error)) from error
        key = self.keys.get(key_id)
        if key is None:
            raise UntrustedError(
                f"an object is signed by the key {key_id.hex()[:16]}", why="that key is not trusted here"
            )
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, _signed(kind, subject, body))
        except (InvalidSignature, ValueError) as error:
            why = f"altered, or signed by {key_id.hex()} for something else"
            raise UntrustedError("an object's signature is wrong", why=why) from error
        return body


def _signed(kind: str, subject: Digest, body: bytes) -> bytes:
    return b"%b%b\0%b%b" % (_CONTEXT, kind.encode(), subject, hash_bytes(body))


def _key_bytes(text: str, prefix: str, word: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip().removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.strip().startswith(prefix) or len(raw) != _KEY_BYTES:
        raise KeysError(f"this is no {word} key", why=f"one is written {prefix} and 44 characters")
    return raw
