"""One question to the daemon and its answer, or its answers for as long as somebody watches."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from kache.errors import DaemonSilentError, DaemonUnreachableError
from kache.ipc.protocol import HEADER_SIZE, Control, ProtocolError, Reply, decode, parse_header

_PEER = struct.Struct("3i")  # pid, uid, gid


def control(socket_path: Path, message: dict[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
    """Send a command to the daemon.

    Args:
        socket_path: where it listens.
        message: `{"op": ...}` and what the op needs.
        timeout_s: longest silence.

    Returns:
        Its reply.

    Raises:
        DaemonUnreachableError: nobody listens, somebody else's process does, or it does not answer in time or sense.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        _ask(connection, socket_path, message)
        return _answer(connection, socket_path)


class Watch:
    """What the daemon tells of itself, message by message.

    Args:
        socket_path: where it listens.
        silence_s: longer than the daemon is ever silent.

    Raises:
        DaemonUnreachableError: as for `control`.
    """

    def __init__(self, socket_path: Path, silence_s: float = 15.0) -> None:
        self._path = socket_path
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(silence_s)
        try:
            _ask(self._connection, socket_path, {"op": "watch"})
        except BaseException:
            self._connection.close()
            raise

    def next(self) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            DaemonUnreachableError: the daemon has ended, or `close` was called.
        """
        return _answer(self._connection, self._path)

    def close(self) -> None:
        """Watch no more; another thread's `next` ends."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _ask(connection: socket.socket, socket_path: Path, message: dict[str, Any]) -> None:
    try:
        connection.connect(str(socket_path))
        if not _is_own_peer(connection):
            raise DaemonUnreachableError(
                f"the process on {socket_path} belongs to another user",
                fix="set KACHE_SOCKET_PATH to a place of your own",
            )
        connection.sendall(Control(message).encode())
    except OSError as error:
        raise DaemonUnreachableError(f"no daemon answers on {socket_path}", why=str(error)) from error


def _answer(connection: socket.socket, socket_path: Path) -> dict[str, Any]:
    try:
        kind, length = parse_header(_receive(connection, HEADER_SIZE))
        reply = decode(kind, _receive(connection, length))
    except TimeoutError as error:
        raise _silent(connection, socket_path) from error
    except (OSError, ProtocolError) as error:
        raise DaemonUnreachableError(f"no daemon answers on {socket_path}", why=str(error)) from error
    if not isinstance(reply, Reply):
        raise DaemonUnreachableError(f"the daemon on {socket_path} answered with something else than a reply")
    return reply.message


def _silent(connection: socket.socket, socket_path: Path) -> DaemonSilentError:
    pid = _peer(connection)[0] if sys.platform == "linux" else 0
    who, end = (f" (pid {pid})", f"kill -9 {pid}") if pid else ("", "end it")
    return DaemonSilentError(
        f"the daemon{who} does not answer",
        why=f"nothing on {socket_path} for {connection.gettimeout() or 0:.0f} s: it was stopped, or it hangs",
        fix=f"see kache daemon log; {end}, then kache daemon start; builds go on without it",
    )


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise ConnectionError("it closed the connection without an answer")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _is_own_peer(connection: socket.socket) -> bool:
    if sys.platform != "linux":
        return True  # the directory's mode guards it
    return _peer(connection)[1] == os.geteuid()


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the listener, on Linux."""
    pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(pid), int(uid)
