"""The command line's side of the daemon's socket: asking, starting, stopping."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kache.errors import DaemonUnreachableError
from kache.ipc import lifecycle
from kache.ipc.client import control
from kache.ipc.protocol import Control, Pass, Reply
from tests.support.launcher import Conversation, LauncherBox, Script, ScriptedEngine


@pytest.fixture
def box(tmp_path: Path) -> Iterator[LauncherBox]:
    made = LauncherBox(tmp_path)
    yield made
    made.close()


def replying(*messages: dict[str, object]) -> Callable[[Conversation], object]:
    """A script that takes one command and answers it."""

    def script(talk: Conversation) -> object:
        asked = talk.receive()
        assert isinstance(asked, Control)
        for message in messages:
            talk.send(Reply(message))
        return asked.message

    return script


def test_a_question_and_its_answer(box: LauncherBox) -> None:
    with box.engine(replying({"pid": 7})) as engine:
        assert control(box.socket, {"op": "status"}) == {"pid": 7}
    assert engine.results == [{"op": "status"}]


def test_nobody_there(box: LauncherBox) -> None:
    with pytest.raises(DaemonUnreachableError) as caught:
        control(box.socket, {"op": "status"})
    assert "No such file" in caught.value.why


def test_a_place_too_long_to_be_one() -> None:
    with pytest.raises(DaemonUnreachableError) as caught:
        control(Path("/" + "x" * 200), {"op": "status"})
    assert "too long" in caught.value.why


NO_ANSWERS: dict[str, Script] = {
    "closes": lambda talk: talk.receive(),
    "another frame": lambda talk: (talk.receive(), talk.send(Pass("x"))),  # type: ignore[func-returns-value]
    "no frame": lambda talk: (talk.receive(), talk.send(b"HTTP/1.1 400 Bad Request\r\n")),  # type: ignore[func-returns-value]
    "half a frame": lambda talk: (talk.receive(), talk.send(Reply({"a": 1}).encode()[:-1])),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_answers_that_are_none(box: LauncherBox, name: str) -> None:
    with box.engine(NO_ANSWERS[name]), pytest.raises(DaemonUnreachableError):
        control(box.socket, {"op": "status"})


def test_silence_has_a_limit(box: LauncherBox) -> None:
    done = threading.Event()
    with box.engine(lambda _: done.wait(30)):
        with pytest.raises(DaemonUnreachableError, match="does not answer"):
            control(box.socket, {"op": "status"}, timeout_s=0.05)
        done.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_a_daemon_of_another_user_is_not_asked(box: LauncherBox) -> None:
    box.short.chmod(0o777)
    server = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); s.listen(); print('up', flush=True);"
        "c, _ = s.accept(); print(len(c.recv(100)), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-I", "-c", server, box.socket], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        with pytest.raises(DaemonUnreachableError, match="another user"):
            control(box.socket, {"op": "status"})
        assert other.stdout.readline() == b"0\n"


# --- start and stop, with a stand-in for `python -I -m kache.daemon` ---


def stand_in(box: LauncherBox, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr(sys, "executable", str(box.install_python(shell)))


def test_start_waits_until_it_answers(box: LauncherBox, monkeypatch: pytest.MonkeyPatch) -> None:
    written = '{ echo "$@|$CARGO|$PWD"; umask; }'
    stand_in(box, monkeypatch, f"{written} > {box.root}/starting && mv {box.root}/starting {box.root}/started")

    def nobody(_: Conversation) -> object:
        """What answers before the start: then there would be nothing to start."""
        return None

    def late(talk: Conversation) -> object:
        while not (box.root / "started").exists():
            pass
        return replying({"pid": 1})(talk)

    with box.engine(nobody, late):
        lifecycle.start_daemon({**box.env, "CARGO": "x"})
    told, mask = (box.root / "started").read_text().splitlines()
    assert told.startswith("-I -m kache.daemon --launcher-version ")
    assert told.endswith("||/")
    assert mask == "0077"


@pytest.mark.parametrize(("status", "word"), [(1, "status 1"), (86, "another version")])
def test_start_says_why_it_failed(box: LauncherBox, monkeypatch: pytest.MonkeyPatch, status: int, word: str) -> None:
    stand_in(box, monkeypatch, f"exit {status}")
    with pytest.raises(DaemonUnreachableError, match="did not start") as caught:
        lifecycle.start_daemon(box.env)
    assert word in caught.value.why


def test_start_gives_up(box: LauncherBox, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(box, monkeypatch, "exit 0")  # another one has the cache dir, and never answers
    monkeypatch.setattr(lifecycle, "START_LIMIT_S", 0.2)
    with pytest.raises(DaemonUnreachableError, match="does not answer"):
        lifecycle.start_daemon(box.env)


def test_stop_waits_for_the_end(box: LauncherBox) -> None:
    with subprocess.Popen(["sleep", "60"]) as daemon:
        place = box.socket

        def stopping(talk: Conversation) -> object:
            answered = replying({"stopping": True})(talk)
            threading.Timer(0.2, daemon.terminate).start()
            return answered

        with ScriptedEngine(place, replying({"pid": daemon.pid}), stopping) as engine:
            lifecycle.stop_daemon(box.env)
        assert engine.results == [{"op": "status"}, {"op": "stop"}]
        assert daemon.wait(timeout=0.5) != 0


def test_stop_gives_up(box: LauncherBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "STOP_LIMIT_S", 0.1)
    with (
        box.engine(replying({"pid": os.getpid()}), replying({})),
        pytest.raises(DaemonUnreachableError, match=f"pid {os.getpid()}"),
    ):
        lifecycle.stop_daemon(box.env)


def test_stop_of_none(box: LauncherBox) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(box.socket))
    with pytest.raises(DaemonUnreachableError):
        lifecycle.stop_daemon(box.env)
