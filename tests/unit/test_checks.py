"""Doctor's checks on real files; `filesystem_of` on the text of a mount table."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kache.config.load import load
from kache.setup.checks import CHECKS, cache_dir, config, filesystem, links, planner, toolchains
from kache.setup.checks import socket as socket_check
from kache.setup.doctor import examine
from kache.setup.finding import Finding, Surroundings

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /home rw - nfs4 server:/home rw
41 40 8:2 / /home/me/with\\040blank rw - btrfs /dev/sdb rw
42 22 0:36 / /mnt/ssh rw - fuse.sshfs x rw
"""


def around(tmp_path: Path, **env: str) -> Surroundings:
    full = {"HOME": str(tmp_path), "KACHE_CACHE_DIR": str(tmp_path / "cache"), "PATH": os.environ["PATH"], **env}
    return Surroundings(env=full, cwd=tmp_path, config=load(full, tmp_path))


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


@pytest.mark.parametrize(
    ("directory", "kind", "unsafe"),
    [
        ("/var/cache", "ext4", False),
        ("/home/me", "nfs4", True),
        ("/home/me/with blank/x", "btrfs", False),
        ("/homeless", "ext4", False),
        ("/mnt/ssh/a", "fuse.sshfs", True),
    ],
)
def test_filesystem_of(directory: str, kind: str, unsafe: bool) -> None:
    assert filesystem.filesystem_of(Path(directory), MOUNTS) == kind
    assert filesystem.is_unsafe(kind) is unsafe


def test_cache_dir_not_there_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    assert statuses(cache_dir.check(around(tmp_path)))[-1] == "ok"
    assert not (tmp_path / "cache").exists()


def test_cache_dir_open_to_others_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert "warn" in statuses(cache_dir.check(around(tmp_path)))


def test_cache_dir_that_is_a_file_or_relative_fails(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert statuses(cache_dir.check(around(tmp_path))) == ["fail"]
    assert statuses(cache_dir.check(around(tmp_path, KACHE_CACHE_DIR="cache"))) == ["fail"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another owner's directory")
def test_cache_dir_of_another_owner_fails(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 12345, 12345)
    assert statuses(cache_dir.check(around(tmp_path))) == ["fail"]


def test_socket_path_too_long_or_taken(tmp_path: Path) -> None:
    assert statuses(socket_check.check(around(tmp_path, KACHE_SOCKET_PATH=f"/tmp/{'a' * 120}"))) == ["fail"]
    (tmp_path / "taken").write_text("a file")
    found = socket_check.check(around(tmp_path, KACHE_SOCKET_PATH=str(tmp_path / "taken")))
    assert statuses(found) == ["fail"] and "taken" in found[0].what


def test_socket_of_ours_is_fine_unless_others_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        assert statuses(socket_check.check(around(tmp_path, KACHE_SOCKET_PATH=str(path)))) == ["ok"]
        path.chmod(0o666)
        assert statuses(socket_check.check(around(tmp_path, KACHE_SOCKET_PATH=str(path)))) == ["warn"]


def test_config_problems_and_disabled_are_warnings(tmp_path: Path) -> None:
    assert statuses(config.check(around(tmp_path))) == ["ok"]
    found = config.check(around(tmp_path, KACHE_MAX_SIZE="much", KACHE_DISABLED="1"))
    assert statuses(found) == ["warn", "warn"]


def test_links_within_one_disk_work_and_leave_nothing(tmp_path: Path) -> None:
    assert statuses(links.check(around(tmp_path))) == ["ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_broken_check_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Surroundings) -> list[Finding]:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(links, "check", broken)
    found = dict(examine(around(tmp_path)))
    assert list(found) == list(CHECKS)
    assert found["links"].status == "fail" and "unforeseen" in found["links"].what


def test_no_plans_are_made_without_a_remote(tmp_path: Path) -> None:
    (found,) = planner.check(around(tmp_path))
    assert found.status == "ok" and "without a remote" in found.what
    (found,) = planner.check(around(tmp_path, KACHE_PLANNER="http://127.0.0.1:9"))
    assert found.status == "warn" and "no remote" in found.what and found.fix


def test_where_plans_come_from_is_said(tmp_path: Path) -> None:
    remote = {"KACHE_REMOTE": f"file://{tmp_path}"}
    (found,) = planner.check(around(tmp_path, **remote))
    assert found.status == "ok" and "no service is configured" in found.what
    (found,) = planner.check(around(tmp_path, **remote, KACHE_PREFETCH="0"))
    assert found.status == "ok" and "prefetch is off" in found.what


def test_a_planner_that_does_not_answer_fails(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (found,) = planner.check(around(tmp_path, KACHE_REMOTE=f"file://{tmp_path}", KACHE_PLANNER=url))
    assert found.status == "fail" and url in found.what and "builds go on" in found.why and found.fix


def real_toolchain(tmp_path: Path, **env: str) -> Surroundings:
    kept = {name: os.environ[name] for name in ("RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN") if name in os.environ}
    return around(tmp_path, **kept, **env)


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_the_toolchain_is_identified_and_who_chose_it_is_said(tmp_path: Path) -> None:
    where = real_toolchain(tmp_path)
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], env=dict(where.env), cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    (found,) = toolchains.check(where)
    assert found.status == "ok" and found.what.startswith(sysroot)
    (tmp_path / "rust-toolchain.toml").write_text(f"[toolchain]\npath = '{sysroot}'\n")
    (found,) = toolchains.check(where)
    assert f"by {tmp_path / 'rust-toolchain.toml'}" in found.what or "by RUSTUP_TOOLCHAIN" in found.what


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_a_cargo_of_another_release_is_said(tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\necho 'cargo 1.0.0 (of long ago)'\n")
    cargo.chmod(0o755)
    found = toolchains.check(real_toolchain(tmp_path, CARGO=str(cargo)))[-1]
    assert found.status == "warn" and "cargo is of 1.0, rustc of" in found.what


def test_a_rustc_that_is_none_cannot_be_identified(tmp_path: Path) -> None:
    rustc = tmp_path / "rustc"
    rustc.write_text("#!/bin/sh\nexit 1\n")
    rustc.chmod(0o755)
    (found,) = toolchains.check(around(tmp_path, RUSTC=str(rustc)))
    assert found.status == "fail" and "every compile passes through" in found.why
