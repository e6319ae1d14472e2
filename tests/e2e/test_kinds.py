"""Every kind of unit, command and profile: compiled once, served afterwards, byte for byte what rustc makes."""

from __future__ import annotations

import platform
import subprocess

import pytest

from tests.support.checkout import Checkout
from tests.support.kinds import all_kinds
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, chain, lib, manifest, workspace
from tests.support.sandbox import Sandbox, has_component, host_triple

Env = dict[str, str]


def served(box: Sandbox, files: Files, *words: str, env: Env | None = None) -> Checkout:
    """Run a command cold, then in a second checkout: every unit a hit, the outputs a plain build's."""
    cold = box.checkout("a", files).cargo(*words, env=env)
    cold.expect(hits=0)
    assert cold.calls.misses
    second = box.checkout("the/second/checkout", files)
    warm = second.cargo(*words, env=env)
    warm.expect(hits=" ".join(call.crate for call in cold.calls.misses), misses=0)
    second.same_bytes_as_plain(*words, env=env)
    return second


def test_every_kind_of_target(box: Sandbox) -> None:
    """Guards `cargo build --all-targets`: no kind of unit passes through or comes back different."""
    second = served(box, all_kinds(), "build", "--all-targets")
    second.fresh("build", "--all-targets")
    assert second.run("--bin", "user") == "11 3\n"
    assert second.run("--example", "shown") == "11\n"


def test_all_crate_types_are_recorded_as_what_they_are(daemon_box: Sandbox) -> None:
    """Guards the words people see: every kind has its name in the events."""
    calls = daemon_box.checkout("a", all_kinds()).build("--all-targets").calls
    kinds = {call.kind for call in calls.misses}
    assert {"lib", "bin", "example", "test", "build-script", "proc-macro", "dylib", "cdylib", "staticlib"} <= kinds, (
        kinds
    )


def test_check(box: Sandbox) -> None:
    """Guards `cargo check`: metadata alone, shared between checkouts."""
    served(box, all_kinds(), "check", "--all-targets")


@mostly_daemon
def test_tests_built_and_run(box: Sandbox) -> None:
    """Guards `cargo test`: harnesses are cached, and a restored one runs."""
    second = served(box, all_kinds(), "test", "--no-run")
    ran = second.test("-p", "user", "--test", "outside")
    assert "test adds ... ok" in ran.stdout
    ran.expect(hits=0, misses=0)


@mostly_daemon
def test_clippy(box: Sandbox) -> None:
    """Guards clippy through RUSTC_WORKSPACE_WRAPPER: cached, with its warnings, apart from `cargo check`."""
    if not has_component("clippy-driver"):
        pytest.skip("the toolchain has no clippy")
    files = chain()
    files["leaf/src/lib.rs"] += "pub fn odd(flag: bool) -> bool { if flag == true { true } else { false } }\n"
    box.checkout("a", files).check()
    second = served(box, files, "clippy")
    warm = second.clean().cargo("clippy")
    warm.expect(hits=3, misses=0)
    assert "needless_bool" in warm.stderr
    assert warm.messages == second.plain("clippy").messages
    second.clean().cargo("clippy", "--", "-Dclippy::needless_bool", fails=True).expect(misses="leaf", hits=0)


def test_clippys_configuration_is_an_input(box: Sandbox) -> None:
    """Guards clippy.toml, which no dep-info file of old named: other limits give other warnings."""
    if not has_component("clippy-driver"):
        pytest.skip("the toolchain has no clippy")
    text = "pub fn f(a: u8, b: u8, c: u8) -> u8 { a + b + c }\n"
    files = lib(text, more={"clippy.toml": "too-many-arguments-threshold = 7\n"})
    first = box.checkout("a", files)
    assert "too many arguments" not in first.cargo("clippy").stderr
    second = box.checkout("second", files | {"clippy.toml": "too-many-arguments-threshold = 2\n"})
    assert "too many arguments" in second.cargo("clippy").stderr
    second.clean()
    assert "too many arguments" in second.cargo("clippy").stderr


def test_clippys_configuration_above_a_checkout_is_an_input(box: Sandbox) -> None:
    """Guards checkouts that lie somewhere else: what clippy finds on its way up counts, where it looks does not."""
    if not has_component("clippy-driver"):
        pytest.skip("the toolchain has no clippy")
    files = lib("pub fn f(a: u8, b: u8, c: u8) -> u8 { a + b + c }\n")
    box.checkout("one/a", files).cargo("clippy").expect(misses=1)
    box.checkout("two/deep/b", files).cargo("clippy").expect(hits=1, misses=0)
    (box.root / "three").mkdir()
    (box.root / "three" / "clippy.toml").write_text("too-many-arguments-threshold = 2\n")
    strict = box.checkout("three/c", files)
    assert "too many arguments" in strict.cargo("clippy").expect(misses=1).stderr
    (box.root / "one" / ".clippy.toml").write_text("too-many-arguments-threshold = 1\n")
    first = box.checkout("one/d", files)
    assert "too many arguments" in first.cargo("clippy").expect(misses=1).stderr
    assert "too many arguments" in first.clean().cargo("clippy").expect(hits=1, misses=0).stderr


