"""The launcher with its real engine: exit statuses, odd callers, odd names, other Pythons, other wrappers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.installation import Installation
from tests.support.projects import chain, hello, lib, slow
from tests.support.sandbox import KACHE, Sandbox

# What cargo puts on a command line for a library, with the least there has to be.
FLAGS = ("--edition=2021", "--error-format=json", "--json=diagnostic-rendered-ansi,artifacts", "--crate-type", "lib")
EMIT = (
    "--emit=dep-info,metadata,link",
    "-Cmetadata=ab",
    "-Cextra-filename=-ab",
    "-Cdebuginfo=2",
    "--out-dir",
    "target",
)


def wrapped(
    checkout: Checkout, *words: str | bytes | Path, env: dict[str, str] | None = None, wrapper: Path = KACHE
) -> subprocess.CompletedProcess[str]:
    """Run the launcher directly."""
    return subprocess.run(
        [wrapper, *words],
        cwd=checkout.path,
        env=checkout.box.env(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
    )


def rustc(checkout: Checkout, *words: str | bytes, wrapper: Path = KACHE) -> subprocess.CompletedProcess[str]:
    """One compile as cargo would have it."""
    (checkout.path / "target").mkdir(exist_ok=True)
    return wrapped(checkout, "rustc", "--crate-name", "thing", *FLAGS, *EMIT, *words, wrapper=wrapper)


# ---- how it ends


def test_a_compile_error_ends_as_rustcs_own(box: Sandbox) -> None:
    """Guards the exit status: 1 for errors, with nothing stored and no output left."""
    checkout = box.checkout("a", {"lib.rs": "pub fn f() -> u32 { undefined }\n"})
    done = rustc(checkout, "lib.rs")
    assert done.returncode == 1
    assert "E0425" in done.stderr
    assert box.calls().misses[0].reason == "compile-failed"
    assert list((checkout.path / "target").glob("*.rlib")) == []


def test_a_command_line_rustc_refuses_ends_as_rustcs_own(box: Sandbox) -> None:
    """Guards bad arguments: rustc says what is wrong with them."""
    checkout = box.checkout("a", {"lib.rs": ""})
    for words in (("lib.rs", "--no-such-flag"), ("missing.rs",), ("lib.rs", "--crate-type", "nonsense")):
        ours = rustc(checkout, *words)
        plain = rustc(checkout, *words, wrapper=Path("/usr/bin/env"))
        assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr), words
        assert ours.returncode != 0


def test_rustc_killed_is_reported_as_killed_and_not_stored(box: Sandbox) -> None:
    """Guards the out-of-memory killer: cargo sees the signal, the store sees nothing, the next build is right."""
    log = box.root / "slow.log"
    box.settings["SLOW_LOG"] = str(log)
    checkout = box.checkout("a", slow(2))
    building = checkout.start("build")
    processes.until(lambda: log.exists() and "start" in log.read_text(), limit_s=60)
    os.kill(int(log.read_text().split()[1]), signal.SIGKILL)
    _, stderr = building.communicate(timeout=60)
    assert building.returncode == 101 and "signal: 9, SIGKILL" in stderr
    assert [call.reason for call in box.calls().of("slow")] == ["compiler-killed"]
    checkout.build().expect(misses="slow", hits=0)
    checkout.fresh()


def test_rustc_that_crashes_is_not_stored(box: Sandbox) -> None:
    """Guards compiler crashes: the abort is cargo's to report, and a second try compiles again."""
    script = box.root / "bin" / "rustc"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *"--crate-name thing"*) kill -ABRT $$;; esac\nexec "{box.sysroot}/bin/rustc" "$@"\n'
    )
    script.chmod(0o755)
    failed = box.checkout("a", lib()).build(env={"RUSTC": str(script)}, fails=True)
    assert "signal: 6, SIGABRT" in failed.stderr
    failed.expect(misses=1, hits=0)
    box.checkout("second", lib()).build().expect(misses=1, hits=0)


# ---- who calls it


def test_from_path_and_by_absolute_path(box: Sandbox) -> None:
    """Guards both spellings of RUSTC_WRAPPER: by name and by path they share everything."""
    box.checkout("a", chain()).build(env={"RUSTC_WRAPPER": str(KACHE)}).expect(misses=3)
    by_name = {"RUSTC_WRAPPER": "kache", "PATH": f"{KACHE.parent}{os.pathsep}{box.env()['PATH']}"}
    box.checkout("second", chain()).build(env=by_name).expect(hits=3, misses=0)


