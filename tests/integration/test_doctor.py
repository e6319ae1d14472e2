"""`kache doctor`: situations in which a cache is there and not used, what --fix mends, what --verify finds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Index
from tests.support.init_box import WRAPPER, InitBox
from tests.support.store import StoreBox


@pytest.fixture
def box(tmp_path: Path) -> InitBox:
    return InitBox(tmp_path)


def checks(box: InitBox, *words: str, env: dict[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    done = box.run("doctor", "--json", *words, env=env)
    assert done.stdout, done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(done.stdout)["data"]["checks"]:
        found.setdefault(check["check"], []).append(check)
    return found


SILENT: dict[str, tuple[dict[str, str], str, str]] = {
    "nobody": ({}, "", "cargo calls no wrapper here"),
    "another in the file": ({}, '[build]\nrustc-wrapper = "sccache"\n', "cargo calls sccache"),
    "another in the environment": ({"RUSTC_WRAPPER": "mbx"}, "", "cargo calls mbx (RUSTC_WRAPPER)"),
    "empty": ({"RUSTC_WRAPPER": ""}, f'[build]\nrustc-wrapper = "{WRAPPER}"\n', "RUSTC_WRAPPER is set and empty"),
    "switched off": (
        {"RUSTC_WRAPPER": WRAPPER},
        '[env]\nKACHE_DISABLED = { value = "1" }\n',
        "sets KACHE_DISABLED for every compile",
    ),
    "a wrapper of the workspace": (
        {"RUSTC_WRAPPER": WRAPPER},
        '[build]\nrustc-workspace-wrapper = "/x/coverage"\n',
        "puts /x/coverage between",
    ),
}


@pytest.mark.parametrize("situation", SILENT)
def test_silently_unused_is_named(box: InitBox, situation: str) -> None:
    env, text, words = SILENT[situation]
    if text:
        box.write(".cargo/config.toml", text)
    found = [each for each in checks(box, env=env)["wrapper"] if words in each["what"]]
    assert [each["status"] for each in found] == ["warn"] and found[0]["why"] and found[0]["fix"]


@pytest.mark.parametrize("where", ["environment", "user's file", "project's file"])
def test_who_calls_kache_is_said(box: InitBox, where: str) -> None:
    text, env, origin = f'[build]\nrustc-wrapper = "{WRAPPER}"\n', {}, f"{box.config}:2"
    if where == "environment":
        env, origin = {"RUSTC_WRAPPER": WRAPPER}, "RUSTC_WRAPPER"
    elif where == "user's file":
        box.write(".cargo/config.toml", text)
    else:
        (box.cwd / ".cargo").mkdir()
        (box.cwd / ".cargo" / "config.toml").write_text(text)
        box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "sccache"\n')
        origin = f"{box.cwd}/.cargo/config.toml:2"
    assert [each["what"] for each in checks(box, env=env)["wrapper"]] == [f"cargo calls kache, by {origin}"]


def test_a_wrapper_that_is_gone_fails_and_is_repaired(box: InitBox) -> None:
    box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "/gone/kache"\n')
    done = box.run("doctor")
    assert done.returncode == 1 and "which is not there" in done.stdout and "--fix repairs" in done.stdout
    done = box.run("doctor", "--fix")
    assert done.returncode == 0 and "fixed: set build.rustc-wrapper" in done.stdout
    assert checks(box)["wrapper"][0]["status"] == "ok"
    box.init("--undo", "--yes")
    assert "/gone/kache" in box.config.read_text()


def test_fix_replaces_no_other_wrapper(box: InitBox) -> None:
    box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "sccache"\n')
    box.run("doctor", "--fix")
    assert "sccache" in box.config.read_text()


def test_fix_closes_what_others_may_write(box: InitBox) -> None:
    box.cache_dir.mkdir()
    box.cache_dir.chmod(0o777)
    box.run("doctor", "--fix")
    assert box.cache_dir.stat().st_mode & 0o777 == 0o755


def test_a_daemon_that_cannot_start_is_named_with_its_reason(box: InitBox) -> None:
    place = box.root / "taken.sock"
    place.with_name("taken.sock.failed").touch()
    (box.cache_dir).mkdir()
    env = {"KACHE_DAEMON": "1", "KACHE_SOCKET_PATH": str(place), "KACHE_REMOTE": f"file://{box.root}/shared"}
    (found,) = checks(box, env=env)["daemon"]
    assert found["status"] == "warn" and "the remote and prefetches are silently unused" in found["what"]
    assert found["fix"].endswith("kache daemon start") and found["fixable"]
    mended = checks(box, "--fix", env=env)["daemon"]
    try:
        assert "running as pid" in mended[0]["what"]
        assert not place.with_name("taken.sock.failed").exists()
    finally:
        box.run("daemon", "stop", env=env)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_cache_dir_that_others_may_read_has_a_daemon_too(box: InitBox, mode: int) -> None:
    """Guards volumes: a directory straight below /tmp, or with a name like the one kache itself uses there."""
    with tempfile.TemporaryDirectory(prefix="kache-volume-") as volume:
        Path(volume).chmod(mode)
        env = {"KACHE_DAEMON": "1", "KACHE_CACHE_DIR": volume}
        try:
            done = box.run("daemon", "start", env=env)
            assert done.returncode == 0, done.stderr
            assert "running as pid" in checks(box, env=env)["daemon"][0]["what"]
            writable = [each for each in checks(box, env=env)["cache_dir"] if "writable by others" in each["what"]]
            assert bool(writable) is (mode == 0o777)
        finally:
            box.run("daemon", "stop", env=env)


def test_a_daemon_that_cannot_listen_says_why(box: InitBox) -> None:
    box.cache_dir.mkdir()
    (box.cache_dir / "daemon.sock").mkdir()
    done = box.run("daemon", "start", env={"KACHE_DAEMON": "1"})
    assert done.returncode == 1 and "is taken by something else" in done.stderr and "status" not in done.stderr


def test_broken_cargo_configuration_is_a_failed_check(box: InitBox) -> None:
    box.write(".cargo/config.toml", "[build\n")
    (found,) = checks(box)["wrapper"]
    assert found["status"] == "fail" and "config.toml:1 is not TOML" in found["what"]


def test_a_budget_that_cannot_hold_a_build(box: InitBox) -> None:
    (found,) = checks(box, env={"KACHE_MAX_SIZE": "100MiB"})["budget"]
    assert found["status"] == "warn" and "KACHE_MAX_SIZE" in found["what"]
    (found,) = checks(box, env={"KACHE_MAX_SIZE": "900TiB"})["budget"]
    assert found["status"] == "warn" and "may grow" in found["what"]


def test_incremental_says_who_sets_it(box: InitBox) -> None:
    (box.cwd / "Cargo.toml").write_text('[package]\nname = "a"\n[profile.dev]\nincremental = false\n')
    (found,) = checks(box, env={"CARGO_INCREMENTAL": "1"})["incremental"]
    assert "CARGO_INCREMENTAL = 1" in found["what"] and "[profile.dev] = false" in found["what"]


def test_a_build_that_mostly_went_past_is_named(box: InitBox) -> None:
    index: Index = box.index()
    index.build("1-1")
    for _ in range(12):
        index.event("passthrough", reason="codegen-backend")
    index.event("error", reason="store-write-failed")
    found = checks(box)["use"]
    assert any("codegen-backend (12)" in each["what"] for each in found)
    assert any("store-write-failed" in each["what"] for each in found)


def test_a_clock_that_was_put_back(box: InitBox) -> None:
    box.index().event("miss", age_s=-3600)
    assert "in the future" in checks(box)["clock"][0]["what"]


def test_verify_finds_and_repair_mends(box: InitBox) -> None:
    store = StoreBox(box.root / "store")
    entry = store.put("one")
    store.put("two")
    store.store.close()
    store.blob(entry.artifacts[0].digest).unlink()
    env = {"KACHE_CACHE_DIR": str(store.cache_dir)}
    done = box.run("doctor", "--verify", env=env)
    assert done.returncode == 1 and "1 missing, 0 altered" in done.stdout
    done = box.run("doctor", "--checksums", "--repair", "--json", env=env)
    data = json.loads(done.stdout)["data"]
    assert done.returncode == 0 and data["audit"]["dropped_entries"] == 1
    assert box.run("doctor", "--checksums", env=env).returncode == 0


def test_repair_starts_anew_from_a_damaged_index(box: InitBox) -> None:
    (box.cache_dir / "store").mkdir(parents=True)
    (box.cache_dir / "store" / "index.db").write_bytes(b"no database at all\n" * 500)
    assert box.run("doctor", "--verify").returncode == 1
    assert box.run("doctor", "--verify", "--repair").returncode == 0
    assert list((box.cache_dir / "store").glob("index.db.corrupt-*"))


def test_repair_alone_is_wrong_usage(box: InitBox) -> None:
    done = box.run("doctor", "--repair")
    assert done.returncode == 2 and "--verify --repair" in done.stderr
