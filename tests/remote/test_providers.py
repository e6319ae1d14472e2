"""AWS and R2, which cannot be reached from a test: their documented differences, as rules of a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from kache.config.remote import parse_place
from kache.errors import RemoteDeniedError, RemoteError
from kache.remote.backend import IN_THE_BACKGROUND, MULTIPART_BYTES, Backend
from tests.support.machines import Machines, pushed
from tests.support.projects import everything
from tests.support.servers import differences
from tests.support.servers.proxy import FaultyProxy, Rule


@pytest.mark.parametrize(("provider", "region"), [("aws", "us-east-1"), ("r2", "auto")])
def test_everything_kache_asks_is_what_the_provider_takes(
    behind_proxy: Machines, proxy: FaultyProxy, provider: str, region: str, tmp_path: Path
) -> None:
    """Guards AWS and R2: a whole exchange of two machines, and no request they would refuse."""
    behind_proxy.remote += f"&region={region}"
    proxy.checks[:] = getattr(differences, provider)()
    writer, reader = behind_proxy.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    second = reader.checkout("b", everything())
    second.build().expect(hits=5, misses=0)
    second.same_bytes_as_plain()
    assert writer.data("remote", "verify", "--packs")["done"] == 5
    assert reader.data("sync", "--pull")["pull"]["failed"] == 0
    assert writer.kache("doctor").returncode == 0
    large = tmp_path / "large"
    large.write_bytes(bytes(MULTIPART_BYTES + 1))
    asyncio.run(_backend(behind_proxy).create("v1/packs/large", large))
    assert writer.data("remote", "gc", "--max-age", "0s")["entries"] == 5
    assert proxy.refused == []


@pytest.mark.parametrize(
    ("rule", "said", "advice"),
    [
        (differences.skewed, "RequestTimeTooSkewed: The difference", "clock"),
        (differences.expired, "ExpiredToken: The provided token", "sign in again"),
        (differences.other_region, "PermanentRedirect", "region"),
        (differences.unlisted, "AccessDenied", "s3:ListBucket"),
    ],
)
def test_a_refusal_that_waiting_does_not_mend_is_told_at_once(
    behind_proxy: Machines, proxy: FaultyProxy, rule: Callable[[], Rule], said: str, advice: str
) -> None:
    proxy.rules.append(rule())
    with pytest.raises(RemoteDeniedError) as caught:
        asyncio.run(_backend(behind_proxy).get("v1/some", 10))
    assert said in caught.value.why and advice in caught.value.fix
    assert len(proxy.seen) == 1


def test_keys_that_ended_are_asked_for_anew(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards days: the request after a refusal has new credentials, from wherever they came."""
    backend = _backend(behind_proxy)

    async def work() -> None:
        assert await backend.create("v1/one", b"x")
        backend.env = {**backend.env, "AWS_ACCESS_KEY_ID": "another", "AWS_SECRET_ACCESS_KEY": "one"}
        assert await backend.create("v1/two", b"x")  # the client keeps what it has
        proxy.rules.append(differences.expired(times=1))
        with pytest.raises(RemoteDeniedError, match="cannot write v1/three"):
            await backend.create("v1/three", b"x")
        with pytest.raises(RemoteDeniedError) as caught:
            await backend.create("v1/three", b"x")
        assert "InvalidAccessKeyId" in caught.value.why

    asyncio.run(work())


def test_what_slows_down_or_conflicts_is_tried_again(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    backend = _backend(behind_proxy)
    for rule in (differences.slow_down(times=2), differences.conflict(times=2), Rule("429", times=2)):
        proxy.rules[:] = [rule]
        assert asyncio.run(_backend(behind_proxy).create(f"v1/{rule.fault}", b"x"))
    assert asyncio.run(backend.get("v1/409", 10)) == b"x"


def test_a_conflict_that_does_not_end_is_no_success(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards what is queued: nobody knows whether the object is there, so it is not taken for sent."""
    proxy.rules.append(differences.conflict())
    with pytest.raises(RemoteError, match="cannot write v1/some"):
        asyncio.run(_backend(behind_proxy).create("v1/some", b"x"))
    proxy.rules.clear()
    assert asyncio.run(_backend(behind_proxy).get("v1/some", 10)) is None


def _backend(machines: Machines) -> Backend:
    return Backend(parse_place(machines.remote), machines.env, IN_THE_BACKGROUND)
