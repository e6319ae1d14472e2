"""Which environment variables hold what nobody should read: told by name, as their values look like any other."""

from __future__ import annotations

_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE", "API_KEY", "ACCESS_KEY")


def is_secret(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    return any(word in name.upper() for word in _WORDS)
