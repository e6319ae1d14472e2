"""Signals: the compiler gets them, and the launcher ends as the compiler ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.ipc.protocol import Done, Pass
from tests.support.launcher import Conversation, LauncherBox, prepared, run_of

SH = "/bin/sh"
TIMEOUT_S = 30
# Says when it is ready, and what it gets; short sleeps, as a shell runs traps between commands.
LISTENER = 'trap "echo got $1; exit 9" $1; echo ready; while :; do sleep 0.02; done'


@pytest.fixture
def box(tmp_path: Path) -> Iterator[LauncherBox]:
    made = LauncherBox(tmp_path)
    yield made
    made.close()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGABRT])
def test_it_ends_by_the_signal_that_ended_the_compiler(box: LauncherBox, number: signal.Signals) -> None:
    with box.engine(lambda talk: talk.run(run_of(SH, "-c", f"echo out; kill -{number.value} $$"))) as engine:
        done = box.run(SH)
    assert (done.returncode, done.stdout) == (-number, b"out\n")
    assert os.waitstatus_to_exitcode(engine.results[0].wait_status) == -number


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_what_is_sent_to_the_launcher_reaches_the_compiler(box: LauncherBox, name: str) -> None:
    with (
        box.engine(lambda talk: talk.run(run_of(SH, "-c", LISTENER, "x", name))) as engine,
        box.start(SH) as process,
    ):
        assert first_line(process) == b"ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (9, f"got {name}\n".encode())
    assert engine.results[0].stdout == f"ready\ngot {name}\n".encode()


def test_a_compiler_that_dies_of_it_takes_the_launcher_along(box: LauncherBox) -> None:
    with (
        box.engine(lambda talk: talk.run(run_of(SH, "-c", "echo ready; exec sleep 30"))),
        box.start(SH) as process,
    ):
        assert first_line(process) == b"ready\n"
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGTERM


def test_ctrl_c_reaches_the_group(box: LauncherBox) -> None:
    with (
        box.engine(lambda talk: talk.run(run_of(SH, "-c", LISTENER, "x", "INT"))),
        box.start(SH, start_new_session=True) as process,
    ):
        assert first_line(process) == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (9, b"got INT\n")


def test_ctrl_c_of_a_terminal_arrives_once(box: LauncherBox) -> None:
    """The kernel sends it to both; the launcher must not send it again."""
    count = (
        'n=0; trap "n=\\$((n+1))" INT; echo ready; i=0; while [ $i -lt 25 ]; do sleep 0.02; i=$((i+1)); done; echo $n'
    )
    leader, follower = os.openpty()
    with (
        box.engine(lambda talk: talk.run(run_of(SH, "-c", count))),
        box.start(
            SH,
            stdin=follower,
            start_new_session=True,
            prepare="import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)",
        ) as process,
    ):
        assert first_line(process) == b"ready\n"
        os.write(leader, b"\x03")
        out, _ = process.communicate(timeout=TIMEOUT_S)
    os.close(leader)
    os.close(follower)
    assert (process.returncode, out) == (0, b"1\n")


def test_the_compiler_dies_with_the_launcher(box: LauncherBox) -> None:
    def script(talk: Conversation) -> None:
        talk.request()
        talk.send(run_of(SH, "-c", "echo $$; exec sleep 30"))
        assert talk.receive() is None

    with box.engine(script), box.start(SH) as process:
        compiler = int(first_line(process))
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while _runs(compiler):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def settings(text: bytes) -> list[bytes]:
    """The lines of /proc/self/status that say what is blocked, ignored and caught."""
    return [line for line in text.splitlines() if line.startswith((b"SigBlk", b"SigIgn", b"SigCgt"))]


@pytest.mark.parametrize("ignored", [(), (signal.SIGPIPE,), (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)])
@pytest.mark.parametrize("blocked", [(), (signal.SIGUSR1,)])
def test_the_compiler_inherits_the_callers_signal_settings(
    box: LauncherBox, ignored: tuple[signal.Signals, ...], blocked: tuple[signal.Signals, ...]
) -> None:
    words = ["/bin/cat", "/proc/self/status"]
    prepare = "\n".join(
        [
            "import signal",
            *(
                f"signal.signal({number.value}, signal.SIG_DFL)"
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)
            ),
            *(f"signal.signal({number.value}, signal.SIG_IGN)" for number in ignored),
            f"signal.pthread_sigmask(signal.SIG_SETMASK, {[number.value for number in blocked]})",
        ]
    )
    plain = settings(subprocess.run(prepared(prepare, *words), capture_output=True, check=True).stdout)
    assert len(plain) == 3

    def passing(talk: Conversation) -> None:
        talk.request()
        talk.send(Pass("x"))

    with box.engine(lambda talk: talk.run(run_of(*words)), passing):
        ran = box.run(*words, prepare=prepare)
        passed = box.run(*words, prepare=prepare)
    disabled = box.run(*words, prepare=prepare, env={"KACHE_DISABLED": "1"})
    assert settings(ran.stdout) == settings(passed.stdout) == settings(disabled.stdout) == plain


def test_a_reader_that_goes_away_is_the_compilers_business(box: LauncherBox) -> None:
    """`kache rustc … | head`: the compiler meets the closed pipe itself, and nothing cut short is recorded."""

    def script(talk: Conversation) -> Done | None:
        talk.request()
        talk.send(run_of(SH, "-c", "while echo line; do :; done 2>/dev/null; exit 8"))
        done = talk.receive()
        assert done is None or isinstance(done, Done)
        return done

    with box.engine(script) as engine, box.start(SH) as process:
        assert first_line(process) == b"line\n"
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGPIPE
    assert engine.results == [None]