def test_kache_inside_kache_is_counted_once(box: Sandbox) -> None:
    """Guards a wrapper of a wrapper: RUSTC_WRAPPER=kache where kache is the workspace wrapper too, or the rustc."""
    twice = {"RUSTC_WORKSPACE_WRAPPER": str(KACHE)}
    box.checkout("a", chain()).build(env=twice).expect(misses=3)
    second = box.checkout("second", chain())
    second.build(env=twice).expect(hits=3, misses=0)
    assert second.program("app") == "42\n"
    checkout = box.checkout("direct", {"lib.rs": "pub fn f() {}\n"})
    assert rustc(checkout, "lib.rs").returncode == 0
    shutil.rmtree(checkout.target)
    assert wrapped(checkout, KACHE, KACHE, "rustc", "--crate-name", "thing", *FLAGS, *EMIT, "lib.rs").returncode != 0
    (checkout.path / "target").mkdir(exist_ok=True)
    assert wrapped(checkout, KACHE, KACHE, "rustc", "--crate-name", "thing", *FLAGS, *EMIT, "lib.rs").returncode == 0
    assert box.calls().misses[0].crate == "thing"


def test_an_unknown_workspace_wrapper_passes_through(box: Sandbox) -> None:
    """Guards against caching what a stranger changes: its compiles run as they are, the dependencies' are cached."""
    script = box.root / "stranger"
    script.write_text('#!/bin/sh\nexec "$@"\n')
    script.chmod(0o755)
    checkout = box.checkout("a", chain())
    built = checkout.build(env={"RUSTC_WORKSPACE_WRAPPER": str(script)})
    built.expect(misses=0, hits=0, passthroughs=None)
    assert {call.reason for call in built.calls.passthroughs} == {"workspace-wrapper"}
    assert checkout.program("app") == "42\n"


def test_a_compiler_that_is_not_rustc(box: Sandbox) -> None:
    """Guards `kache cc`: whatever is no rustc runs as if kache were not there, exit status included."""
    checkout = box.checkout("a", {"main.c": "int main(void) { return 7; }\n"})
    assert wrapped(checkout, "cc", "main.c", "-o", "main").returncode == 0
    assert wrapped(checkout, "./main").returncode == 7
    missing = wrapped(checkout, "./no-such-compiler", "--version")
    assert missing.returncode == 127
    assert {call.reason for call in box.calls().passthroughs} <= {"not-rustc"}


def test_something_that_only_calls_itself_rustc(box: Sandbox) -> None:
    """Guards impostors: a program named rustc that does not answer as rustc does is run and not cached."""
    script = box.root / "bin" / "rustc"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "I am no compiler"\nexit 3\n')
    script.chmod(0o755)
    checkout = box.checkout("a", {"lib.rs": ""})
    done = wrapped(checkout, script, "--crate-name", "thing", *FLAGS, *EMIT, "lib.rs")
    assert (done.returncode, done.stdout) == (3, "I am no compiler\n")
    box.calls().expect(misses=0, hits=0, passthroughs=1)


