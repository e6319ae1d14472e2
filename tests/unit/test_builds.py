"""Builds, settings and questions: small things the engine asks of its surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kache.compilers.rustc.toolchain import Toolchain
from kache.engine.builds import Builds, is_compiling
from kache.engine.configs import Configs
from kache.engine.queries import Queries, question
from kache.ipc.protocol import Done, Hit, Request


def test_a_build_is_the_process_and_when_it_started() -> None:
    build = Builds().of(os.getpid())
    pid, ticks = build.id.split("-")
    assert (int(pid), ticks.isdigit()) == (os.getpid(), True)
    assert build.cwd == os.getcwdb()


def test_what_cargos_children_compile_belongs_to_cargo(tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.symlink_to(sys.executable)
    child = "import os,sys; print(os.getpid(), flush=True); sys.stdin.read()"
    script = f"import subprocess,sys; subprocess.run([{sys.executable!r}, '-c', {child!r}], stdin=sys.stdin)"
    # A process is called after the name it was started by.
    with subprocess.Popen(
        [cargo, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, executable=cargo
    ) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        name = Path(f"/proc/{parent.pid}/comm").read_text().strip()
        found = Builds().of(grandchild).id.split("-")[0]
        parent.communicate()
    assert name == "cargo" and int(found) == parent.pid


@pytest.mark.parametrize(("name", "counts"), [("rustc", True), ("kache", True), ("a-test", False)])
def test_cargo_compiles_while_compilers_are_its_children(tmp_path: Path, name: str, *, counts: bool) -> None:
    for link in ("cargo", name):
        (tmp_path / link).symlink_to(sys.executable)
    child = "print(flush=True); import sys; sys.stdin.read()"
    script = f"import subprocess,sys; subprocess.run([{str(tmp_path / name)!r}, '-c', {child!r}], stdin=sys.stdin)"
    cargo = tmp_path / "cargo"
    with subprocess.Popen([cargo, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        build_id = Builds().of(parent.pid).id
        found = is_compiling(build_id)
        parent.communicate()
    assert found == counts
    assert not is_compiling(build_id)


def test_a_process_that_is_gone_is_known_by_its_number() -> None:
    assert Builds().of(2**22 + 1).id == f"{2**22 + 1}-0"


def test_settings_are_those_of_the_callers_environment_and_directory(tmp_path: Path) -> None:
    (tmp_path / ".kache.toml").write_text('[cache]\nkey_salt = "here"\n')
    configs = Configs()
    env = [b"HOME=" + bytes(tmp_path), b"OTHER=1"]
    assert configs.of(env, bytes(tmp_path)).key_salt == "here"
    assert configs.of([*env, b"KACHE_KEY_SALT=env"], bytes(tmp_path)).key_salt == "env"
    assert configs.of(env, b"/").key_salt == ""


def request(*argv: bytes, env: tuple[bytes, ...] = ()) -> Request:
    return Request(os.getpid(), os.getppid(), 0o22, 0, 0, "0", b"/ws", list(argv), list(env))


TOOLCHAIN = Toolchain(b"i" * 32, b"/opt/rust", "x", (1, 95), "rustc 1.95.0", b"/opt/rust/bin/rustc", ())


def test_a_question_is_its_words_and_what_steers_rustc() -> None:
    one = question(request(b"rustc", b"-vV"), {b"A": b"1"}, TOOLCHAIN)
    assert one == question(request(b"rustc", b"-vV"), {b"A": b"2"}, TOOLCHAIN)
    assert one != question(request(b"rustc", b"--print=cfg"), {b"A": b"1"}, TOOLCHAIN)
    assert one != question(request(b"rustc", b"-vV"), {b"RUSTC_BOOTSTRAP": b"1"}, TOOLCHAIN)


def test_only_a_clean_answer_is_kept() -> None:
    queries = Queries()
    queries.learn(b"k", Done(1, 256, 0, 0, 0, 0, b"out", b""))
    queries.learn(b"k", Done(1, 0, 0, 0, 0, 0, b"out", b"warning"))
    assert queries.answer(b"k") is None
    queries.learn(b"k", Done(1, 0, 0, 0, 0, 0, b"out", b""))
    assert queries.answer(b"k") == Hit(0, b"out", b"")


def test_a_source_on_stdin_is_asked_each_time_unless_it_is_dev_null() -> None:
    script = (
        "import sys,os; sys.path.insert(0, sys.argv[1]);"
        "from kache.engine.queries import _stdin_is_null as null; print(null(os.getpid()))"
    )
    src = str(Path(__file__).parents[2] / "src")
    said = [
        subprocess.run(
            [sys.executable, "-c", script, src], stdin=stdin, capture_output=True, text=True, check=True
        ).stdout.strip()
        for stdin in (subprocess.DEVNULL, subprocess.PIPE)
    ]
    assert said == ["True", "False"]
