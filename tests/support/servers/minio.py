"""A MinIO on loopback: `tools/servers.py` builds it once, from its source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.programs import free_port, running, scratch, wait_until_answers
from tests.support.servers.s3 import ACCESS, SECRET, S3Server
from tools.servers import installed


@contextmanager
def minio() -> Iterator[S3Server]:
    """Run one in a scratch directory."""
    program = installed("minio")
    port = free_port()
    env = {"MINIO_ROOT_USER": ACCESS, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
    with scratch("minio") as directory:
        argv: list[str | Path] = [program, "server", "--quiet", "--address", f"127.0.0.1:{port}", directory / "data"]
        with running(argv, directory, env) as log:
            wait_until_answers(f"http://127.0.0.1:{port}/minio/health/live", log)
            yield S3Server(port)
