"""A server that cannot be had is an error, never a reason to test less."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import servers


@pytest.mark.parametrize(("name", "why"), [("azurite", "there is no npm"), ("ceph", "one must be root")])
def test_a_server_that_cannot_be_had_fails_and_says_what_to_do(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "HOME", tmp_path)
    monkeypatch.setattr(servers, "BIN", tmp_path / "bin")
    monkeypatch.setattr(servers, "CEPH_PROGRAMS", ("no-such-program",))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KACHE_NO_APT", "1")
    with pytest.raises(servers.ServersError, match=why) as caught:
        servers.installed(name)
    assert "KACHE_NO_SERVERS=1" in str(caught.value) and "fix: install" in str(caught.value)
