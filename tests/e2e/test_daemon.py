"""The background process: who starts it, what ends it, what it keeps of its caller, what its death costs a build."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kache.daemon.server import LOCK_NAME
from kache.ipc.protocol import Busy
from tests.support import processes
from tests.support.edits import entries
from tests.support.installation import Installation
from tests.support.marks import as_root
from tests.support.projects import chain, hello, lib, slow
from tests.support.sandbox import Sandbox
from tests.support.slow import Slow


@pytest.fixture
def box(daemon_box: Sandbox) -> Sandbox:
    return daemon_box


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a build that must succeed; what it printed."""
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stderr


# ---- life


def test_the_first_compile_starts_it_and_every_other_uses_it(box: Sandbox) -> None:
    """Guards "it just works": nobody starts a daemon by hand, and there is one for each cache dir."""
    assert box.daemons() == []
    box.checkout("a", chain()).build()
    pid = box.daemon()
    box.checkout("b", hello()).build()
    assert box.daemon() == pid
    status = box.data("daemon", "status")
    assert status["running"] and status["pid"] == pid and status["cache_dir"] == str(box.cache_dir)


def test_many_first_compiles_at_once_start_one(box: Sandbox) -> None:
    """Guards the race of the first calls: the cache dir's lock lets one daemon live."""
    checkouts = [box.checkout(f"c{number}", lib()) for number in range(6)]
    for process in [checkout.start("build") for checkout in checkouts]:
        ended(process)
    calls = box.calls()
    box.daemon()
    calls.expect(hits=None, misses=None, dups=None)
    assert len(calls.hits) + len(calls.misses) + len(calls.dups) == 6, calls