def test_probes_of_build_scripts_pass_through(box: Sandbox) -> None:
    """Guards feature probes: source on stdin, no names, no notifications; they answer as rustc does."""
    checkout = box.checkout("a", {"probe.rs": "pub fn f() {}\n"})
    (checkout.path / "target").mkdir()
    done = subprocess.run(
        [KACHE, "rustc", "-", "--crate-name", "probe", "--crate-type", "lib", "--emit=metadata", "--out-dir", "target"],
        cwd=checkout.path,
        env=box.env(),
        input="pub fn f() { undefined() }",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "E0425" in done.stderr
    assert (
        wrapped(checkout, "rustc", "probe.rs", "--crate-type=lib", "--emit=metadata", "--out-dir=target").returncode
        == 0
    )
    assert (checkout.path / "target" / "libprobe.rmeta").exists()
    version = wrapped(checkout, "rustc", "-vV")
    assert version.stdout == wrapped(checkout, "-vV", wrapper=box.sysroot / "bin" / "rustc").stdout
    box.calls().expect(misses=0, hits=0, passthroughs=None)


# ---- words and names


def test_names_that_are_not_utf8(box: Sandbox) -> None:
    """Guards bytes: a source or directory whose name is no UTF-8 ends as it does without kache (rustc refuses most)."""
    checkout = box.checkout("a", {})
    name = b"l\xfcb.rs"
    with open(os.path.join(os.fsencode(checkout.path), name), "wb") as file:
        file.write(b"pub fn f() {}\n")
    directory = Checkout(box, Path(os.fsdecode(os.path.join(os.fsencode(box.root), b"d\xffr"))))
    directory.write("lib.rs", "pub fn f() {}\n")
    for place, source in ((checkout, name), (directory, "lib.rs")):
        ours = rustc(place, source)
        assert ours.returncode == rustc(place, source, wrapper=Path("/usr/bin/env")).returncode, ours.stderr


def test_a_home_whose_name_is_not_utf8(box: Sandbox) -> None:
    """Guards flags made of paths: rustc takes UTF-8 alone, so what is none must not get into them."""
    home = os.fsdecode(os.path.join(os.fsencode(box.root), b"h\xffme"))
    odd = {"HOME": home, "CARGO_HOME": f"{home}/.cargo", "ODD": "\udcff"}
    os.makedirs(odd["CARGO_HOME"])
    box.checkout("a", chain()).build(env=odd).expect(misses=3)
    second = box.checkout("second", chain())
    second.build(env=odd).expect(hits=3, misses=0)
    assert second.program("app") == "42\n"


def test_arguments_in_a_file(box: Sandbox) -> None:
    """Guards @file, which cargo uses when a command line is too long: the words in it are keyed like any other."""
    checkout = box.checkout("a", {"lib.rs": "#[cfg(one)] pub fn one() {}\n#[cfg(two)] pub fn two() {}\n"})
    for cfg in ("one", "two"):
        checkout.write("words", "\n".join(("--crate-name", "thing", *FLAGS, *EMIT, "--cfg", cfg, "lib.rs")))
        for expected in ("misses", "hits"):
            checkout.clean()
            (checkout.path / "target").mkdir()
            done = wrapped(checkout, "rustc", "@words")
            assert done.returncode == 0, done.stderr
            box.calls().expect(**{"hits": 0, "misses": 0, expected: 1})
    missing = wrapped(checkout, "rustc", "@no-such-file")
    assert (
        missing.returncode == wrapped(checkout, "rustc", "@no-such-file", wrapper=Path("/usr/bin/env")).returncode != 0
    )


def test_standard_input_is_the_callers(box: Sandbox) -> None:
    """Guards `rustc -` in pipes: what is on stdin reaches the compiler."""
    checkout = box.checkout("a", {})
    done = subprocess.run(
        [KACHE, "rustc", "-", "--crate-name", "piped", "-o", "piped"],
        cwd=checkout.path,
        env=box.env(),
        input='fn main() { println!("from a pipe") }',
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert (
        subprocess.run([checkout.path / "piped"], capture_output=True, text=True, check=True).stdout == "from a pipe\n"
    )


# ---- switched off, or without its Python


@pytest.mark.parametrize("value", ["1", "true"])
def test_disabled_is_as_if_it_were_not_there(box: Sandbox, value: str) -> None:
    """Guards KACHE_DISABLED: nothing is looked up, stored, started or written."""
    checkout = box.checkout("a", chain())
    checkout.build(env={"KACHE_DISABLED": value})
    assert checkout.program("app") == "42\n"
    assert not box.cache_dir.exists()
    assert box.processes() == []


def test_the_callers_python_settings_change_nothing(box: Sandbox) -> None:
    """Guards isolation: PYTHONPATH, PYTHONHOME and PYTHONSTARTUP of a shell never reach the engine."""
    poison = box.root / "poison"
    poison.mkdir()
    for module in ("json", "kache", "msgspec", "sitecustomize"):
        (poison / f"{module}.py").write_text("raise SystemExit('poisoned')\n")
    box.settings |= {
        "PYTHONPATH": str(poison),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSTARTUP": str(poison / "json.py"),
        "PYTHONOPTIMIZE": "2",
        "VIRTUAL_ENV": "/nonexistent",
    }
    box.checkout("a", chain()).build().expect(misses=3)
    box.checkout("second", chain()).build().expect(hits=3, misses=0)
    assert box.kache("stats").returncode == 0


def test_a_package_of_another_version_is_not_used(box: Sandbox) -> None:
    """Guards half-done upgrades: launcher and package of different versions mean plain rustc, and doctor says so."""
    installed = Installation(box.root / "environment")
    installed.become_version("0.0.1")
    box.daemon_may_fail = True
    box.settings["RUSTC_WRAPPER"] = str(installed.kache)
    for name in ("a", "second"):
        checkout = box.checkout(name, chain())
        checkout.build()
        assert checkout.program("app") == "42\n"
    box.calls().expect(hits=0, misses=0)
    done = subprocess.run([installed.kache, "doctor"], env=box.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "launcher and package differ" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("how", ["no script", "python gone", "package gone"])
def test_without_its_python_builds_are_plain(box: Sandbox, how: str) -> None:
    """Guards a broken installation: compiles go on, and commands say what is missing."""
    installed = Installation(box.root / "environment")
    if how == "no script":
        installed.script.unlink()
    elif how == "python gone":
        installed.script.write_text("#!/nonexistent/python\n")
    else:
        shutil.rmtree(installed.package)
        (installed.package.parent / "libraries.pth").unlink()
    box.daemon_may_fail = True
    box.settings["RUSTC_WRAPPER"] = str(installed.kache)
    checkout = box.checkout("a", hello())
    checkout.build()
    assert checkout.program("hello") == "hello, world\n"
    assert not (box.cache_dir / "store").exists()
    done = subprocess.run([installed.kache, "stats"], env=box.env(), capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stderr
    done = subprocess.run([installed.kache, "--version"], env=box.env(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kache ")


def test_without_the_daemon_none_is_started(plain_box: Sandbox) -> None:
    """Guards KACHE_DAEMON=0: the engine runs inside each call, and nothing stays."""
    plain_box.checkout("a", chain()).build().expect(misses=3)
    assert plain_box.processes() == []
    assert not plain_box.socket.exists()
