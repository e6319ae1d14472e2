"""The real launcher against a scripted engine: it does what the answer says, and is plain rustc where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache import __version__
from kache.ipc.protocol import Busy, Done, Hit, Pass, Wait
from kache.ipc.protocol import Request as RequestFrame
from tests.support.launcher import Conversation, LauncherBox, Script, run_of

SH = "/bin/sh"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[LauncherBox]:
    made = LauncherBox(tmp_path)
    yield made
    made.close()


def answer(frame: Hit | Pass | Busy | bytes) -> Script:
    """A script that takes the request, sends this and closes."""

    def script(conversation: Conversation) -> RequestFrame:
        request = conversation.request()
        conversation.send(frame)
        return request

    return script


# --- what the engine is told ---


def test_the_request_describes_the_call(box: LauncherBox) -> None:
    with box.engine(answer(Hit(0, b"", b""))) as engine:
        done = box.run("/bin/false", "--crate-name", "", b"caf\xe9", env={"ODD": "a=b"}, umask=0o027)
    (request,) = engine.results
    assert done.returncode == 0
    assert request.argv == [b"/bin/false", b"--crate-name", b"", b"caf\xe9"]
    assert request.cwd == os.fsencode(box.root)
    assert request.umask == 0o027
    assert request.flags == 0
    assert request.launcher_version == __version__
    assert request.ppid == os.getpid()
    assert request.mount_ns == Path("/proc/self/ns/mnt").stat().st_ino
    assert b"ODD=a=b" in request.env


def test_names_that_are_not_utf8(box: LauncherBox) -> None:
    directory = os.fsencode(box.root) + b"/d\xff"
    os.mkdir(directory)
    os.symlink(b"/bin/echo", directory + b"/rustc\xfe")
    with box.engine(answer(Pass("x"))) as engine:
        done = box.run(b"./rustc\xfe", b"\xfd", cwd=directory, env={b"N\xfc": b"\xfb"})
    assert done.stdout == b"\xfd\n"
    assert engine.results[0].cwd == directory
    assert engine.results[0].argv == [b"./rustc\xfe", b"\xfd"]
    assert b"N\xfc=\xfb" in engine.results[0].env


def test_a_deleted_directory_is_an_empty_one(box: LauncherBox) -> None:
    gone = box.root / "gone"
    gone.mkdir()
    with box.engine(answer(Pass("x"))) as engine:
        done = subprocess.run(
            [SH, "-c", f"cd {gone} && rmdir {gone} && exec {box.kache} /bin/echo here"],
            env=box.env,
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"here\n")
    assert engine.results[0].cwd == b""


def test_a_long_command_line(box: LauncherBox) -> None:
    words = [f"--cfg=feature_{number:050}" for number in range(6000)]
    with box.engine(lambda talk: talk.run(run_of(SH, "-c", "echo $#", "x", *words))) as engine:
        done = box.run(SH, *words)
    assert (done.returncode, done.stdout) == (0, b"6000\n")
    assert engine.results[0].stdout == b"6000\n"


# --- the answers ---


def test_a_hit_prints_and_exits(box: LauncherBox) -> None:
    with box.engine(answer(Hit(3, b"out\0\xff", b"err\n" * 50_000))):
        done = box.run("/nonexistent/rustc")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\0\xff", b"err\n" * 50_000)


def test_pass_is_the_compiler_itself(box: LauncherBox) -> None:
    with box.engine(answer(Pass("not-rustc"))):
        process = box.start(SH, "-c", "echo $$; exit 5")
        out, _ = process.communicate()
    assert (process.returncode, int(out)) == (5, process.pid)


def test_run_runs_what_it_is_told(box: LauncherBox) -> None:
    victim = box.root / "old\udcff"
    victim.touch()
    script = 'echo "$A-${B-unset}-$C"; echo warning >&2; test -e old* && echo there; umask; cat; exit 101'
    run = run_of(
        SH, "-c", script, token=9, env_set=[b"A=x=y"], env_unset=[b"B"], unlink=[os.fsencode(victim), b"/none"]
    )
    with box.engine(lambda talk: talk.run(run)) as engine:
        done = box.run("/bin/false", env={"A": "0", "B": "0", "C": "kept"}, umask=0o027, input=b"stdin")
    assert done.returncode == 101
    assert done.stdout == b"x=y-unset-kept\n0027\nstdin"
    report = engine.results[0]
    assert isinstance(report, Done)
    assert (report.token, report.stdout, report.stderr) == (9, done.stdout, b"warning\n")
    assert os.waitstatus_to_exitcode(report.wait_status) == 101
    assert report.max_rss_kib > 100
    assert report.wall_us > 0


def test_stderr_arrives_line_by_line_with_replacements(box: LauncherBox) -> None:
    script = "echo at /cwd/a /cwd2 >&2; echo partial >&1; read go; printf 'no newline /cwd' >&2"
    run = run_of(SH, "-c", script, replacements=[b"/cwd", b"/real", b"/real/a", b"/b"])
    with (
        box.engine(lambda talk: talk.run(run)) as engine,
        box.start(SH, stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None and process.stderr is not None and process.stdout is not None
        # The program waits for us: what is read here came while it ran.
        assert process.stderr.readline() == b"at /b /cwd2\n"
        assert process.stdout.readline() == b"partial\n"
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.stderr.read() == b"no newline /real"
    assert process.returncode == 0
    assert engine.results[0].stderr == b"at /cwd/a /cwd2\nno newline /cwd"


def test_lots_of_output_on_both_streams(box: LauncherBox) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; done"
    with box.engine(lambda talk: talk.run(run_of(SH, "-c", script))) as engine:
        done = box.run(SH)
    assert (len(done.stdout), len(done.stderr)) == (2_400_000, 2_400_000)
    assert (engine.results[0].stdout, engine.results[0].stderr) == (done.stdout, done.stderr)


def test_output_too_long_to_record_still_arrives(box: LauncherBox) -> None:
    def script(talk: Conversation) -> object:
        talk.request()
        talk.send(run_of(SH, "-c", "head -c 70000000 /dev/zero"))
        return talk.receive()

    with box.engine(script) as engine:
        done = box.run(SH)
    assert (done.returncode, len(done.stdout)) == (0, 70_000_000)
    assert engine.results == [None]


def test_the_real_compiler(box: LauncherBox) -> None:
    (box.root / "lib.rs").write_text('pub fn broken() -> u8 { "" }\n')
    rustc = shutil.which("rustc")
    assert rustc is not None
    words = [rustc, "--crate-type=lib", "--error-format=json", "lib.rs"]
    plain = subprocess.run(words, cwd=box.root, capture_output=True, check=False)
    with box.engine(lambda talk: talk.run(run_of(*words))):
        done = box.run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_inherited_descriptors_reach_the_compiler(box: LauncherBox) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)  # as a jobserver's
    with box.engine(lambda talk: talk.run(run_of(SH, "-c", f"echo token > /proc/self/fd/{writing}"))):
        done = box.run(SH, pass_fds=(writing,))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"token\n"
    assert done.returncode == 0


def test_something_that_outlives_the_compiler_holds_nothing_up(box: LauncherBox) -> None:
    started = time.monotonic()
    with box.engine(lambda talk: talk.run(run_of(SH, "-c", "sleep 30 & echo $!"))) as engine:
        done = box.run(SH)
    assert time.monotonic() - started < 20
    assert engine.results[0].stdout == done.stdout
    os.kill(int(done.stdout), 9)


@pytest.mark.parametrize("waits", [False, True])
def test_after_done_it_waits_only_if_told(box: LauncherBox, waits: bool) -> None:
    released = box.root / "released"

    def script(talk: Conversation) -> bool:
        talk.run(run_of("/bin/true", flags=int(waits)))
        if not waits:
            return talk.receive() is None
        time.sleep(0.3)
        released.touch()
        return True

    with box.engine(script) as engine:
        done = box.run(SH)
        assert released.exists() == waits
    assert done.returncode == 0
    assert engine.results == [True]


# --- what goes wrong on the cache's side ---

BAD_ANSWERS = {
    "nothing": b"",
    "half a header": b"KCHE\x01",
    "wrong magic": b"HTTP/1.1 200",
    "another version": Hit(0, b"", b"").encode()[:4] + b"\x02" + Hit(0, b"", b"").encode()[5:],
    "a kind that is no answer": RequestFrame(0, 0, 0, 0, 0, "", b"", [], []).encode(),
    "half a body": Hit(0, b"x" * 100, b"").encode()[:50],
    "a body that is none": b"KCHE\x01\x02\0\0\x04\0\0\0abcd",
    "a frame too long": b"KCHE\x01\x02\0\0" + struct.pack("<I", 2**32 - 1),
    "a program that does not exist": run_of("/nonexistent/rustc").encode(),
    "a program with a NUL-free but endless name": run_of("/" + "x" * 5000).encode(),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_means_the_plain_compiler(box: LauncherBox, name: str) -> None:
    with box.engine(answer(BAD_ANSWERS[name])):
        done = box.run(SH, "-c", "echo plain; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, b"plain\n", b"")


def test_a_connection_closed_before_the_request_is_read(box: LauncherBox) -> None:
    with box.engine(lambda talk: talk.connection.close()):
        done = box.run(SH, "-c", "echo plain", *["x" * 1000] * 300)
    assert (done.returncode, done.stdout) == (0, b"plain\n")


def test_a_daemon_that_dies_while_the_compiler_runs(box: LauncherBox) -> None:
    with box.engine(answer(run_of(SH, "-c", "sleep 0.2; echo out; echo err >&2; exit 6").encode())):
        done = box.run(SH)
    assert (done.returncode, done.stdout, done.stderr) == (6, b"out\n", b"err\n")


def test_the_engine_says_how_long_it_will_be_silent(box: LauncherBox) -> None:
    def script(talk: Conversation) -> float:
        talk.request()
        talk.send(Wait(30))
        talk.send(Wait(1))
        started = time.monotonic()
        assert talk.receive() is None  # it had enough, and is the plain compiler now
        return time.monotonic() - started

    with box.engine(script) as engine:
        done = box.run(SH, "-c", "echo plain")
    assert done.stdout == b"plain\n"
    assert 0.9 < engine.results[0] < 15


def test_an_answer_after_wait_counts(box: LauncherBox) -> None:
    def script(talk: Conversation) -> None:
        talk.request()
        talk.send(Wait(20))
        talk.send(Hit(0, b"hit", b""))

    with box.engine(script):
        assert box.run(SH).stdout == b"hit"


def test_busy_without_python_is_the_plain_compiler(box: LauncherBox) -> None:
    with box.engine(answer(Busy("version"))):
        done = box.run(SH, "-c", "echo plain")
    assert done.stdout == b"plain\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_a_daemon_of_another_user_is_told_nothing(box: LauncherBox) -> None:
    box.short.chmod(0o777)
    server = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); s.listen(); print('up', flush=True);"
        "c, _ = s.accept(); print(len(c.recv(100)), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-I", "-c", server, box.socket], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        done = box.run(SH, "-c", "echo plain")
        assert other.stdout.readline() == b"0\n"
    assert done.stdout == b"plain\n"


def test_a_full_queue_does_not_hang_the_build(box: LauncherBox) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.socket))
        listener.listen(0)
        waiting = []
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(box.socket))
            except BlockingIOError:
                break
        done = box.run(SH, "-c", "echo plain")
        for client in waiting:
            client.close()
    assert done.stdout == b"plain\n"


# --- the launcher alone ---


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_disabled_asks_nobody(box: LauncherBox, value: str) -> None:
    box.install_python("echo started >&2; exit 1")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.socket))
        listener.listen()
        listener.setblocking(False)
        process = box.start(SH, "-c", "echo $$; exit 5", env={"KACHE_DISABLED": value})
        out, err = process.communicate()
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (process.returncode, int(out), err) == (5, process.pid, b"")


@pytest.mark.parametrize("value", ["", "0", "no", "maybe"])
def test_other_values_do_not_disable(box: LauncherBox, value: str) -> None:
    with box.engine(answer(Hit(0, b"hit", b""))):
        assert box.run(SH, env={"KACHE_DISABLED": value}).stdout == b"hit"


def test_kache_inside_kache_asks_once(box: LauncherBox) -> None:
    with box.engine(answer(Hit(0, b"hit", b""))) as engine:
        done = box.run("kache", str(box.kache), SH, "-c", "x", env={"PATH": f"{box.bin}:{os.environ['PATH']}"})
    assert done.stdout == b"hit"
    assert engine.results[0].argv == [b"/bin/sh", b"-c", b"x"]


def test_a_mistyped_verb_runs_no_program_of_its_name(box: LauncherBox, tmp_path: Path) -> None:
    """Guards files: `kache rm serde` is a question to the command line, and PATH has a program of that name."""
    victim = tmp_path / "serde"
    victim.touch()
    done = box.run("rm", str(victim))
    assert victim.exists() and done.returncode != 0
    # A compiler of any name is told by what cargo asks of it.
    with box.engine(answer(Hit(0, b"hit", b""))) as engine:
        assert box.run("ls", "-vV").stdout == b"hit"
    assert engine.results[0].argv == [b"ls", b"-vV"]


def test_kache_of_nothing_but_kache_ends(box: LauncherBox) -> None:
    done = box.run(*[str(box.kache)] * 3)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error[no-python]: ")


def test_another_program_called_kache_is_a_program(box: LauncherBox) -> None:
    other = box.root / "kache"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(stat.S_IRWXU)
    assert box.run(str(other), "rustc").stdout == b"other\n"


def test_a_compiler_that_does_not_exist(box: LauncherBox) -> None:
    done = box.run("/nonexistent/rustc", "-vV")
    assert done.returncode == 127
    assert done.stderr.startswith(b"error[no-compiler]: could not run /nonexistent/rustc\nwhy: No such file")


def test_version_needs_no_python(box: LauncherBox) -> None:
    for word in ("--version", "-V"):
        done = box.run(word)
        assert (done.returncode, done.stdout) == (0, f"kache {__version__}\n".encode())