def test_a_daemon_waits_for_the_lock_of_a_dying_one(box: Sandbox) -> None:
    """Guards the start after kill -9 or a stop: the lock outlives the answers a little."""
    box.cache_dir.mkdir(mode=0o700, exist_ok=True)
    with (box.cache_dir / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building = box.checkout("a", lib()).start("build")
        processes.until(box.daemons, what="a daemon came")
        time.sleep(0.3)
    ended(building)
    box.calls().expect(hits=0, misses=1)
    box.daemon()


def test_idle_it_exits_and_the_next_compile_starts_another(box: Sandbox) -> None:
    """Guards against processes left behind: KACHE_DAEMON_IDLE_TIMEOUT ends it, and removes its socket."""
    box.settings["KACHE_DAEMON_IDLE_TIMEOUT"] = "1s"
    box.checkout("a", lib()).build()
    pid = box.daemon()
    processes.until(lambda: not processes.runs(pid), what="the idle daemon ended")
    assert not box.socket.exists()
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    assert box.daemon() != pid


def test_without_its_cache_dir_it_ends_and_leaves_the_next_one_alone(box: Sandbox) -> None:
    """Guards `rm -rf` of the cache: the daemon of what is gone neither stays nor takes its follower's socket away."""
    box.checkout("a", hello()).build()
    first = box.daemon()
    shutil.rmtree(box.cache_dir)
    box.checkout("b", hello()).build().expect(misses=2)
    processes.until(lambda: not processes.runs(first), what="the daemon of what is gone ended")
    second = box.daemon()
    box.checkout("c", hello()).build().expect(hits=2, misses=0)
    assert box.daemon() == second


def test_stop_lets_compiles_under_way_finish_and_be_recorded(box: Sandbox) -> None:
    """Guards draining: what was compiled when the stop came is in the store afterwards."""
    watched = Slow(box)
    building = box.checkout("a", slow(1.5)).start("build")
    watched.rustc()
    box.stop()
    assert box.daemons() == []
    ended(building)
    box.calls().expect(misses="sleeper slow")
    box.checkout("second", slow(1.5)).build().expect(hits="sleeper slow", misses=0)


def test_start_stop_restart_and_status(box: Sandbox) -> None:
    """Guards the verbs people use: each does what it says and tells the exit status."""
    assert box.kache("daemon", "status").returncode == 1
    first = box.data("daemon", "start")["pid"]
    assert processes.runs(first)
    assert box.data("daemon", "start")["pid"] == first
    second = box.data("daemon", "restart")["pid"]
    assert second != first and not processes.runs(first)
    assert box.data("daemon", "stop") == {"running": False, "was_running": True}
    assert not processes.runs(second)
    assert box.data("daemon", "stop") == {"running": False, "was_running": False}


def test_it_restarts_itself_when_its_configuration_changed(box: Sandbox) -> None:
    """Guards settings: a changed file counts for the daemon without a command."""
    box.checkout("a", lib()).build()
    box.configure('[cache]\nmax_size = "77 MiB"\n')
    processes.until(lambda: box.log().count("serving") == 2, what="started anew")
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    box.daemon()


def test_it_restarts_itself_when_its_code_changed(box: Sandbox) -> None:
    """Guards upgrades: after an installer wrote new files the old code answers no more."""
    installed = Installation(box.root / "environment")
    box.settings["RUSTC_WRAPPER"] = str(installed.kache)
    box.checkout("a", lib()).build().expect(misses=1)
    with (installed.package / "engine" / "serve.py").open("a") as file:
        file.write("# changed\n")
    processes.until(lambda: box.log().count("serving") == 2, what="started anew")
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    box.daemon()


# ---- what it keeps of its caller


def test_it_keeps_nothing_of_the_build_that_started_it(box: Sandbox) -> None:
    """Guards detachment: session, directory, umask, descriptors and variables of the first caller must not stay."""
    secret = box.root / "held-open"
    fd = os.open(secret, os.O_CREAT | os.O_RDWR)
    os.set_inheritable(fd, True)
    checkout = box.checkout("a", lib())
    building = checkout.start("build", env={"A_SECRET": "1", "MAKEFLAGS": "-j"}, pass_fds=[fd])
    os.close(fd)
    ended(building)
    box.calls()
    pid = box.daemon()
    proc = Path(f"/proc/{pid}")
    assert os.getsid(pid) == pid
    assert os.readlink(proc / "cwd") == "/"
    assert "Umask:\t0077" in (proc / "status").read_text()
    names = {pair.partition(b"=")[0].decode() for pair in (proc / "environ").read_bytes().split(b"\0") if pair}
    assert not [name for name in names if name.startswith(("CARGO_", "RUSTC", "LD_", "MAKE")) and name != "CARGO_HOME"]
    assert "A_SECRET" not in names
    open_files = [os.readlink(entry) for entry in (proc / "fd").iterdir()]
    kinds = ("socket:", "anon_inode:", "/dev/null", "/dev/urandom", str(box.cache_dir))
    foreign = [name for name in open_files if not name.startswith(kinds)]
    # The event loop wakes itself through a pipe; nobody else may have an end of it.
    assert not [name for name in foreign if not name.startswith("pipe:") or held_elsewhere(name, pid)], open_files


def held_elsewhere(pipe: str, pid: int) -> bool:
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        if entry.parts[2] == str(pid):
            continue
        try:
            if os.readlink(entry) == pipe:
                return True
        except OSError:
            continue
    return False


def test_what_it_writes_is_its_users_alone(box: Sandbox) -> None:
    """Guards privacy: cache dir, index, log and socket are closed to others, whatever the caller's umask."""
    old = os.umask(0)
    try:
        box.checkout("a", lib()).build()
    finally:
        os.umask(old)
    assert stat.S_IMODE(box.cache_dir.stat().st_mode) == 0o700
    for path in (box.socket, box.index, box.cache_dir / "daemon.log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_pipe_behind_the_build_ends_with_the_build(box: Sandbox) -> None:
    """Guards `cargo build | cat`: the daemon holds no end of the pipe, so the pipeline returns at once."""
    checkout = box.checkout("a", lib())
    began = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", "cargo build 2>&1 | cat; cargo build -v 2>&1 | cat"],
        cwd=checkout.path,
        env=box.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Finished" in done.stdout and "Fresh" in done.stdout
    assert processes.runs(box.daemon())
    assert time.monotonic() - began < 50


def test_ctrl_c_ends_the_build_and_leaves_the_daemon(box: Sandbox) -> None:
    """Guards Ctrl-C: the terminal's signal reaches rustc and not the daemon, and nothing half-made is stored."""
    watched = Slow(box)
    checkout = box.checkout("a", slow(20))
    building = checkout.start("build")
    rustc = watched.rustc()
    os.killpg(building.pid, signal.SIGINT)
    building.communicate(timeout=30)
    assert building.returncode != 0
    processes.until(lambda: not processes.runs(rustc), what="rustc ended")
    assert processes.runs(box.daemon())
    assert [entry["crate_name"] for entry in box.data("list")["entries"]] == ["sleeper"]


def test_no_process_is_left_behind(box: Sandbox) -> None:
    """Guards zombies and orphans: after builds, hits and errors the daemon is all that runs, and has no children."""
    box.checkout("a", chain()).build()
    box.checkout("second", chain()).build()
    box.checkout("b", lib("fn f() {")).build(fails=True)
    pid = box.daemon()
    assert [process.pid for process in box.processes()] == [pid]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    assert not children.exists() or children.read_text() == ""


# ---- trouble


def test_clients_killed_in_the_middle_of_a_compile(box: Sandbox) -> None:
    """Guards kill -9 of cargo and launcher: rustc dies, the daemon forgets the call, the next build is right."""
    watched = Slow(box)
    checkout = box.checkout("a", slow(3))
    building = checkout.start("build")
    rustc = watched.rustc()
    os.killpg(building.pid, signal.SIGKILL)
    building.communicate(timeout=30)
    processes.until(lambda: not processes.runs(rustc), what="rustc died with its launcher")
    processes.until(lambda: box.data("daemon", "status")["in_flight"] == 0, what="the daemon forgot the compile")
    box.calls()
    checkout.build().expect(hits=None, misses="slow")
    checkout.fresh()


def test_the_launcher_alone_killed_takes_its_rustc_along(box: Sandbox) -> None:
    """Guards orphans: a rustc without its launcher would write into a target dir cargo has left."""
    watched = Slow(box)
    checkout = box.checkout("a", slow(20))
    building = checkout.start("build")
    rustc = watched.rustc()
    launcher = int(Path(f"/proc/{rustc}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(launcher, signal.SIGKILL)
    _, stderr = building.communicate(timeout=30)
    assert building.returncode != 0 and "signal: 9" in stderr
    processes.until(lambda: not processes.runs(rustc), limit_s=10, what="rustc has ended")


def test_killed_in_the_middle_of_a_compile(box: Sandbox) -> None:
    """Guards kill -9 of the daemon: the compile under way goes on, the build succeeds, a new daemon takes over."""
    watched = Slow(box)
    checkout = box.checkout("a", slow(2))
    building = checkout.start("build")
    watched.rustc()
    processes.until(lambda: entries(box) == 1, limit_s=30, what="the macro's library is stored")
    pid = box.daemon()
    os.kill(pid, signal.SIGKILL)
    ended(building)
    box.calls()  # whether the miss before was written depends on how long the daemon lived
    checkout.fresh()
    second = box.checkout("second", slow(2))
    second.build().expect(hits="sleeper", misses="slow")
    assert box.daemon() != pid
    box.checkout("third", slow(2)).build().expect(hits="sleeper slow", misses=0)


def test_killed_again_and_again_no_build_notices(box: Sandbox) -> None:
    """Guards every moment: between lookup and restore, between RUN and DONE, while it starts."""
    box.daemon_may_fail = True
    stop = threading.Event()

    def kill() -> None:
        while not stop.is_set():
            for pid in box.daemons():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.15)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        for number in range(4):
            checkout = box.checkout(f"c{number}", chain())
            checkout.build()
            assert checkout.program("app") == "42\n"
            checkout.same_bytes_as_plain() if number == 3 else checkout.fresh()
    finally:
        stop.set()
        killing.join()


def test_a_stopped_daemon_does_not_hold_a_build_for_ever(box: Sandbox) -> None:
    """Guards SIGSTOP and deadlocks: after a silence the call is plain rustc's, and the next ones do not wait again."""
    box.checkout("a", lib()).build()
    pid = box.daemon()
    os.kill(pid, signal.SIGSTOP)
    try:
        second = box.checkout("second", chain())
        began = time.monotonic()
        second.build(count=False)
        assert time.monotonic() - began < 60
        assert second.program("app") == "42\n"
    finally:
        os.kill(pid, signal.SIGCONT)


def busy(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(Busy("version").encode())


def garbage(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def close(connection: socket.socket) -> None:
    connection.recv(1 << 16)


@contextmanager
def listening(place: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody else's server on a socket."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen(64)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        place.unlink()


@pytest.mark.parametrize("answer", [busy, garbage, close], ids=["busy", "garbage", "close"])
def test_another_server_on_the_socket(box: Sandbox, answer: Callable[[socket.socket], None]) -> None:
    """Guards another version's daemon: one that says BUSY is left alone and the engine runs inside the call; one that
    talks nonsense means plain rustc."""
    with listening(box.socket, answer):
        for name in ("a", "second"):
            checkout = box.checkout(name, chain())
            checkout.build("-q", count=False)
            assert checkout.program("app") == "42\n"
        assert "nobody answers" in str(box.data("doctor", exit_code=box.kache("doctor").returncode)["checks"])
    box.engine = "in-process"
    if answer is busy:
        calls = box.calls()
        calls.expect(hits="leaf mid app", misses="leaf mid app")
    assert box.daemons() == []


@pytest.mark.parametrize("how", ["too long", "a file", "a directory", "relative"])
def test_a_place_no_socket_can_be_at(box: Sandbox, how: str) -> None:
    """Guards KACHE_SOCKET_PATH: without a daemon the engine runs inside each call, and doctor says why."""
    box.daemon_may_fail = True
    taken = box.root / "taken"
    if how == "a file":
        taken.write_text("mine")
    elif how == "a directory":
        taken.mkdir()
    place = {"too long": str(box.root / ("s" * 120)), "relative": "somewhere/socket"}.get(how, str(taken))
    box.settings["KACHE_SOCKET_PATH"] = place
    box.engine = "in-process"
    checkout = box.checkout("a", lib())
    checkout.build().expect(misses=1)
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    assert box.daemons() == []
    assert how != "a file" or taken.read_text() == "mine"
    words = {"too long": "too long", "relative": "absolute"}.get(how, "taken")
    assert words in str(box.data("doctor", exit_code=box.kache("doctor").returncode)["checks"])


def test_a_long_cache_dir_has_a_daemon_too(box: Sandbox) -> None:
    """Guards deep homes: where the path is too long for a socket a short one in /tmp is used."""
    box.cache_dir = box.root / ("long" * 30) / "cache"
    box.settings["KACHE_CACHE_DIR"] = str(box.cache_dir)
    assert str(box.socket).startswith("/tmp/kache-")
    box.checkout("a", lib()).build().expect(misses=1)
    box.daemon()
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    assert stat.S_IMODE(box.socket.parent.stat().st_mode) == 0o700


@as_root
def test_a_build_in_another_mount_namespace_is_not_served_by_it(box: Sandbox) -> None:
    """Guards containers and sandboxes: a daemon that sees other files than the caller must not answer for it."""
    box.checkout("a", lib()).build()
    second = box.checkout("second", lib())
    inside = 'mount -t tmpfs none src && printf "pub fn other() -> u8 { 9 }" >src/lib.rs && cargo build'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside],
        cwd=second.path,
        env=box.env(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    box.calls().expect(misses=1, hits=0)
    third = box.checkout("third", lib("pub fn other() -> u8 { 9 }"))
    third.build().expect(hits=1, misses=0)
