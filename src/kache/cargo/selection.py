"""Which features and packages a cargo command chooses, as far as it decides which units are wanted."""

from __future__ import annotations

from collections.abc import Sequence

_FEATURES = (b"--features", b"-F")
_PACKAGES = (b"--package", b"-p")


def read(argv: Sequence[bytes]) -> tuple[str, ...]:
    """Read cargo's argv.

    Returns:
        Sorted: `+name` for a feature, `+*` for all, `-*` for no default ones, `@spec` for a package.
    """
    found: set[str] = set()
    words = iter(argv[1:])
    for word in words:
        if word == b"--":
            break
        name, equals, value = word.partition(b"=")
        if word == b"--all-features":
            found.add("+*")
        elif word == b"--no-default-features":
            found.add("-*")
        elif name in _FEATURES or name in _PACKAGES:
            value = value if equals else next(words, b"")
            _add(found, name in _FEATURES, value)
        elif word.startswith((b"-F", b"-p")):
            _add(found, word.startswith(b"-F"), word[2:])
    return tuple(sorted(found))


def _add(found: set[str], is_feature: bool, value: bytes) -> None:  # noqa: FBT001 - both of one kind
    text = value.decode(errors="replace")
    if is_feature:
        found.update(f"+{name}" for name in text.replace(",", " ").split())
    elif "/" not in text:  # a path or a URL says where things lie
        found.add(f"@{text}")
