"""What kache asks of a server, on every kind of it: the same answers from all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kache.config.remote import parse_place
from kache.errors import RemoteDeniedError, RemoteError, RemoteObjectError
from kache.remote.backend import IN_THE_BACKGROUND, MULTIPART_BYTES, Backend, Found
from tests.remote.conftest import Place
from tests.support.servers.proxy import FaultyProxy, Rule

T = TypeVar("T")
Work = Callable[[Backend], Coroutine[Any, Any, T]]


def on(place: Place, work: Work[T], url: str = "", env: dict[str, str] | None = None) -> T:
    """Do something with a fresh backend: it belongs to one event loop."""
    backend = Backend(parse_place(url or place.url), place.env if env is None else env, IN_THE_BACKGROUND)

    async def once() -> T:
        return await work(backend)

    return asyncio.run(once())


async def listed(backend: Backend, prefix: str) -> list[Found]:
    return [found async for found in backend.list(prefix)]


def test_what_was_put_is_there_whole_and_what_was_not_is_not(place: Place) -> None:
    content = bytes(range(256)) * 4096

    async def work(backend: Backend) -> None:
        assert await backend.get("v1/none/of/these", 10) is None
        assert await backend.create("v1/packs/aa/some", content)
        assert await backend.get("v1/packs/aa/some", len(content)) == content
        assert [piece async for piece in backend.stream("v1/packs/aa/none")] == [None]
        assert b"".join([piece or b"" async for piece in backend.stream("v1/packs/aa/some")]) == content
        assert await backend.create("v1/empty/one", b"")
        assert await backend.get("v1/empty/one", 0) == b""
        assert (backend.sent_bytes, backend.received_bytes) == (len(content), 2 * len(content))

    on(place, work)


def test_an_object_is_put_once(place: Place) -> None:
    """Guards write-once: who comes second is told so, and changes nothing."""

    async def work(backend: Backend) -> None:
        assert await backend.create("v1/entries/aa/one", b"first")
        assert not await backend.create("v1/entries/aa/one", b"second")
        assert await backend.get("v1/entries/aa/one", 100) == b"first"
        sent = await asyncio.gather(*(backend.create("v1/entries/aa/race", b"%d" % number) for number in range(8)))
        (winner,) = [number for number, was_first in enumerate(sent) if was_first]
        assert await backend.get("v1/entries/aa/race", 100) == b"%d" % winner

    on(place, work)


def test_what_is_longer_than_asked_for_is_not_read(place: Place) -> None:
    async def work(backend: Backend) -> None:
        await backend.create("v1/entries/aa/long", bytes(5 << 20))
        with pytest.raises(RemoteObjectError, match="more than 1000 bytes"):
            await backend.get("v1/entries/aa/long", 1000)

    on(place, work)


def test_large_files_travel_in_parts(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    with path.open("wb") as file:
        for number in range(MULTIPART_BYTES // (1 << 20) + 1):
            file.write(b"%07d\n" % number * (1 << 17))

    async def work(backend: Backend) -> None:
        assert await backend.create("v1/packs/aa/large", path)
        pieces = [piece async for piece in backend.stream("v1/packs/aa/large")]
        assert b"".join(piece or b"" for piece in pieces) == path.read_bytes()

    on(place, work)


def test_a_listing_names_all_below_and_nothing_else(place: Place) -> None:
    names = [f"v1/entries/{number % 7:02}/{number:04}" for number in range(30)]

    async def work(backend: Backend) -> None:
        assert await listed(backend, "v1/entries/") == []
        for name in (*names, "v1/entriesandmore/aa", "v1/packs/aa/x"):
            await backend.create(name, name.encode())
        found = await listed(backend, "v1/entries/")
        assert sorted(item.name for item in found) == sorted(names)
        assert {item.size for item in found} == {len(names[0])}
        assert len({item.modified_s for item in found}) >= 1 and min(item.modified_s for item in found) > 1.6e9

    on(place, work)


def test_what_was_deleted_is_gone_and_can_be_put_again(place: Place) -> None:
    async def work(backend: Backend) -> None:
        for name in ("v1/a/1", "v1/a/2", "v1/a/3"):
            await backend.create(name, b"x")
        await backend.delete(["v1/a/1", "v1/a/never", "v1/a/2"])
        assert [item.name for item in await listed(backend, "v1/a/")] == ["v1/a/3"]
        assert await backend.get("v1/a/1", 10) is None
        assert await backend.create("v1/a/1", b"again")

    on(place, work)


def test_who_may_not_is_told_so(place: Place, tmp_path: Path) -> None:
    """Guards people: no rights is another thing than no answer, and says what the server said."""
    if place.server is None:
        directory = place.url.removeprefix("file://")
        Path(directory, "v1").write_text("a file where a directory should be")
        with pytest.raises(RemoteError, match="cannot write v1/a/1"):
            on(place, lambda backend: backend.create("v1/a/1", b"x"))
        return
    works: list[Work[Any]] = [
        lambda backend: backend.get("v1/a/1", 10),
        lambda backend: backend.create("v1/a/1", b"x"),
        lambda backend: listed(backend, "v1/a/"),
        lambda backend: backend.delete(["v1/a/1"]),
    ]
    with FaultyProxy(place.server.port) as proxy:
        url = place.url.replace(f":{place.server.port}", f":{proxy.url.rpartition(':')[2]}")
        if place.server.wrong_env is None:  # it lets everybody in
            proxy.rules.append(Rule("403", value=b"<Error><Code>AccessDenied</Code></Error>"))
        for work in works:
            with pytest.raises(RemoteDeniedError) as caught:
                on(place, work, url, env=place.server.wrong_env or {})
            assert "the server answered 403" in caught.value.why


def test_a_bucket_that_is_not_there_is_told(place: Place) -> None:
    if place.server is None:
        url = place.url + "/nowhere"
    else:
        bucket = parse_place(place.url).bucket
        url = place.url.replace(bucket, bucket + "-nowhere")
    with pytest.raises(RemoteError) as caught:
        on(place, lambda backend: backend.create("v1/a/1", b"x"), url)
    assert "cannot" in caught.value.what and caught.value.why and caught.value.fix
