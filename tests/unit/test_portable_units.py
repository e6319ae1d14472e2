"""Units that leave this machine: no values, no paths; and those of others that must not be written here."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kache.cargo.dep_info import values_of_variables
from kache.core.unit import Unit, UnitFile
from kache.engine.warm_start.portable import Machine, at_home, portable, what_is_odd

HERE = Machine(b"/home/me/ws/target", b"/home/me/ws", b"/home/me/.cargo", b"/home/me", b"h" * 32, b"s" * 32, "team")
THERE = Machine(b"/srv/ci/target", b"/srv/ci", b"/home/me/.cargo", b"/home/ci", b"h" * 32, b"s" * 32, "team")
OUT = b"/home/me/ws/target/debug/build/c-0123/out"
# One file, `src/lib.rs`, and one variable, as cargo 1.95 wrote it.
DEP = bytes.fromhex("01000000ff0101000000000a0000007372632f6c69622e727300")


def dep_info(*variables: tuple[bytes, bytes | None]) -> bytes:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(4, "little") + value

    rows = (text(name) + (b"\0" if value is None else b"\1" + text(value)) for name, value in variables)
    return DEP + len(variables).to_bytes(4, "little") + b"".join(rows)


def file(path: str, content: bytes = b"", **more: Any) -> UnitFile:
    return UnitFile(path, 5, content=content, size=len(content), **more)


def unit(*files: UnitFile, stem: str = "lib-c", **more: Any) -> Unit:
    base = "debug/.fingerprint/c-0123"
    own = (
        *files,
        file(f"{base}/{stem}.json", b'{"deps":[],"local":[],"rustflags":[]}'),
        file(f"{base}/{stem}", b"0" * 16),
    )
    plain: dict[str, Any] = {
        "entry_key": b"k" * 32, "weak_key": b"w" * 32, "externs": (), "natives": (), "cwd": b"<cargo-home>/registry/c",
        "is_path": False, "tied_to": b"", "host": b"", "compile_ms": 5,
    }  # fmt: skip
    return Unit(base, stem, "0" * 16, (), files=own, **(plain | more))


def run(output: bytes, **more: Any) -> Unit:
    base = "debug/build/c-0123"
    files = (
        file(f"{base}/output", output),
        file(f"{base}/stderr", b"CFLAGS=-Dsecret"),
        file(f"{base}/root-output", OUT),
        file(f"{base}/out/build/c-0123/output", b"not for cargo\n"),
    )
    return unit(*files, stem="run-build-script-build-script-build", entry_key=b"", host=HERE.host, **more)


def contents(found: Unit) -> dict[str, bytes]:
    return {each.path: each.content for each in found.files}


def test_the_values_that_a_unit_read_are_known() -> None:
    assert values_of_variables(dep_info((b"A", b"secret"), (b"B", None))) == [b"secret"]
    assert values_of_variables(dep_info()) == []
    assert values_of_variables(dep_info()[:-1]) is None
    assert values_of_variables(dep_info() + b"x") is None


@pytest.mark.parametrize("variables", [((b"TOKEN", b"s3cr3t"),), ((b"TOKEN", b""),)])
def test_a_unit_that_read_a_variable_that_was_set_stays_here(variables: tuple[tuple[bytes, bytes], ...]) -> None:
    path = "debug/.fingerprint/c-0123/dep-lib-c"
    assert portable([unit(file(path, dep_info(*variables)))], HERE) == ()
    assert len(portable([unit(file(path, dep_info((b"TOKEN", None))))], HERE)) == 1


def test_a_unit_of_a_run_that_asked_for_a_variable_that_was_set_stays_here() -> None:
    facts = b'{"deps":[],"local":[{"RerunIfEnvChanged":{"var":"TOKEN","val":%s}}]}'
    for value, count in ((b'"s3cr3t"', 0), (b"null", 1)):
        found = unit()
        files = tuple(
            replace(each, content=facts % value) if each.path.endswith(".json") else each for each in found.files
        )
        assert len(portable([replace(found, files=files)], HERE)) == count


def test_what_a_script_said_to_people_is_not_sent() -> None:
    (found,) = portable([run(b"CC = Some(secret)\ncargo:rustc-link-search=" + OUT + b"/lib\n")], HERE)
    sent = contents(found)
    assert sent["debug/build/c-0123/output"] == b"cargo:rustc-link-search=\0<out>\0/lib\n"
    assert sent["debug/build/c-0123/stderr"] == b"" and sent["debug/build/c-0123/root-output"] == b"\0<out>\0"
    assert sent["debug/build/c-0123/out/build/c-0123/output"] == b"not for cargo\n"
    (home,) = at_home([found], THERE, 7)
    assert contents(home)["debug/build/c-0123/root-output"] == b"/srv/ci/target/debug/build/c-0123/out"
    assert contents(home)["debug/build/c-0123/output"].endswith(b"=/srv/ci/target/debug/build/c-0123/out/lib\n")
    assert {each.mtime_ns for each in home.files} == {7}


@pytest.mark.parametrize(
    "path", [b"/home/me/ws/src/lib.rs", b"/home/me/other", b"/home/me/.cargo/x", b"/home/me/ws/target/debug"]
)
def test_a_unit_that_names_a_path_of_this_machine_stays_here(path: bytes) -> None:
    assert portable([unit(file("debug/build/c-0123/out/n.rs", b"at " + path))], HERE) == ()
    assert portable([unit(tied_to=b"/home/me/ws")], HERE) == ()
    assert portable([unit(cwd=b"/home/me/elsewhere")], HERE) == ()


def test_homes_and_hosts_go_salted_and_come_back_where_they_are_alike() -> None:
    (found,) = portable([unit(cargo_home=HERE.cargo_home, host=HERE.host, steering=HERE.steering)], HERE)
    assert HERE.cargo_home not in found.cargo_home and found.host != HERE.host and found.steering != HERE.steering
    (same,) = at_home([found], THERE, 7)
    assert (same.cargo_home, same.host, same.steering) == (THERE.cargo_home, THERE.host, THERE.steering)
    (other,) = at_home([found], replaced(THERE, cargo_home=b"/opt/cargo", domain="team"), 7)
    assert other.cargo_home == found.cargo_home
    (strangers,) = at_home([found], replaced(THERE, domain="strangers"), 7)
    assert strangers.host == found.host


def replaced(machine: Machine, **more: Any) -> Machine:
    import dataclasses

    return dataclasses.replace(machine, **more)


@pytest.mark.parametrize(
    "path",
    [
        "../escaped", "/tmp/escaped", "debug/deps/../../escaped", "debug/escaped", "release/deps/x", "debug//deps/x",
        "debug/.fingerprint/other-0123/lib-other", "debug/.fingerprint/c-0123", "debug/deps/a\0b", "debug/src/x",
    ],
)  # fmt: skip
def test_a_file_that_is_not_the_units_own_is_refused(path: str) -> None:
    assert what_is_odd(unit(file(path)), "debug")


def test_a_units_own_files_are_fine() -> None:
    mine = unit(file("debug/deps/libc-0123.rlib", digest=b"d" * 32), file("debug/examples/c", digest=b"d" * 32))
    assert not what_is_odd(mine, "debug") and not what_is_odd(run(b""), "debug")
    assert what_is_odd(mine, "x86_64-unknown-linux-gnu/debug")
    assert what_is_odd(replace(mine, directory="debug/.fingerprint/../c"), "debug")
    assert what_is_odd(replace(mine, stem="../lib-c"), "debug")
