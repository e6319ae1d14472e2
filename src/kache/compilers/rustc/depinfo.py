r"""Read rustc's dep-info files, and carry them from one checkout to another.

What rustc writes (1.63 to 1.95, seen by experiment):

```
text     := ( rule | name | env | checksum | "" )* each ended by "\n"
rule     := target ": " path ( " " path )*         one for each output; target is raw, blanks included
name     := path ":"                               one for each path of the rules
path     := bytes, a blank written "\ "            nothing else is escaped: "\", "#", ":", "$", even a newline stay
env      := "# env-dep:" name [ "=" value ]        no "=" for an unset variable; "\n" "\r" "\\" escaped
checksum := "# checksum:" kind "=" hex " file_len:" number " " path
```

That is ambiguous for paths with a newline or ending in a backslash; such files are refused because their rules and
names disagree, never misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kache.errors import KacheError

Roots = Sequence[tuple[bytes, bytes]]
"""(absolute directory, placeholder) pairs."""

_ENV = b"# env-dep:"
_CHECKSUM = b"# checksum:"
_ENV_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ENV_UNESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}
# Bytes that can be part of a path component: a root inside a value counts only where none of them stands before it.
_BOUNDARY = rb"(?<![A-Za-z0-9._\-+~@/\x80-\xff])"
_BOUNDARY_END = rb"(?![A-Za-z0-9._\-+~@\x80-\xff])"


class DepInfoError(KacheError):
    """A dep-info file does not have the form rustc writes."""

    code = "dep-info-malformed"


@dataclass(frozen=True, slots=True)
class DepInfo:
    """What a compile read, as rustc reports it.

    Attributes:
        files: as written, relative to rustc's working directory if not absolute; no duplicates.
        env: (name, value) pairs, None for an unset variable.
    """

    files: tuple[bytes, ...]
    env: tuple[tuple[bytes, bytes | None], ...]


def parse(text: bytes) -> DepInfo:
    """Parse a dep-info file.

    Raises:
        DepInfoError: it is cut short, not of this form, or ambiguous.
    """
    names: dict[bytes, None] = {}
    env: list[tuple[bytes, bytes | None]] = []
    rules: set[bytes] = set()
    for line in _lines(text):
        if not line:
            continue
        if line[:1] == b"#":
            if line.startswith(_ENV):
                env.append(_env(line))
                continue
            if line.startswith(_CHECKSUM):
                continue
        target, colon, paths = line.partition(b": ")
        if colon and target:
            rules.add(paths)
        elif line[-1:] == b":" and len(line) > 1:
            names[_unescape(line[:-1])] = None
        else:
            raise DepInfoError(f"cannot read the dep-info line {line[:200]!r}")
    if len(rules) != 1:
        raise DepInfoError(f"the dep-info file has {len(rules)} different rules instead of one")
    if [_unescape(path) for path in _tokens(rules.pop())] != list(names):
        raise DepInfoError("the rules of the dep-info file do not agree with its names")
    return DepInfo(tuple(names), tuple(env))


def template(text: bytes, roots: Roots) -> bytes:
    """Replace root directories by placeholders wherever a path, or a path in an env value, starts with one.

    Args:
        text: dep-info file.
        roots: the deepest root that fits a path wins.

    Raises:
        DepInfoError: a placeholder occurs in the text already.
    """
    if any(placeholder in text for _root, placeholder in roots):
        raise DepInfoError("a placeholder occurs in the dep-info file")
    real = tuple((root.rstrip(b"/"), placeholder) for root, placeholder in roots if root.strip(b"/"))
    raw, escaped, values = _Replacer(real, bytes), _Replacer(real, _escape), _value_replacer(real)
    return _by_line(text, raw.path, escaped.path, values)


def fill(text: bytes, roots: Roots, env: Mapping[bytes, bytes] | None = None) -> bytes:
    """Put directories in place of the placeholders: the inverse of `template` for the same roots.

    Args:
        text: result of `template`.
        roots: this checkout's directories with the same placeholders.
        env: environment of the call; variables it has are written with its values, as rustc would.
    """
    real = tuple((root.rstrip(b"/"), placeholder) for root, placeholder in roots)

    def replacer(escape: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def replace(part: bytes) -> bytes:
            for root, placeholder in real:
                part = part.replace(placeholder, escape(root))
            return part

        return replace

    values = replacer(_escape_env)

    def values_now(line: bytes) -> bytes:
        name = _env(line)[0]
        if env is not None and name in env:
            return b"%s%s=%s" % (_ENV, _escape_env(name), _escape_env(env[name]))
        return values(line)

    if env is None and not any(_escape_env(_escape(root)) != root for root, _placeholder in real):
        return values(text)
    return _by_line(text, replacer(bytes), replacer(_escape), values_now)


def _by_line(
    text: bytes,
    target: Callable[[bytes], bytes],
    path: Callable[[bytes], bytes],
    env: Callable[[bytes], bytes],
) -> bytes:
    """Rewrite a dep-info file part by part; `env` gets whole lines, the others one path as written."""
    rewritten = []
    memo: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        if line.startswith(_ENV):
            rewritten.append(env(line))
        elif line.startswith(_CHECKSUM):
            head, size, rest = line.partition(b" file_len:")
            number, blank, name = rest.partition(b" ")
            rewritten.append(head + size + number + blank + path(name))
        elif b": " in line:
            output, colon, paths = line.partition(b": ")
            if paths not in memo:
                memo[paths] = b" ".join(map(path, _tokens(paths)))
            rewritten.append(target(output) + colon + memo[paths])
        elif line[-1:] == b":":
            rewritten.append(path(line[:-1]) + b":")
        else:
            rewritten.append(line)
    return b"\n".join(rewritten)


class _Replacer:
    """Replaces the root at the start of one path."""

    def __init__(self, roots: Roots, escape: Callable[[bytes], bytes]) -> None:
        pairs = sorted(((escape(root), placeholder) for root, placeholder in roots), key=lambda pair: -len(pair[0]))
        self._pairs = tuple(pairs)

    def path(self, path: bytes) -> bytes:
        for root, placeholder in self._pairs:
            if path.startswith(root) and path[len(root) : len(root) + 1] in (b"", b"/"):
                return placeholder + path[len(root) :]
        return path


@lru_cache(maxsize=64)
def _value_replacer(roots: tuple[tuple[bytes, bytes], ...]) -> Callable[[bytes], bytes]:
    table = {_escape_env(root): placeholder for root, placeholder in roots}
    if not table:
        return bytes
    deepest_first = sorted(table, key=len, reverse=True)
    pattern = re.compile(_BOUNDARY + rb"(?:" + b"|".join(map(re.escape, deepest_first)) + rb")" + _BOUNDARY_END)

    def replace(line: bytes) -> bytes:
        name, equals, value = line.partition(b"=")
        return name + equals + pattern.sub(lambda found: table[found[0]], value)

    return replace


def _lines(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    if lines.pop():
        raise DepInfoError("the dep-info file is cut short")
    if lines and all(line[-1:] == b"\r" for line in lines):
        return [line[:-1] for line in lines]
    return lines


def _tokens(paths: bytes) -> list[bytes]:
    """Paths of a rule, still escaped: divided by blanks that no backslash stands before."""
    tokens = paths.split(b" ")
    if b"\\ " not in paths:
        return tokens
    joined: list[bytes] = []
    for token in tokens:
        if joined and joined[-1][-1:] == b"\\":
            joined[-1] += b" " + token
        else:
            joined.append(token)
    return joined


def _env(line: bytes) -> tuple[bytes, bytes | None]:
    name, equals, value = line[len(_ENV) :].partition(b"=")
    return _unescape_env(name), _unescape_env(value) if equals else None


def _escape(path: bytes) -> bytes:
    return path.replace(b" ", b"\\ ")


def _unescape(path: bytes) -> bytes:
    return path.replace(b"\\ ", b" ")


def _escape_env(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _unescape_env(value: bytes) -> bytes:
    if b"\\" not in value:
        return value

    def one(found: re.Match[bytes]) -> bytes:
        try:
            return _ENV_UNESCAPED[found[1]]
        except KeyError:
            raise DepInfoError(f"unknown escape in the dep-info file: {found[0]!r}") from None

    return _ENV_ESCAPE.sub(one, value)
