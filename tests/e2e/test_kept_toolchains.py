"""What kache knows of the machine's toolchains: a file that any cache may find damaged, and two may write at once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kache.compilers.rustc.toolchain import Toolchains
from tests.support import processes
from tests.support.marks import mostly_daemon
from tests.support.projects import hello
from tests.support.sandbox import KACHE, Sandbox


def known(path: Path) -> int:
    """Toolchains a file tells of."""
    return Toolchains().restore(path.read_bytes())


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(4000))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def of_another_version(path: Path) -> None:
    path.write_bytes(b"\x92\x63\x90")  # [99, []]


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: list[Callable[[Path], None]] = [garbage, empty, cut_off, of_another_version, a_link_to_nowhere, a_directory]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@mostly_daemon
def test_a_damaged_file_costs_a_look_at_the_toolchain(box: Sandbox, damage: Callable[[Path], None]) -> None:
    """Guards the build and its key: the toolchain is found out anew, is the same, and is kept again."""
    box.checkout("a", hello()).build().expect(misses=2)
    box.stop()
    path = box.root / "state/kache/toolchains"
    assert known(path) >= 1
    damage(path)
    box.checkout("b", hello()).build().expect(hits=2, misses=0)
    box.stop()
    assert known(box.cache_dir / "toolchains" if damage is a_directory else path) >= 1


def test_two_caches_keep_what_they_know_in_one_file(box: Sandbox) -> None:
    """Guards the file when two daemons of one user write it, whichever ends last."""
    path = box.root / "state/kache/toolchains"
    path.unlink(missing_ok=True)
    caches = [{"KACHE_CACHE_DIR": str(box.root / name)} for name in ("cache", "other cache")]
    builds = [
        subprocess.Popen(
            ["cargo", "build", "--offline", "-q"],
            cwd=box.checkout(f"checkout {number}", hello()).path,
            env=box.env(cache),
        )
        for number, cache in enumerate(caches)
    ]
    assert [build.wait(120) for build in builds] == [0, 0]
    if box.engine == "daemon":
        stops = [subprocess.Popen([KACHE, "daemon", "stop"], env=box.env(cache)) for cache in caches]
        assert [stop.wait(60) for stop in stops] == [0, 0]
    assert known(path) >= 1
    assert not [each for each in path.parent.iterdir() if each != path], "a temporary file was left"


@mostly_daemon
def test_a_home_with_a_blank_and_bytes_that_are_no_text(box: Sandbox) -> None:
    """Guards where the file is kept: below any HOME, without XDG_STATE_HOME."""
    home = os.fsdecode(os.path.join(os.fsencode(box.root), b"my h\xffme"))
    env = {"HOME": home, "XDG_STATE_HOME": ""}
    os.mkdir(home)
    box.checkout("a", hello()).build(env=env).expect(misses=2)
    box.checkout("b", hello()).build(env=env).expect(hits=2, misses=0)
    box.stop()
    assert known(Path(home, ".local/state/kache/toolchains")) >= 1


def test_a_daemon_killed_while_it_starts_costs_nothing_but_hits(box: Sandbox) -> None:
    """Guards cargo's first questions to a new cache, which a process aside hands on to the daemon it starts."""
    if box.engine != "daemon":
        pytest.skip("there is no daemon to kill")
    box.daemon_may_fail = True
    for number in range(3):
        checkout = box.checkout(f"checkout-{number}", hello())
        build = subprocess.Popen(
            ["cargo", "build", "--offline"], cwd=checkout.path, env=box.env(), stderr=subprocess.PIPE
        )
        _kill_what_starts(box, build)
        _, said = build.communicate(timeout=120)
        assert build.returncode == 0, said.decode()
        checkout.same_bytes_as_plain()


def _kill_what_starts(box: Sandbox, build: subprocess.Popen[bytes]) -> None:
    processes.until(lambda: bool(box.daemons()) or build.poll() is not None, limit_s=60, what="a daemon begins")
    for pid in box.daemons():
        os.kill(pid, signal.SIGKILL)
