"""What the launcher starts: the daemon, an engine of its own, the command line; and with which Python."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kache import __version__
from kache.ipc.protocol import Busy, Hit, Wait
from tests.support import processes
from tests.support.launcher import Conversation, LauncherBox

ROOT = Path(__file__).parents[2]
SH = "/bin/sh"
ECHO = "/bin/echo"
TIMEOUT_S = 30
LAUNCHED = ["-I", "-m", "kache.daemon", "--launcher-version", __version__]

# Stands for `python -I -m MODULE`: notes how it was started, then serves one HIT a connection.
STAND_IN = """
import json, os, signal, socket, sys
sys.path.insert(0, SRC)
from kache.ipc.protocol import HEADER_SIZE, Hit, decode, parse_header
module = sys.argv[3]

def open_fds():
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink("/proc/self/fd/" + fd)
        except FileNotFoundError:
            pass  # the listing's own
    return found

mask = os.umask(0)
os.umask(mask)
facts = {
    "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "umask": mask,
    "pid": os.getpid(), "ppid": os.getppid(), "sid": os.getsid(0),
    "fds": open_fds(),
    "signals": [l for l in open("/proc/self/status") if l.startswith(("SigBlk", "SigIgn"))],
}
with open(os.path.join(NOTES, module), "a") as notes:
    notes.write(json.dumps(facts) + "\\n")

def serve(connection):
    data = b""
    while len(data) < HEADER_SIZE:
        data += connection.recv(65536)
    kind, length = parse_header(data[:HEADER_SIZE])
    while len(data) < HEADER_SIZE + length:
        data += connection.recv(65536)
    request = decode(kind, data[HEADER_SIZE:])
    with open(os.path.join(NOTES, "asked"), "ab") as notes:
        notes.write(b" ".join(request.argv) + b"\\n")
    connection.sendall(Hit(0, module.encode() + b" " + b" ".join(request.argv[1:]) + b"\\n", b"").encode())

if module == "kache.wrapper":
    serve(socket.socket(fileno=3))
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["KACHE_SOCKET_PATH"])
    listener.listen()
    signal.alarm(60)
    while True:
        connection, _ = listener.accept()
        serve(connection)
