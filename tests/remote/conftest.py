"""Machines that share nothing but a remote, and the servers that hold it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import make_box, pytest_runtest_makereport  # noqa: F401 - fixtures are found by name
from tests.support.machines import Machines
from tests.support.sandbox import Sandbox
from tests.support.servers.minio import S3Server, minio
from tests.support.servers.proxy import FaultyProxy

_buckets = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A MinIO for all tests of this process."""
    if os.environ.get("KACHE_NO_SERVERS") == "1":
        pytest.skip("KACHE_NO_SERVERS=1")
    with minio() as server:
        yield server


@pytest.fixture
def machines(make_box: Callable[[str], Sandbox], tmp_path: Path) -> Machines:  # noqa: F811
    """Users of a shared directory."""
    directory = tmp_path / "shared"
    directory.mkdir()
    return Machines(make_box, f"file://{directory}")


@pytest.fixture
def in_s3(make_box: Callable[[str], Sandbox], s3: S3Server) -> Machines:  # noqa: F811
    """Users of a bucket of their own."""
    return Machines(make_box, s3.url(_bucket()), s3.env)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    """What can go wrong between a machine and the server."""
    with FaultyProxy(s3.port) as made:
        yield made


@pytest.fixture
def behind_proxy(make_box: Callable[[str], Sandbox], s3: S3Server, proxy: FaultyProxy) -> Machines:  # noqa: F811
    """Users of a bucket behind the proxy."""
    return Machines(make_box, s3.url(_bucket(), proxy.url), s3.env)


def _bucket() -> str:
    return f"kache-{os.getpid()}-{next(_buckets)}"
