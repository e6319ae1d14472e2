"""The comparison of `make bench-peers`, on a project of two crates: every phase measures what it says, once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.compare import members, phases
from bench.compare.contestants import Contestant, Sample, contestants
from bench.compare.empty_machine import run as empty_machine
from bench.compare.phases import PHASES, fill
from bench.compare.rounds import Rounds
from bench.context import Context
from bench.environment import plain_env
from bench.projects import Project
from tests.support.projects import chain
from tests.support.sandbox import KACHE, toolchain_bin
from tools.servers import BIN

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs zstd")


class LocalContext(Context):
    """A context whose only project is a tiny one of this disk."""

    def project(self, name: str) -> Project:
        return Project(name, "", self.work / "source", locked=True)


@pytest.fixture
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    work = tmp_path_factory.mktemp("b")  # short: sockets are below it
    env = plain_env(os.environ, work) | {"PATH": f"{toolchain_bin()}{os.pathsep}{os.environ['PATH']}"}
    for name, text in chain().items():
        (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "source" / name).write_text(text)
    subprocess.run(["cargo", "generate-lockfile", "--offline", "--quiet"], cwd=work / "source", env=env, check=True)
    context = LocalContext(work=work, program=KACHE, base_env=env, rounds=1)
    yield Rounds(context, "chain", contestants(context)[0])
    context.stop_all()


def arms(result: object) -> dict[str, dict[str, object]]:
    assert isinstance(result, dict)
    found: dict[str, dict[str, object]] = result["arms"]
    assert not [arm for arm in found.values() if arm["rejected"]], found
    return found


def test_phases_of_filled_stores_tell_the_path_that_each_took(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "VERBS", {"build": ("build",), "check": ("check",)})
    monkeypatch.setattr(phases, "AT_ONCE", 2)
    fill(rounds)
    for phase in ("same", "daemon", "six"):
        found = arms(PHASES[phase](rounds))
        assert found["kache"]["path"] == "3 hits" or phase == "six"
        assert set(found) == ({"kache"} if phase == "daemon" else {"plain", "kache", "archive"})
    other = PHASES["other"](rounds)
    assert [arms(other[verb])["kache"]["path"] for verb in ("build", "check")] == ["3 hits", "3 hits"]
    assert PHASES["memory"](rounds)["kache_peak_bytes"]
    assert not list((rounds.context.work / "checkouts").glob("build-*")), "what was measured is deleted"


def test_cold_and_disk_begin_with_empty_stores(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "WORKTREES", (1, 2))
    found = arms(PHASES["cold"](rounds))
    assert found["kache"]["path"] == "0 hits"
    occupied = PHASES["disk"](rounds)["bytes"]
    assert isinstance(occupied, dict)
    assert occupied["plain"]["2"] > 1.5 * occupied["plain"]["1"], "no cache, so each has all of it"
    assert 0 < occupied["kache"]["1"] < occupied["kache"]["2"], "store and targets together"


@pytest.mark.skipif(not (BIN / "minio").exists(), reason="needs make servers")
def test_an_empty_machine_builds_from_the_bucket(rounds: Rounds) -> None:
    result = empty_machine(rounds)
    for delay in ("0_ms", "50_ms"):
        found = arms(result[delay])
        assert found["kache-reader"]["path"] == "3 hits"
        assert set(found) == {"kache-reader", "archive"}


def test_a_build_that_did_not_use_its_store_is_rejected_and_counted(rounds: Rounds) -> None:
    plain, kache, archive = rounds.everybody
    silent = Contestant(plain.arm, lambda: None)
    rounds.cold_s["plain", "build"] = 1.0
    takes = {"kache": Sample(0.1, 0.1, 0), "plain": Sample(0.9, 0.9, None), "archive": Sample(9.0, 9.0, None)}
    result = rounds.take_turns("x", lambda each, _: takes[each.name], among=[silent, kache, archive])
    found = result["arms"]
    assert isinstance(found, dict)
    assert found["kache"] == {"rejected": ["its own statistics count no hit"]}
    assert "took 0.90 s, cold 1.00 s" in found["plain"]["rejected"][0]
    assert result["quickest"] == "archive", "of those that were not rejected"


def test_an_edit_is_one_line_that_changes_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "lib.rs"
    file.write_text("pub fn f() {}\n")
    members.edit(file, 1)
    members.edit(file, 2)
    assert file.read_text() == "pub fn f() {}\n#[allow(dead_code)] fn kache_edit() -> u64 { 2 }\n"