"""


class StartBox(LauncherBox):
    """A launcher with a stand-in for its Python that notes how it was started."""

    def install_stand_in(self, before: str = "") -> Path:
        """Install it; `before` is shell that runs first."""
        script = self.root / "stand_in.py"
        script.write_text(f"SRC = {str(ROOT / 'src')!r}\nNOTES = {str(self.root)!r}\n{STAND_IN}")
        return self.install_python(f'{before}\nexec {shlex.quote(sys.executable)} -I {script} "$@"')

    def notes(self, module: str) -> list[dict[str, Any]]:
        """How the module was started, each time."""
        path = self.root / module
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        for started in self.notes("kache.daemon"):
            with suppress(ProcessLookupError):
                os.kill(started["pid"], signal.SIGKILL)
        super().close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[StartBox]:
    made = StartBox(tmp_path)
    yield made
    made.close()


# --- the daemon ---


def test_the_first_compile_starts_the_daemon_and_the_next_finds_it(box: StartBox) -> None:
    box.install_stand_in()
    assert box.run(SH, "one").stdout == b"kache.daemon one\n"
    assert box.run(SH, "two").stdout == b"kache.daemon two\n"
    assert len(box.notes("kache.daemon")) == 1
    assert box.notes("kache.wrapper") == []


def test_the_daemon_keeps_nothing_of_its_caller(box: StartBox) -> None:
    box.install_stand_in()
    reading, writing = os.pipe()
    env = {"CARGO": "x", "RUSTC_WRAPPER": "x", "MAKEFLAGS": "x", "LD_DEBUG_OUTPUT": "x", "PYTHONPATH": "x"}
    kept = {"HTTPS_PROXY": "p", "no_proxy": "q", "LC_ALL": "C", "XDG_STATE_HOME": "/x", "AWS_PROFILE": "a"}
    prepare = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13)]"
    prepare += "; signal.pthread_sigmask(signal.SIG_BLOCK, [10])"
    box.run(SH, env={**env, **kept}, pass_fds=(writing,), umask=0o002, prepare=prepare)
    os.close(reading)
    os.close(writing)
    (started,) = box.notes("kache.daemon")
    assert started["argv"] == LAUNCHED
    assert (started["cwd"], started["umask"]) == ("/", 0o077)
    assert started["sid"] not in (os.getsid(0), started["ppid"])
    assert {fd: path for fd, path in started["fds"].items() if path != "/dev/null"} == {}
    assert set(started["fds"]) == {"0", "1", "2"}
    assert not set(env) & set(started["env"])
    assert kept.items() <= started["env"].items()
    # Python ignores SIGPIPE and SIGXFSZ; below make a bit that is no signal's (32, glibc's own) is inherited too.
    blocked, ignored = (int(line.split()[1], 16) & ~(1 << 31) for line in started["signals"])
    assert (blocked, ignored) == (0, 0x1001000)


def test_a_pipe_behind_the_build_ends_with_it(box: StartBox) -> None:
    """`cargo build | cat` with no daemon: nobody but the build may hold the pipe."""
    box.install_stand_in()
    started = time.monotonic()
    done = subprocess.run([box.kache, SH, "x"], env=box.env, capture_output=True, timeout=TIMEOUT_S, check=True)
    assert done.stdout == b"kache.daemon x\n"
    assert time.monotonic() - started < 10
    os.kill(box.notes("kache.daemon")[0]["pid"], 0)  # it runs on


def test_ctrl_c_leaves_the_daemon_up(box: StartBox) -> None:
    box.install_stand_in()
    with box.start(SH, "x", start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"kache.daemon x\n"
        with suppress(ProcessLookupError):  # gone already, and so is its group
            os.killpg(process.pid, signal.SIGINT)
    assert box.run(SH, "y").stdout == b"kache.daemon y\n"
    assert len(box.notes("kache.daemon")) == 1


def test_the_daemon_is_no_child_of_the_compiler(box: StartBox) -> None:
    box.install_stand_in()
    with box.start(SH, "x") as process:
        process.communicate(timeout=TIMEOUT_S)
    assert box.notes("kache.daemon")[0]["ppid"] != process.pid


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_without_daemon_by_wish(box: StartBox, value: str) -> None:
    box.install_stand_in()
    assert box.run(SH, "x", env={"KACHE_DAEMON": value}).stdout == b"kache.wrapper x\n"
    assert box.notes("kache.daemon") == []
    assert not box.socket.exists()


def test_a_daemon_that_cannot_start_is_tried_once_a_minute(box: StartBox) -> None:
    box.install_stand_in(
        'case "$3" in kache.daemon) echo >> tries; exit 1;; esac'.replace("tries", f"{box.root}/tries")
    )
    for _ in range(3):
        assert box.run(SH, "x").stdout == b"kache.wrapper x\n"
    assert (box.root / "tries").read_text() == "\n"
    marker = Path(f"{box.socket}.failed")
    os.utime(marker, (time.time() - 61, time.time() - 61))
    assert box.run(SH, "x").stdout == b"kache.wrapper x\n"
    assert (box.root / "tries").read_text() == "\n\n"


def test_rustc_answers_cargos_questions_to_a_new_cache_while_the_daemon_starts(box: StartBox) -> None:
    """Guards cold builds: cargo compiles nothing before it knows its compiler, and an empty cache cannot know it."""
    box.install_stand_in('case "$3" in kache.daemon) sleep 1;; esac')
    for words in (["-vV"], ["-", "--print=sysroot"], ["-vV"]):
        assert box.run(ECHO, *words).stdout.split() == [word.encode() for word in words]
        assert not box.socket.exists(), "it waited for the daemon, or the process aside held its output"
    assert box.run(ECHO, "x").stdout == b"kache.daemon x\n"  # a compile waits
    asked = box.root / "asked"
    processes.until(lambda: len(asked.read_text().splitlines()) == 4, limit_s=TIMEOUT_S)
    assert asked.read_text().count(f"{ECHO} -vV\n") == 2
    assert len(box.notes("kache.daemon")) == 1
    (Path(box.env["KACHE_CACHE_DIR"]) / "store").mkdir(parents=True)
    assert box.run(ECHO, "-vV").stdout == b"kache.daemon -vV\n"


def test_a_daemon_that_is_slow_to_start_is_not_waited_for_long(box: StartBox) -> None:
    """The one asked first gives up before the daemon is there, and the one asked later is answered by it."""
    box.install_stand_in('case "$3" in kache.daemon) sleep 8;; esac')
    assert box.run(SH, "x").stdout == b"kache.wrapper x\n"
    assert not box.socket.exists()
    deadline = time.monotonic() + TIMEOUT_S
    # The marker keeps nobody from a daemon that is there.
    while (said := box.run(SH, "y").stdout) != b"kache.daemon y\n":
        assert said == b"kache.wrapper y\n" and time.monotonic() < deadline
        time.sleep(0.05)


def test_the_other_of_two_daemons_is_waited_for(box: StartBox) -> None:
    """The one started here finds the cache dir taken and ends well: the one that has it is about to listen."""
    box.install_stand_in()
    first = f"if mkdir {box.root}/lock; then sleep 0.3; else exit 0; fi"
    box.install_stand_in(f'case "$3" in kache.daemon) {first};; esac')
    with box.start(SH, "a") as one, box.start(SH, "b") as two:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in (one, two)]
    assert outputs == [b"kache.daemon a\n", b"kache.daemon b\n"]


def test_a_stale_socket_is_replaced_by_a_daemon(box: StartBox) -> None:
    box.install_stand_in(f'case "$3" in kache.daemon) rm -f {box.socket};; esac')
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(box.socket))
    assert box.run(SH, "x").stdout == b"kache.daemon x\n"


@pytest.mark.parametrize("place", ["relative/socket", "/" + "x" * 200])
def test_a_place_no_daemon_can_have(box: StartBox, place: str) -> None:
    box.install_stand_in()
    assert box.run(SH, "x", env={"KACHE_SOCKET_PATH": place}).stdout == b"kache.wrapper x\n"
    assert box.notes("kache.daemon") == []


def test_a_long_cache_dir_has_its_socket_in_tmp_if_that_is_ours(box: StartBox) -> None:
    env = {"KACHE_SOCKET_PATH": "", "KACHE_CACHE_DIR": f"{box.short}/{'x' * 120}"}
    from kache.config.paths import socket_path

    place = socket_path(env)
    existed = place.parent.exists()
    place.parent.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(place.parent.stat().st_mode) != 0o700:
        pytest.skip(f"{place.parent} is not private")
    script = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({str(place)!r}); s.listen(); print(1, flush=True)"
    )
    script += "; c, _ = s.accept(); print(len(c.recv(9)), flush=True)"
    try:
        with subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"1\n"
            assert box.run(SH, "-c", "echo plain", env=env).stdout == b"plain\n"
            assert server.stdout.readline() == b"9\n"
    finally:
        place.unlink(missing_ok=True)
        if not existed:
            place.parent.rmdir()


def test_a_daemon_that_went_silent_is_not_asked_for_a_minute(box: StartBox) -> None:
    box.install_stand_in()

    def script(talk: Conversation) -> None:
        talk.request()
        talk.send(Wait(1))
        assert talk.receive() is None

    with box.engine(script, lambda talk: (talk.request(), talk.send(Hit(0, b"daemon", b"")))):  # type: ignore[func-returns-value]
        assert box.run(SH, "-c", "echo plain").stdout == b"plain\n"
        assert box.run(SH, "x").stdout == b"kache.wrapper x\n"
        os.utime(f"{box.socket}.silent", (time.time() - 61, time.time() - 61))
        assert box.run(SH, "y").stdout == b"daemon"


# --- the engine of one call ---


def test_the_engine_of_one_call(box: StartBox) -> None:
    box.install_stand_in()
    reading, writing = os.pipe()
    done = box.run(SH, "x", env={"KACHE_DAEMON": "0", "CARGO": "kept"}, pass_fds=(writing,))
    os.close(reading)
    os.close(writing)
    assert done.stdout == b"kache.wrapper x\n"
    (started,) = box.notes("kache.wrapper")
    assert started["argv"] == ["-I", "-m", "kache.wrapper", "--launcher-version", __version__]
    assert started["env"]["CARGO"] == "kept"
    assert set(started["fds"]) == {"0", "1", "2", "3"}
    assert started["fds"]["3"].startswith("socket:")
    assert started["fds"]["2"] == "/dev/null"


def test_debugging_shows_what_the_engine_says(box: StartBox) -> None:
    box.install_stand_in("echo words >&2")
    assert box.run(SH, env={"KACHE_DAEMON": "0"}).stderr == b""
    assert box.run(SH, env={"KACHE_DAEMON": "0", "KACHE_LOG": "debug"}).stderr == b"words\n"


def test_a_busy_daemon_hands_over(box: StartBox) -> None:
    box.install_stand_in()
    with box.engine(lambda talk: [talk.request(), talk.send(Busy("version"))]):  # type: ignore[func-returns-value]
        assert box.run(SH, "x").stdout == b"kache.wrapper x\n"


@pytest.mark.parametrize("status", [0, 1, 86])
def test_an_engine_that_ends_at_once_is_the_plain_compiler(box: StartBox, status: int) -> None:
    box.install_python(f"exit {status}")
    done = box.run(SH, "-c", "echo plain", env={"KACHE_DAEMON": "0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"plain\n", b"")


# --- which Python ---


def test_no_python_is_ever_looked_up(box: StartBox) -> None:
    decoy = box.root / "decoy"
    decoy.mkdir()
    for name in ("python", "python3", "kache-python"):
        (decoy / name).write_text("#!/bin/sh\necho decoy\n")
        (decoy / name).chmod(0o755)
    env = {"PATH": f"{decoy}:{os.environ['PATH']}"}
    for shebang in ("#!/usr/bin/env python3", "#!python3", "import sys"):
        (box.bin / "kache-python").write_text(f"{shebang}\n")
        assert box.run(SH, "-c", "echo plain", env=env).stdout == b"plain\n"
        done = box.run("stats", env=env)
        assert done.returncode == 1
        assert [line.split(b":")[0] for line in done.stderr.splitlines()] == [b"error[no-python]", b"why", b"fix"]


def test_the_command_line_gets_everything(box: StartBox) -> None:
    box.install_python('echo "$@|$CARGO"')
    done = box.run("stats", "--json", "", b"\xff", env={"CARGO": "kept"})
    assert done.stdout == b"-I -m kache stats --json  \xff|kept\n"
    for words in ([], ["--help"], ["--version", "--json"], ["nonsense"]):
        assert (
            box.run(*words, env={"CARGO": ""}).stdout
            == " ".join(["-I -m kache", *words, "|"]).replace(" |", "|").encode() + b"\n"
        )


def test_a_verb_is_a_verb_whatever_path_holds(box: StartBox) -> None:
    box.install_python("echo verb")
    (box.bin / "list").write_text("#!/bin/sh\necho program\n")
    (box.bin / "list").chmod(0o755)
    env = {"PATH": f"{box.bin}:{os.environ['PATH']}"}
    assert box.run("list", env=env).stdout == b"verb\n"
    done = box.run(str(box.bin / "list"), env={**env, "KACHE_DISABLED": "1"})
    assert done.stdout == b"program\n"


def test_a_link_to_the_launcher_leads_to_its_own_python(box: StartBox) -> None:
    box.install_python("echo own")
    link = box.root / "elsewhere"
    link.symlink_to(box.kache)
    assert subprocess.run([link, "stats"], env=box.env, capture_output=True, check=True).stdout == b"own\n"


@pytest.mark.parametrize(
    "form", ["#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\n", "#!/bin/sh\n'''exec' '{}' \"$0\" \"$@\"\n' '''\n"]
)
def test_a_python_with_a_blank_in_its_path(box: StartBox, form: str) -> None:
    directory = box.root / "a b"
    directory.mkdir()
    interpreter = box.install_python("echo blank").rename(directory / "python")
    (box.bin / "kache-python").write_text(form.format(interpreter))
    assert box.run("stats").stdout == b"blank\n"


def test_the_variable_is_the_second_choice(box: StartBox) -> None:
    other = box.root / "other"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    assert box.run("stats", env={"KACHE_PYTHON": str(other)}).stdout == b"other\n"
    box.install_python("echo own")
    assert box.run("stats", env={"KACHE_PYTHON": str(other)}).stdout == b"own\n"


def test_a_python_that_is_gone(box: StartBox) -> None:
    box.install_python("").unlink()
    done = box.run("stats")
    assert done.returncode == 1
    assert b"why: " in done.stderr and b"No such file" in done.stderr
    assert box.run(SH, "-c", "echo plain").stdout == b"plain\n"
