"""Machines that share nothing but a remote, and the servers that hold it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from tests.e2e.conftest import make_box, pytest_runtest_makereport  # noqa: F401 - fixtures are found by name
from tests.support.machines import Machines
from tests.support.sandbox import Sandbox
from tests.support.servers.azurite import AzureServer, azurite
from tests.support.servers.ceph import ceph
from tests.support.servers.gcs import GcsServer, fake_gcs
from tests.support.servers.minio import minio
from tests.support.servers.proxy import FaultyProxy
from tests.support.servers.s3 import S3Server

_buckets = itertools.count()
Server: TypeAlias = S3Server | GcsServer | AzureServer
_SERVERS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "minio": minio,
    "ceph": ceph,
    "gcs": fake_gcs,
    "azure": azurite,
}
KINDS = ("directory", *_SERVERS)


class Place(NamedTuple):
    """Where something can be shared.

    Attributes:
        url: of the remote.
        env: credentials.
        server: who serves it; None for a directory.
    """

    url: str
    env: dict[str, str]
    server: Server | None


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """Starts each server when the first test of this process asks for it."""
    with ExitStack() as stack:
        started: dict[str, Server] = {}

        def get(kind: str) -> Server:
            if os.environ.get("KACHE_NO_SERVERS") == "1":
                pytest.skip("KACHE_NO_SERVERS=1")
            if kind not in started:
                started[kind] = stack.enter_context(_SERVERS[kind]())
            return started[kind]

        yield get


@pytest.fixture(scope="session")
def s3(servers: Callable[[str], Server]) -> S3Server:
    """A MinIO for all tests of this process."""
    server = servers("minio")
    assert isinstance(server, S3Server)
    return server


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, servers: Callable[[str], Server], tmp_path: Path) -> Place:
    """Every kind of remote in turn."""
    if request.param == "directory":
        directory = tmp_path / "shared"
        directory.mkdir()
        return Place(f"file://{directory}", {}, None)
    server = servers(request.param)
    return Place(server.url(bucket_name()), server.env, server)


@pytest.fixture
def everywhere(make_box: Callable[[str], Sandbox], place: Place) -> Machines:  # noqa: F811
    """Users of every kind of remote in turn."""
    return Machines(make_box, place.url, place.env)


@pytest.fixture
def machines(make_box: Callable[[str], Sandbox], tmp_path: Path) -> Machines:  # noqa: F811
    """Users of a shared directory."""
    directory = tmp_path / "shared"
    directory.mkdir()
    return Machines(make_box, f"file://{directory}")


@pytest.fixture
def in_s3(make_box: Callable[[str], Sandbox], s3: S3Server) -> Machines:  # noqa: F811
    """Users of a bucket of their own."""
    return Machines(make_box, s3.url(bucket_name()), s3.env)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    """What can go wrong between a machine and the server."""
    with FaultyProxy(s3.port) as made:
        yield made


@pytest.fixture
def behind_proxy(make_box: Callable[[str], Sandbox], s3: S3Server, proxy: FaultyProxy) -> Machines:  # noqa: F811
    """Users of a bucket behind the proxy."""
    return Machines(make_box, s3.url(bucket_name(), proxy.url), s3.env)


def bucket_name() -> str:
    """A new one."""
    return f"kache-{os.getpid()}-{next(_buckets)}"
