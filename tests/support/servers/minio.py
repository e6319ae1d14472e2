"""A MinIO on loopback: `tools/servers.py` builds it once, from its source."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import sign
from obstore.store import S3Store

from tools.servers import installed

ACCESS, SECRET = "kacheadmin", "kachesecret"
_START_LIMIT_S = 30


class S3Server:
    """A server that speaks S3.

    Args:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def env(self) -> dict[str, str]:
        """Credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}

    def url(self, bucket: str, endpoint: str = "") -> str:
        """A remote in a bucket of it, which is made."""
        self.make_bucket(bucket)
        return f"s3://{bucket}/pre/fix?endpoint={endpoint or f'http://127.0.0.1:{self.port}'}"

    def client(self, bucket: str) -> S3Store:
        """A client of our own."""
        options: Any = {"allow_http": True}
        config: Any = {"access_key_id": ACCESS, "secret_access_key": SECRET, "region": "us-east-1", "bucket": bucket}
        config["endpoint"] = f"http://127.0.0.1:{self.port}"
        return S3Store(config=config, client_options=options)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket unless it is there."""
        url = sign(self.client(bucket), "PUT", "", timedelta(seconds=60))
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 409:
                    return
                # Alive and not ready: a busy machine needs seconds for that.
                if error.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


@contextmanager
def minio() -> Iterator[S3Server]:
    """Run one in a scratch directory."""
    program = installed("minio")
    directory = Path(tempfile.mkdtemp(prefix="kache-minio-"))
    port = free_port()
    env = {"PATH": os.defpath, "HOME": str(directory), "MINIO_ROOT_USER": ACCESS, "MINIO_ROOT_PASSWORD": SECRET}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server", "--quiet", "--address", f"127.0.0.1:{port}", directory / "data"],
            env={**env, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/minio/health/live", directory / "log")
        yield S3Server(port)
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until a server answers with anything but a server error."""
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.05)