def test_clippys_configuration_is_looked_for_where_a_linked_member_is(box: Sandbox) -> None:
    """Guards a member that is a symbolic link: clippy goes up from what it leads to, not from the workspace."""
    if not has_component("clippy-driver"):
        pytest.skip("the toolchain has no clippy")
    text = "pub fn f(a: u8, b: u8, c: u8) -> u8 { a + b + c }\n"
    box.checkout("w/thing", {"Cargo.toml": manifest("thing"), "src/lib.rs": text})
    checkout = box.checkout("w/deep/a", workspace("thing"))
    (checkout.path / "thing").symlink_to(box.root / "w" / "thing")
    (box.root / "w" / "deep" / "clippy.toml").write_text("too-many-arguments-threshold = 9\n")
    checkout.cargo("clippy").expect(misses=1)
    (box.root / "w" / "clippy.toml").write_text("too-many-arguments-threshold = 2\n")
    assert "too many arguments" in checkout.clean().cargo("clippy").stderr


def test_what_documentation_depends_on(box: Sandbox) -> None:
    """Guards `cargo doc`: rustdoc is not wrapped, the metadata it reads is cached."""
    if not has_component("rustdoc"):
        pytest.skip("the toolchain has no rustdoc")
    box.checkout("a", chain()).cargo("doc").expect(misses="leaf mid", hits=0)
    second = box.checkout("second", chain())
    second.cargo("doc").expect(hits="leaf mid", misses=0)
    assert (second.target / "doc" / "app" / "index.html").is_file()


