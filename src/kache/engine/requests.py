"""A request's environment, as bytes and as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from kache.ipc.protocol import Request

_BYTES = "latin-1"
_JOBSERVER = (b"CARGO_MAKEFLAGS", b"MAKEFLAGS", b"MFLAGS")


@dataclass(frozen=True, slots=True)
class Announcement:
    """A cargo that is about to start.

    Attributes:
        pid: of the process that will be it.
        argv, cwd, umask, mount_ns: its.
        env: `NAME=VALUE` items.
        rustc: the compiler it will ask, by path or by name.
    """

    pid: int
    argv: tuple[bytes, ...]
    cwd: bytes
    umask: int
    mount_ns: int
    env: tuple[bytes, ...]
    rustc: bytes

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Announcement:
        """Read it from a command of the CLI.

        Raises:
            KeyError, TypeError, AttributeError: something is not there, or not what it should be.
        """
        return cls(
            pid=int(message["pid"]),
            argv=_as_bytes(message["argv"]),
            cwd=message["cwd"].encode(_BYTES),
            umask=int(message["umask"]),
            mount_ns=int(message["mount_ns"]),
            env=_as_bytes(message["env"]),
            rustc=message["rustc"].encode(_BYTES),
        )

    def to_message(self) -> dict[str, Any]:
        """As a command for the daemon; texts stand for bytes one by one."""
        return {
            "op": "seed",
            "pid": self.pid,
            "argv": [word.decode(_BYTES) for word in self.argv],
            "cwd": self.cwd.decode(_BYTES),
            "umask": self.umask,
            "mount_ns": self.mount_ns,
            "env": [item.decode(_BYTES) for item in self.env],
            "rustc": self.rustc.decode(_BYTES),
        }

    def as_request(self) -> Request:
        """The question that cargo would ask first."""
        return Request(
            pid=self.pid,
            ppid=self.pid,
            umask=self.umask,
            flags=0,
            mount_ns=self.mount_ns,
            launcher_version="",
            cwd=self.cwd,
            argv=[self.rustc, b"-vV"],
            env=list(self.env),
        )


def _as_bytes(texts: list[str]) -> tuple[bytes, ...]:
    return tuple(text.encode(_BYTES) for text in texts)


def environment(request: Request) -> dict[bytes, bytes]:
    """Names and values as the process has them; the last of a name given twice counts."""
    return {name: value for name, _, value in (pair.partition(b"=") for pair in request.env)}


def environment_text(request: Request) -> dict[str, str]:
    """The same for what reads settings."""
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment(request).items()}


def environment_afterwards(request: Request) -> dict[bytes, bytes]:
    """The same for a compile when its cargo has ended: rustc would warn of a jobserver that is gone."""
    return {name: value for name, value in environment(request).items() if name not in _JOBSERVER}
