"""Keys on this machine: the secret one we sign with, and the public ones we trust.

    <config dir>/keys/signing.key    0600, one line: the secret key
    <config dir>/keys/trusted        a line a key: public key, blank, label
    <config dir>/keys/revoked        the same; what stands here is not trusted, wherever else it stands

KACHE_REMOTE_SIGNING_KEY (a secret key, or the path of a file with one) and KACHE_REMOTE_TRUSTED_KEYS (public keys,
divided by blanks or commas) serve machines that keep nothing, such as CI. Our own key is always trusted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kache.config.paths import keys_dir
from kache.errors import KeysError
from kache.remote.trust import PublicKey, SecretKey, Trusted
from kache.util import atomic

SIGNING_ENV = "KACHE_REMOTE_SIGNING_KEY"
TRUSTED_ENV = "KACHE_REMOTE_TRUSTED_KEYS"
SIGNING_NAME = "signing.key"
TRUSTED_NAME = "trusted"
REVOKED_NAME = "revoked"
_OWN_LABEL = "this machine"
_ENV_LABEL = f"from {TRUSTED_ENV}"


class Keyring:
    """The keys of one user.

    Args:
        env: where to look.

    Raises:
        KeysError: a file is not what it must be.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.directory = keys_dir(env)
        self._env = env
        self.signing = self._load_signing()
        self.revoked = _read(self.directory / REVOKED_NAME)
        self.pinned = _read(self.directory / TRUSTED_NAME)

    @property
    def keys(self) -> list[PublicKey]:
        """Every key that is trusted, each once."""
        own = [self.signing.public(_OWN_LABEL)] if self.signing else []
        given = [PublicKey.parse(word, _ENV_LABEL) for word in self._env.get(TRUSTED_ENV, "").replace(",", " ").split()]
        revoked = {key.raw for key in self.revoked}
        found: dict[bytes, PublicKey] = {}
        for key in (*self.pinned, *given, *own):
            if key.raw not in revoked:
                found.setdefault(key.raw, key)
        return list(found.values())

    @property
    def trusted(self) -> Trusted:
        """What documents are checked with."""
        return Trusted(self.keys)

    def generate(self) -> PublicKey:
        """Make a signing key.

        Raises:
            KeysError: there is one, or it cannot be written.
        """
        path = self.directory / SIGNING_NAME
        if path.exists():
            raise KeysError(f"there is a signing key in {path}", why="what it signed would have to be signed anew")
        self.signing = SecretKey.generate()
        self._write(SIGNING_NAME, self.signing.text + "\n")
        return self.signing.public(_OWN_LABEL)

    def trust(self, key: PublicKey) -> None:
        """Pin a key; one that was revoked is trusted again."""
        self.pinned = [*(other for other in self.pinned if other.raw != key.raw), key]
        self.revoked = [other for other in self.revoked if other.raw != key.raw]
        self._write(REVOKED_NAME, _lines(self.revoked))
        self._write(TRUSTED_NAME, _lines(self.pinned))

    def revoke(self, key: PublicKey) -> None:
        """Trust a key no longer."""
        self.revoked = [*(other for other in self.revoked if other.raw != key.raw), key]
        self.pinned = [other for other in self.pinned if other.raw != key.raw]
        self._write(REVOKED_NAME, _lines(self.revoked))
        self._write(TRUSTED_NAME, _lines(self.pinned))

    def find(self, text: str) -> PublicKey:
        """A key by itself, its id (at least 4 digits) or its label.

        Raises:
            KeysError: there is none, or more than one.
        """
        if text.startswith("kache-"):
            return PublicKey.parse(text)
        by_id = text.lower() if len(text) >= 4 else "no id"
        known = {key.raw: key for key in (*self.keys, *self.revoked)}.values()
        found = [key for key in known if key.id.hex().startswith(by_id) or key.label == text]
        if len(found) != 1:
            raise KeysError(f"{len(found)} keys are called {text!r}")
        return found[0]

    def _load_signing(self) -> SecretKey | None:
        given = self._env.get(SIGNING_ENV, "")
        if given.startswith("kache-"):
            return SecretKey.parse(given)
        path = Path(given) if given else self.directory / SIGNING_NAME
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                text = file.read(4096).decode()
        except FileNotFoundError:
            if given:
                raise KeysError(f"there is no key {path}", why=f"{SIGNING_ENV} names it") from None
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KeysError(f"cannot read {path}", why=str(error)) from error
        if found.st_uid not in (os.getuid(), 0) or stat.S_IMODE(found.st_mode) & 0o077:
            raise KeysError(f"{path} is open to others", why="they could sign as we do", fix=f"chmod 600 {path}")
        return SecretKey.parse(text)

    def _write(self, name: str, text: str) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(self.directory / name, text.encode())
        except OSError as error:
            raise KeysError(f"cannot write {self.directory / name}", why=error.strerror or str(error)) from error


def _read(path: Path) -> list[PublicKey]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"cannot read {path}", why=str(error)) from error
    pairs = (line.partition(" ") for line in lines if line.strip() and not line.startswith("#"))
    return [PublicKey.parse(key, label.strip()) for key, _, label in pairs]


def _lines(keys: list[PublicKey]) -> str:
    return "".join(f"{key.text} {key.label}".rstrip() + "\n" for key in keys)
