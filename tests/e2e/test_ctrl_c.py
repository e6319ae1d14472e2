"""Ctrl-C in the middle of each command that lasts: one clear message, status 130, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.projects import hello
from tests.support.sandbox import KACHE, Sandbox

_LIMIT_S = 120
_INTERRUPTED = 130


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One store with something in it, for all of these."""
    made = Sandbox(tmp_path_factory.mktemp("c"))
    made.checkout("a", hello()).build()
    yield made
    made.close()


def typed(used: Sandbox, *words: str, **env: str) -> Any:
    """`kache WORDS…` on a terminal, in the checkout."""
    return pexpect.spawn(
        str(KACHE),
        list(words),
        env={**used.env(), "TERM": "xterm", "NO_COLOR": "1", **env},
        cwd=str(used.root / "a"),
        encoding="utf-8",
        timeout=_LIMIT_S,
        dimensions=(30, 120),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(child: Any, when: str) -> tuple[int, str]:
    """Wait for a text, press Ctrl-C; the exit status and what was said from there on."""
    child.expect(when)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    status = child.exitstatus if child.exitstatus is not None else 128 + child.signalstatus
    return int(status), str(child.before)


def whole(used: Sandbox) -> None:
    """The store holds what it held."""
    assert len(used.data("list")["entries"]) == 2


@pytest.mark.parametrize(
    ("words", "when"),
    [
        (("purge",), "delete every entry"),
        (("clean",), "Escape: leave all"),
        (("init", "--no-probe"), "apply this"),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_a_command_says_so_and_loses_nothing(used: Sandbox, words: tuple[str, ...], when: str) -> None:
    status, said = interrupt(typed(used, *words), when)
    assert status == _INTERRUPTED
    assert "error[interrupted]: interrupted" in said and "run it again" in said and "Traceback" not in said
    whole(used)


@pytest.mark.parametrize("words", [("init", "--yes", "--no-service"), ("doctor", "--probe")], ids=" ".join)
def test_a_probe_is_left_with_its_cargo(used: Sandbox, words: tuple[str, ...]) -> None:
    """A cargo that never ends: after a second there is a line that says what is waited for."""
    programs = used.root / "never"
    programs.mkdir(exist_ok=True)
    if not (programs / "gate").exists():
        os.mkfifo(programs / "gate")
        (programs / "cargo").write_text(f"#!/bin/sh\n[ $1 != build ] || read line <{programs}/gate\n")
        (programs / "cargo").chmod(0o755)
    status, said = interrupt(typed(used, *words, PATH=f"{programs}:{used.env()['PATH']}"), "compiling a tiny crate")
    assert status == _INTERRUPTED and "error[interrupted]: interrupted" in said and "Traceback" not in said
    whole(used)


@pytest.mark.parametrize(("words", "when"), [(("monitor",), "1 Builds"), (("config", "tui"), "key_salt")], ids="".join)
def test_what_is_drawn_ends_and_gives_the_terminal_back(used: Sandbox, words: tuple[str, ...], when: str) -> None:
    status, said = interrupt(typed(used, *words), when)
    assert status == 0 and "Traceback" not in said
    assert "\x1b[?1049l" in said  # the screen that was there before


def test_following_the_log_ends_quietly(used: Sandbox) -> None:
    status, said = interrupt(typed(used, "daemon", "log", "--follow"), "serving")
    assert status == _INTERRUPTED and "error" not in said


def test_a_daemon_in_the_foreground_stops_in_order(used: Sandbox) -> None:
    own = {"KACHE_CACHE_DIR": str(used.root / "other")}
    child = typed(used, "daemon", "run", **own)
    wait_for(lambda: used.kache("daemon", "status", env=own).returncode == 0)
    status, said = interrupt(child, "Ctrl-C ends it")
    assert status == 0 and "Traceback" not in said
    assert not (used.root / "other" / "daemon.sock").exists()


def test_an_editor_that_is_interrupted_saves_nothing(used: Sandbox) -> None:
    file = used.home / ".config/kache/config.toml"
    script = used.root / "editor"
    script.write_text("#!/bin/sh\necho '[cache]' >\"$1\"; echo editing; cat\n")
    script.chmod(0o755)
    status, _ = interrupt(typed(used, "config", "edit", VISUAL=str(script)), "editing")
    assert status in (1, _INTERRUPTED) and not file.exists()


def test_a_remote_that_never_answers_can_be_left(used: Sandbox) -> None:
    """It accepts and is silent: the command is in the middle of waiting when the key comes."""
    used.kache("keys", "generate")
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = threading.Event()
        held: list[socket.socket] = []

        def accept() -> None:
            held.append(server.accept()[0])
            asked.set()

        threading.Thread(target=accept, daemon=True).start()
        own = {
            "KACHE_REMOTE": "s3://bucket/x",
            "KACHE_S3_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}",
            "KACHE_REMOTE_STALL": "60s",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        child = typed(used, "sync", "--pull", **own)
        assert asked.wait(_LIMIT_S)
        status, said = interrupt(child, "")
        assert status == _INTERRUPTED and "error[interrupted]" in said and "Traceback" not in said
        held[0].close()
    whole(used)
    assert "all as they should be" in used.kache("doctor", "--checksums").stdout


def test_as_json_it_is_an_error_like_any_other(used: Sandbox) -> None:
    child = subprocess.Popen(
        [str(KACHE), "doctor", "--probe", "--json"],
        env=used.env(),
        cwd=used.root / "a",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    wait_for(lambda: any("kache-probe" in each for each in children_of(child.pid)))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=_LIMIT_S)
    error = json.loads(out)["error"]
    assert (child.returncode, error["code"], err) == (_INTERRUPTED, "interrupted", "")


def test_at_any_moment_of_its_start_there_is_no_traceback(used: Sandbox) -> None:
    """Interrupted after so many milliseconds, from before the interpreter runs to after the end."""
    for after_ms in range(0, 200, 20):
        child = subprocess.Popen(
            ["/bin/sh", "-c", f'"{KACHE}" stats & child=$!; sleep {after_ms / 1000}; kill -INT $child; wait $child'],
            env=used.env(),
            cwd=used.root / "a",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, err = child.communicate(timeout=_LIMIT_S)
        assert "Traceback" not in err, (after_ms, err)


def wait_for(holds: Callable[[], bool]) -> None:
    while not holds():
        os.sched_yield()


def children_of(pid: int) -> list[str]:
    """The working directories of a process's children."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread, or a child, that has just ended
            found += [os.readlink(f"/proc/{child}/cwd") for child in (task / "children").read_text().split()]
    return found