PROFILES: dict[str, Env] = {
    "plain": {},
    "thin LTO": {"CARGO_PROFILE_RELEASE_LTO": "thin"},
    "fat LTO": {"CARGO_PROFILE_RELEASE_LTO": "fat"},
    "LTO off": {"CARGO_PROFILE_RELEASE_LTO": "off"},
    "stripped": {"CARGO_PROFILE_RELEASE_STRIP": "symbols"},
    "abort": {"CARGO_PROFILE_RELEASE_PANIC": "abort"},
    "one unit": {"CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "1"},
}


@pytest.mark.parametrize(
    "profile",
    [pytest.param(n, marks=slow if n in ("LTO off", "abort", "one unit") else ()) for n in PROFILES],
)
@mostly_daemon
def test_release_profiles(box: Sandbox, profile: str) -> None:
    """Guards optimised builds: link-time optimisation reads the rlibs' bitcode and is deterministic."""
    second = served(box, chain(), "build", "--release", env=PROFILES[profile])
    assert second.run("--release", "-p", "app", env=PROFILES[profile]) == "42\n"


@pytest.mark.skipif(platform.system() != "Linux", reason="spells the names of ELF's split debug info")
@pytest.mark.parametrize("how", ["packed", "unpacked"])
@mostly_daemon
def test_split_debug_info(box: Sandbox, how: str) -> None:
    """Guards debug info beside the outputs, which rustc does not announce."""
    asked = {"CARGO_PROFILE_DEV_SPLIT_DEBUGINFO": how}
    second = served(box, chain(), "build", env=asked)
    names = [path.name for path in (second.target / "debug" / "deps").iterdir()]
    assert any(name.endswith((".dwp", ".dwo")) for name in names), names


@mostly_daemon
def test_a_target_triple(box: Sandbox) -> None:
    """Guards `--target`: other directories, build scripts and macros for the host, no mix-up with a native build."""
    files = all_kinds()
    box.checkout("native", files).build("-p", "user")
    second = served(box, files, "build", "-p", "user", "--target", host_triple())
    assert (second.target / host_triple() / "debug" / "user").is_file()


@mostly_daemon
def test_unstable_flags_known_to_be_harmless(box: Sandbox) -> None:
    """Guards nightly users: a known -Z flag is keyed and cached."""
    unstable = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zshare-generics=n"}
    served(box, chain(), "build", env=unstable)


def test_a_flag_kache_does_not_know_passes_through(box: Sandbox) -> None:
    """Guards against guessing: an unknown flag is rustc's business, and why-miss can say so."""
    unstable = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zinput-stats"}
    built = box.checkout("a", lib()).build(env=unstable)
    built.expect(hits=0, misses=0, passthroughs=1)
    assert built.calls.passthroughs[0].reason == "unstable-flag"
    assert box.data("stats", "--last-build")["passthrough_reasons"]["unstable-flag"] == 1


def test_failed_compiles_are_never_stored(box: Sandbox) -> None:
    """Guards against keeping what is not there: an error is rustc's own, each time."""
    files = lib("pub fn f() -> u32 { nothing }\n")
    checkout = box.checkout("a", files)
    for _ in range(2):
        failed = checkout.build(fails=True)
        failed.expect(hits=0, misses=1)
        assert [call.reason for call in failed.calls.misses] == ["compile-failed"]
        assert failed.messages == checkout.plain("build", fails=True).messages
    assert box.data("list")["entries"] == []
    checkout.edit("src/lib.rs", "nothing", "1")
    checkout.build().expect(misses=1)


def test_a_failed_compile_leaves_the_rest_of_the_build_cached(box: Sandbox) -> None:
    """Guards partial builds: what compiled before the error is a hit afterwards."""
    files = chain()
    checkout = box.checkout("a", files | {"app/src/main.rs": "fn main() { mid::missing() }\n"})
    checkout.build(fails=True).expect(misses="leaf mid app")
    second = box.checkout("second", files)
    second.build().expect(hits="leaf mid", misses="app")
    assert second.run("-p", "app") == "42\n"


def test_a_test_that_panics_names_its_own_source(box: Sandbox) -> None:
    """Guards places in panics: a restored test harness reports the file as an unwrapped one does."""
    files = lib("#[test]\nfn fails() { assert_eq!(1, 2); }\n")
    box.checkout("a", files).test(fails=True, env={"RUST_BACKTRACE": "0"})
    second = box.checkout("second", files)
    ours = second.test(fails=True, env={"RUST_BACKTRACE": "0"})
    ours.expect(hits=2, misses=0)
    assert "src/lib.rs:2:14" in ours.stdout
    plain = second.plain("test", fails=True, env={"RUST_BACKTRACE": "0"})
    assert place_of_panic(ours.stdout) == place_of_panic(plain.stdout)


def place_of_panic(text: str) -> str:
    """What follows " panicked at "; the thread's number before it differs from run to run."""
    return next(line for line in text.splitlines() if " panicked at " in line).partition(" panicked at ")[2]


def test_a_dylib_is_found_by_the_program_that_needs_it(box: Sandbox) -> None:
    """Guards `prefer-dynamic`: a program linked against a restored dylib starts."""
    files = alone(
        {
            "Cargo.toml": manifest("user", deps={"shared": "shared"}),
            "src/main.rs": 'fn main() { println!("{}", shared::value()); }\n',
            "shared/Cargo.toml": manifest("shared", extra='[lib]\ncrate-type = ["dylib"]'),
            "shared/src/lib.rs": "pub fn value() -> u32 { 5 }\n",
        }
    )
    dynamic = {"RUSTFLAGS": "-Cprefer-dynamic"}
    box.checkout("a", files).build(env=dynamic).expect(misses=2)
    second = box.checkout("second", files)
    second.build(env=dynamic).expect(hits=2, misses=0)
    assert second.run(env=dynamic) == "5\n"
    second.write("shared/src/lib.rs", "pub fn value() -> u32 { 6 }\n")
    assert second.run(env=dynamic) == "6\n"


@mostly_daemon
def test_coverage_keeps_real_paths(box: Sandbox) -> None:
    """Guards coverage reports: they name the sources of the checkout they are for."""
    coverage = {"RUSTFLAGS": "-Cinstrument-coverage"}
    files = lib()
    for name in ("a", "second"):
        checkout = box.checkout(name, files)
        checkout.build(env=coverage).expect(misses=1)
        checkout.clean().build(env=coverage).expect(hits=1, misses=0)
        rlib = next((checkout.target / "debug" / "deps").glob("*.rlib"))
        assert b"/proc/self/cwd" not in rlib.read_bytes()
        checkout.same_bytes_as_plain(env=coverage)


def test_restored_programs_may_be_executed_and_debugged(box: Sandbox) -> None:
    """Guards execute bits and section tables: a restored program runs from wherever it is copied to."""
    box.checkout("a", chain()).build()
    second = box.checkout("second", chain())
    second.build().expect(hits=3)
    program = second.target / "debug" / "app"
    done = subprocess.run([program], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    assert b"/proc/self/cwd" in program.read_bytes()
