"""A MinIO on loopback with one bucket, behind relays that hold every request back, and count."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import get, put, sign
from obstore.store import S3Store

from bench.errors import BenchError
from bench.usage import process_cpu_s
from tools.servers import ServersError, installed

ACCESS, SECRET, NAME = "benchadmin", "benchsecret", "kache-bench"
_LIMIT_S = 60
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Wire:
    """What went through a relay so far.

    Attributes:
        requests: times that a client sent something after an answer.
        sent_bytes, received_bytes: by clients, heads included.
    """

    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def since(self, before: Wire) -> Wire:
        """What went through after `before`."""
        return Wire(
            self.requests - before.requests,
            self.sent_bytes - before.sent_bytes,
            self.received_bytes - before.received_bytes,
        )


class Bucket:
    """The bucket.

    Args:
        port: of the server itself.
        relays: delay in milliseconds to the relay that has it.
        server_pid: of the server.
    """

    def __init__(self, port: int, relays: Mapping[int, Relay], server_pid: int) -> None:
        self._port = port
        self._relays = relays
        self._server_pid = server_pid

    @property
    def env(self) -> dict[str, str]:
        """Credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}

    def endpoint(self, delay_ms: int | None = None) -> str:
        """Where it is; None for the server itself, with no relay in between."""
        return f"http://127.0.0.1:{self._port if delay_ms is None else self._relays[delay_ms].port}"

    def url(self, delay_ms: int | None = None, prefix: str = "cache") -> str:
        """As `KACHE_REMOTE` names it."""
        return f"s3://{NAME}/{prefix}?endpoint={self.endpoint(delay_ms)}"

    def wire(self, delay_ms: int) -> Wire:
        """What went through a relay so far."""
        return self._relays[delay_ms].wire

    def server_cpu_s(self) -> float:
        """CPU seconds of the server so far."""
        return process_cpu_s(self._server_pid)

    def signed(self, name: str, delay_ms: int) -> str:
        """A URL for whoever fetches an object without credentials."""
        return str(sign(self._client(delay_ms), "GET", name, timedelta(hours=12)))

    def put(self, name: str, content: bytes) -> None:
        """Store an object."""
        put(self._client(), name, content)

    def get(self, name: str, delay_ms: int) -> bytes:
        """Fetch an object."""
        return bytes(get(self._client(delay_ms), name).bytes())

    def make(self) -> None:
        """Make it, as soon as the server takes requests."""
        url = sign(self._client(), "PUT", "", timedelta(seconds=60))
        deadline = time.monotonic() + _LIMIT_S
        while True:
            try:
                request = urllib.request.Request(url, method="PUT")  # noqa: S310 - on loopback
                with urllib.request.urlopen(request, timeout=10):  # noqa: S310
                    return
            except urllib.error.HTTPError as error:
                if error.code == 409:
                    return
                why = f"it answers {error.code}"
            except OSError as error:
                why = str(error)
            if time.monotonic() > deadline:
                raise BenchError("MinIO makes no bucket", why, "look at its log")
            time.sleep(0.1)

    def _client(self, delay_ms: int | None = None) -> S3Store:
        config: Any = {"access_key_id": ACCESS, "secret_access_key": SECRET, "region": "us-east-1", "bucket": NAME}
        config["endpoint"] = self.endpoint(delay_ms)
        options: Any = {"allow_http": True, "timeout": "300s"}
        return S3Store(config=config, client_options=options)


@contextlib.contextmanager
def serving(directory: Path, delays_ms: tuple[int, ...] = (0, 50)) -> Iterator[Bucket]:
    """Run the server, and a relay for each delay.

    Raises:
        BenchError: the server cannot be had.
    """
    try:
        program = installed("minio")
    except ServersError as error:
        raise BenchError("there is no MinIO", str(error), "make servers") from error
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    port = _free_port()
    env = {"PATH": os.defpath, "HOME": str(directory), "MINIO_ROOT_USER": ACCESS, "MINIO_ROOT_PASSWORD": SECRET}
    with (directory / "log").open("wb") as log:
        argv = [str(program), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(directory / "data")]
        process = subprocess.Popen(
            argv, env={**env, "MINIO_BROWSER": "off"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    relays: dict[int, Relay] = {}
    try:
        relays |= {delay_ms: Relay(port, delay_ms / 1000) for delay_ms in delays_ms}
        bucket = Bucket(port, relays, process.pid)
        bucket.make()
        yield bucket
    finally:
        for relay in relays.values():
            relay.close()
        process.terminate()
        process.wait(timeout=30)


class Relay:
    """Passes connections on; what a client sends is held back whenever it follows an answer, as a far server would.

    Args:
        to: the server's port.
        delay_s: of each request; a long one is a server that hangs.

    Attributes:
        wire: what went through.
    """

    def __init__(self, to: int, delay_s: float) -> None:
        self._to, self._delay_s = to, delay_s
        self.port = 0
        self.wire = Wire()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """End it, with the connections that are open."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._started.set()
        await self._stop.wait()
        server.close()
        # The end of asyncio.run cancels what still passes something on.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = {"answered": True}
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        try:
            there = self._pass(reader, to_server, state, is_request=True)
            await asyncio.gather(there, self._pass(from_server, writer, state, is_request=False))
        except asyncio.CancelledError:
            pass  # the relay ends
        finally:
            for each in (writer, to_server):
                each.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await each.wait_closed()

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, state: dict[str, bool], *, is_request: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                self._count(chunk, is_request=is_request, is_new=is_request and state["answered"])
                if is_request and state["answered"]:
                    await asyncio.sleep(self._delay_s)
                state["answered"] = not is_request
                to.write(chunk)
                await to.drain()
            if to.can_write_eof():
                to.write_eof()

    def _count(self, chunk: bytes, *, is_request: bool, is_new: bool) -> None:
        before, size = self.wire, len(chunk)
        sent, received = (size, 0) if is_request else (0, size)
        self.wire = Wire(before.requests + is_new, before.sent_bytes + sent, before.received_bytes + received)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
