"""A proxy in front of a server that does to it what networks and servers do: late, broken, wrong, refusing, silent.

    with FaultyProxy(server.port) as proxy:
        proxy.rules.append(Rule("hang", method="GET", part="/packs/"))

It is raw: one thread a connection, requests told apart by their heads, bodies passed on as they come.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_HEAD_LIMIT = 1 << 16
_CHUNK = 1 << 14
_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_HOST = re.compile(rb"^host:[^\r\n]*", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"\d{3}")


@dataclass
class Rule:
    """What is done to matching requests.

    Attributes:
        fault: `hang` (no answer), `reset`, `truncate` (half the body, then the end), `flip` (one bit of the body),
            `swap` (another object's body: `value`), `stall` (half the body, then nothing), `late` (the whole answer,
            its first byte after `seconds`), or a status (`403`).
        method: of the request, empty for any.
        part: what its path must contain.
        times: how often; negative for always.
        value: of `swap`, the body; of a status, the body.
        after: the request reaches the server, only its answer is replaced: what a client sees of a lost connection.
    """

    fault: str
    method: str = ""
    part: str = ""
    times: int = -1
    value: bytes = b""
    after: bool = False
    seconds: float = 0.0

    def fits(self, method: str, path: str) -> bool:
        """Whether it is for this request; each yes counts."""
        if self.times == 0 or (self.method and method != self.method) or self.part not in path:
            return False
        self.times -= self.times > 0
        return True


@dataclass
class FaultyProxy:
    """Listens on loopback until its context ends.

    Attributes:
        port: where the server is.
        latency_s: added to each request.
        bytes_per_s: of answers, 0 for no bound.
        rules: the first that fits is done.
        seen: (method, path) of every request.
        checks: each may refuse a request (its head and body) as another server would: status and code, or None.
        refused: what they refused.
    """

    port: int
    latency_s: float = 0.0
    bytes_per_s: int = 0
    rules: list[Rule] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    checks: list[Callable[[bytes, bytes], tuple[str, str] | None]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)

    def __enter__(self) -> FaultyProxy:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()
        self._ends = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._listener.close()
        for connection in list(self._open):
            _close(connection)

    @property
    def url(self) -> str:
        """What clients use as the endpoint."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def requests(self, method: str = "", part: str = "") -> list[tuple[str, str]]:
        """Those seen so far."""
        return [one for one in self.seen if (not method or one[0] == method) and part in one[1]]

    def _accept(self) -> None:
        while not self._ends.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream: socket.socket | None = None
        buffer = b""
        try:
            while not self._ends.is_set():
                head, buffer = _read_head(client, buffer)
                if not head:
                    return
                length = _length(head)
                while len(buffer) < length:
                    more = client.recv(_CHUNK)
                    if not more:
                        return
                    buffer += more
                body, buffer = buffer[:length], buffer[length:]
                if upstream is None:
                    upstream = socket.create_connection(("127.0.0.1", self.port))
                    upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._open.add(upstream)
                if not self._one(client, upstream, head, body):
                    return
        except OSError:
            return
        finally:
            for connection in (client, upstream):
                if connection is not None:
                    self._open.discard(connection)
                    _close(connection)

    def _one(self, client: socket.socket, upstream: socket.socket, head: bytes, body: bytes) -> bool:
        """One request; whether the connection can be used again."""
        method, path = head.split(b" ", 2)[0].decode(), head.split(b" ", 2)[1].decode()
        self.seen.append((method, path))
        refusal = next((found for check in self.checks if (found := check(head, body))), None)
        if refusal is not None:
            self.refused.append((method, path, refusal[1]))
            client.sendall(_answer(refusal[0], b"<Error><Code>%b</Code></Error>" % refusal[1].encode()))
            return True
        rule = next((rule for rule in self.rules if rule.fits(method, path)), None)
        self._ends.wait(self.latency_s)
        if rule is not None and not rule.after and rule.fault in ("hang", "reset"):
            return self._refuse(client, rule)
        if rule is not None and not rule.after and _STATUS.fullmatch(rule.fault):
            client.sendall(_answer(rule.fault, rule.value))
            return True
        upstream.sendall(head + body)
        answer, rest = _read_head(upstream, b"")
        length = 0 if method == "HEAD" or b" 304 " in answer[:20] or b" 204 " in answer[:20] else _length(answer)
        content = rest
        while len(content) < length:
            more = upstream.recv(_CHUNK)
            if not more:
                return False
            content += more
        if rule is not None:
            return self._spoil(client, rule, answer, content)
        self._send(client, answer + content)
        return True

    def _refuse(self, client: socket.socket, rule: Rule) -> bool:
        if rule.fault == "hang":
            self._ends.wait(600)
        else:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return False

    def _spoil(self, client: socket.socket, rule: Rule, head: bytes, body: bytes) -> bool:
        if rule.fault in ("hang", "reset"):
            return self._refuse(client, rule)
        if _STATUS.fullmatch(rule.fault):
            client.sendall(_answer(rule.fault, rule.value))
            return True
        if rule.fault == "late":
            self._ends.wait(rule.seconds)
            self._send(client, head + body)
            return True
        if rule.fault in ("truncate", "stall"):
            client.sendall(head + body[: len(body) // 2])
            if rule.fault == "stall":
                self._ends.wait(600)
            return False
        if rule.fault == "flip":
            at = len(body) * 2 // 3
            self._send(client, head + body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
            return True
        assert rule.fault == "swap", rule.fault
        sized = _LENGTH.sub(b"content-length: %d" % len(rule.value), head)
        self._send(client, sized + rule.value)
        return True

    def _send(self, client: socket.socket, data: bytes) -> None:
        if not self.bytes_per_s:
            client.sendall(data)
            return
        for start in range(0, len(data), _CHUNK):
            client.sendall(data[start : start + _CHUNK])
            time.sleep(_CHUNK / self.bytes_per_s)


def _read_head(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes]:
    """A head with its blank line, and what came after it; empty at the end of the connection."""
    while b"\r\n\r\n" not in buffer:
        more = connection.recv(_CHUNK)
        if not more or len(buffer) > _HEAD_LIMIT:
            return b"", b""
        buffer += more
    head, _, rest = buffer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def _answer(status: str, body: bytes) -> bytes:
    reason = {"403": "Forbidden", "404": "Not Found", "409": "Conflict", "412": "Precondition Failed"}
    line = f"HTTP/1.1 {status} {reason.get(status, 'Trouble')}\r\n"
    return line.encode() + b"content-type: application/xml\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
