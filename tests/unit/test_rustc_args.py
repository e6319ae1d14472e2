"""Command lines: what cargo really passes, every spelling rustc takes, and a reason for what is not cached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kache.compilers.rustc.args import Extern, Invocation, KeyArg, Refusal, SearchPath, parse
from kache.core.outcome import Reason

GOLDEN = Path(__file__).parents[1] / "golden"

BASE = [
    *("rustc", "--crate-name", "foo", "--edition=2021", "src/lib.rs", "--error-format=json", "--json=artifacts"),
    *("--crate-type", "lib", "--emit=dep-info,metadata,link", "-C", "metadata=ab", "-C", "extra-filename=-ab"),
    *("--out-dir", "/t/deps"),
]


def call(*more: str, drop: str = "", cwd: str = "/ws") -> Invocation | Refusal:
    """Parse a library's compile with more arguments, or without the one that starts with `drop`."""
    argv = [arg for arg in BASE if not drop or not arg.startswith(drop)]
    return parse([arg.encode() for arg in (*argv, *more)], cwd.encode())


def good(*more: str, cwd: str = "/ws") -> Invocation:
    parsed = call(*more, cwd=cwd)
    assert isinstance(parsed, Invocation), parsed
    return parsed


def recorded() -> list[tuple[str, bytes, list[bytes]]]:
    """Calls of the golden file: (name, working directory, argv)."""
    calls = []
    for block in (GOLDEN / "rustc_calls.txt").read_text().split("\n\n")[1:]:
        name, cwd, *argv = (line.removeprefix("\t").encode() for line in block.rstrip("\n").split("\n"))
        calls.append((name.decode(), cwd, argv))
    return calls


def describe(parsed: Invocation | Refusal) -> list[str]:
    if isinstance(parsed, Refusal):
        return [f"{parsed.reason} ({parsed.detail})"]
    facts = [parsed.unit_kind, ",".join(parsed.crate_types) or "-", ",".join(sorted(parsed.emit))]
    facts += ["links"] * parsed.links + ["clippy"] * parsed.is_clippy
    if parsed.split_debuginfo:
        facts.append(f"split-debuginfo={parsed.split_debuginfo}")
    lines = [" ".join(facts), f"out {parsed.out_dir.decode()} {parsed.extra_filename.decode()}"]
    lines += [f"extern {extern.name.decode()} {(extern.path or b'-').decode()}" for extern in parsed.externs]
    lines += [f"search {search.kind.decode()} {search.path.decode()}" for search in parsed.search]
    return lines + [
        f"key {arg.prefix.decode()}{f'<{arg.path.decode()}>' if arg.path else ''}" for arg in parsed.key_args
    ]


def test_golden_recorded_calls() -> None:
    lines = []
    for name, cwd, argv in recorded():
        first, *rest = describe(parse(argv, cwd))
        # the first build in full, the others in a line
        lines += [f"{name}: {first}", *(f"\t{line}" for line in rest if name.startswith(("build ", "fat app bin")))]
    text = "\n".join(lines) + "\n"
    path = GOLDEN / "rustc_calls_parsed.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_every_recorded_compile_is_cached() -> None:
    for name, cwd, argv in recorded():
        parsed = parse(argv, cwd)
        is_query = name.endswith((" version", " probe"))
        assert isinstance(parsed, Refusal) is is_query, (name, parsed)
        if isinstance(parsed, Refusal):
            assert parsed.reason is Reason.QUERY


def test_incremental_is_taken_out_and_nothing_else() -> None:
    for _name, cwd, argv in recorded():
        parsed = parse(argv, cwd)
        if isinstance(parsed, Invocation):
            start = 2 if parsed.is_clippy else 1
            expected = list(argv[start:])
            for index, arg in enumerate(expected):
                if arg.startswith(b"incremental="):
                    del expected[index - 1 : index + 1]
                    break
            assert list(parsed.run_args) == expected


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("-Copt-level=3", "-C opt-level=3"),
        ("-C opt_level=3", "-C opt-level=3"),
        ("--codegen opt-level=3", "-C opt-level=3"),
        ("--codegen=opt_level=3", "-C opt-level=3"),
        ("-C target-feature=+a_b", "-C target-feature=+a_b"),
        ("-Zunstable-options", "-Z unstable-options"),
        ("-Z share_generics=y", "-Z share-generics=y"),
        ("-Aunused", "--allow=unused"),
        ("--allow unused", "--allow=unused"),
        ("-W unused", "--warn=unused"),
        ("--deny=warnings", "--deny=warnings"),
        ("-F unsafe_code", "--forbid=unsafe_code"),
        ("--force-warn unused", "--force-warn=unused"),
        ("--cap-lints allow", "--cap-lints=allow"),
        ("--cfg x", "--cfg=x"),
        ("--cfg=x", "--cfg=x"),
        ("--check-cfg cfg(a)", "--check-cfg=cfg(a)"),
        ("-lstatic=z", "-l static=z"),
        ("-l z", "-l z"),
        ("-g", "-g"),
        ("-O", "-O"),
        ("--target wasm32-unknown-unknown", "--target=wasm32-unknown-unknown"),
        ("--remap-path-scope all", "--remap-path-scope=all"),
        ("-C linker=clang", "-C linker=clang"),
        ("-C llvm-args=--inline-threshold=5", "-C llvm-args=--inline-threshold=5"),
        ("-C passes=sancov-module", "-C passes=sancov-module"),
        ("-C profile-generate=/pgo", "-C profile-generate=/pgo"),
        ("-C link-arg=-Wl,-rpath,/x", "-C link-arg=-Wl,-rpath,/x"),
    ],
)
def test_every_spelling_has_one_form_in_the_key(spelling: str, canonical: str) -> None:
    before = good().key_args
    added = [arg for arg in good(*spelling.split(" ", 1)).key_args if arg not in before]
    assert added == [KeyArg(canonical.encode(), None)]


@pytest.mark.parametrize(
    ("argument", "prefix", "path"),
    [
        ("-Clinker=/usr/bin/ld", "-C linker=", "/usr/bin/ld"),
        ("-Clinker=tools/ld", "-C linker=", "/ws/tools/ld"),
        ("--target=my/spec.json", "--target=", "/ws/my/spec.json"),
        ("--remap-path-prefix=/a=b=/c", "--remap-path-prefix to=/c from=", "/a=b"),
        ("-Clink-arg=/ws/a.o", "-C link-arg=", "/ws/a.o"),
        ("-Clink-arg=-L/ws/lib", "-C link-arg=-L", "/ws/lib"),
        ("-Clink-arg=-Wl,-T,/ws/x.ld", "-C link-arg=-Wl,-T,", "/ws/x.ld"),
        ("-Clink-arg=-Wl,--version-script=/ws/v", "-C link-arg=-Wl,--version-script=", "/ws/v"),
        ("-Clinker-plugin-lto=/llvm/gold.so", "-C linker-plugin-lto=", "/llvm/gold.so"),
    ],
)
def test_paths_that_are_not_baked_in_stand_apart(argument: str, prefix: str, path: str) -> None:
    assert KeyArg(prefix.encode(), path.encode()) in good(argument).key_args


@pytest.mark.parametrize("option", ["-rpath", "-soname", "-dynamic-linker", "-Xlinker"])
def test_a_path_behind_an_unknown_linker_option_stays_raw(option: str) -> None:
    parsed = good(f"-Clink-arg={option}", "-Clink-arg=/ws/x")
    assert KeyArg(b"-C link-arg=/ws/x", None) in parsed.key_args
    assert parsed.link_inputs == (option.encode(), b"/ws/x")


@pytest.mark.parametrize(
    "value",
    ["-Map=x", "-Wl,-O1", "-nostartfiles", "-Wl,--no-undefined", "-fuse-ld=lld", "/opt/a.o", "-Wl,-z,stack-size=1"],
)
def test_linker_arguments_that_write_nothing_or_reach_no_linker(value: str) -> None:
    assert not good(f"-Clink-arg={value}").links
    if "Map" not in value:
        assert good(f"-Clink-arg={value}", "--test").links


def test_the_source_is_a_path_in_the_key_and_relative_is_not_absolute() -> None:
    assert KeyArg(b"src-rel=", b"/ws/src/lib.rs") in good().key_args
    absolute = call("/ws/src/lib.rs", drop="src/")
    assert isinstance(absolute, Invocation)
    assert KeyArg(b"src-abs=", b"/ws/src/lib.rs") in absolute.key_args


def test_the_key_leaves_out_places_and_looks() -> None:
    parsed = good(
        *("-L", "dependency=/t/deps", "--extern", "a=/t/deps/liba.rlib", "--color=always", "-Cincremental=/t/inc"),
        *("--diagnostic-width=80", "-v", "-Zmacro-backtrace"),
    )
    assert parsed.key_args == good().key_args
    assert parsed.incremental == b"/t/inc"
    assert b"-Cincremental=/t/inc" not in parsed.run_args
    assert set(parsed.presentation) - set(good().presentation) == {
        *(b"--color=always", b"--diagnostic-width=80", b"--verbose=", b"-Z macro-backtrace")
    }


def test_externs_and_search_paths_are_absolute() -> None:
    parsed = good(
        *("--extern", "priv,noprelude:a=x/liba.rlib", "--extern=proc_macro", "-Lnative=n", "-L", "plain", "-L/a=b"),
        cwd="/elsewhere",
    )
    assert parsed.externs == (Extern(b"priv,noprelude:a", b"/elsewhere/x/liba.rlib"), Extern(b"proc_macro", None))
    assert parsed.search == (
        SearchPath(b"native", b"/elsewhere/n"),
        SearchPath(b"all", b"/elsewhere/plain"),
        SearchPath(b"all", b"/a=b"),
    )


def test_run_paths_depend_on_where_things_lie() -> None:
    here = good("-Crpath", "-L", "dependency=/t/deps").key_args
    assert KeyArg(b"rpath-out=/t/deps", None) in here
    assert KeyArg(b"rpath-L=/t/deps", None) in here
    assert good("-Crpath=no").key_args == (*good().key_args[:-2], KeyArg(b"-C rpath=no", None), *good().key_args[-2:])


def test_facts_the_engine_asks_for() -> None:
    parsed = good(
        "-g", "-Cinstrument-coverage", "-Ctarget-cpu=native", "--remap-path-prefix=/a=/b", "-Csplit-debuginfo=packed"
    )
    assert (parsed.debuginfo, parsed.coverage, parsed.native_cpu, parsed.has_user_remap) == ("2", True, True, True)
    assert parsed.split_debuginfo == "packed"
    assert good("-g", "-Cdebuginfo=1").debuginfo == "1"
    assert not good("-Cinstrument-coverage=off").coverage
    assert good("-Copt-level=1", "-C", "opt_level=2").codegen["opt-level"] == b"2"
    assert good("--target", "t.json").target_spec == b"/ws/t.json"
    assert good("--target", "t").target_spec is None


@pytest.mark.parametrize(
    ("more", "drop", "reason"),
    [
        (["-vV"], "", Reason.QUERY),
        (["-V"], "", Reason.QUERY),
        (["--version"], "", Reason.QUERY),
        (["--help"], "", Reason.QUERY),
        (["-h"], "", Reason.QUERY),
        (["--print", "cfg"], "", Reason.QUERY),
        (["--print=link-args=/tmp/x"], "", Reason.QUERY),
        (["--explain", "E0001"], "", Reason.QUERY),
        (["-C", "help"], "", Reason.QUERY),
        (["-Whelp"], "", Reason.QUERY),
        (["-Zhelp"], "", Reason.QUERY),
        (["-"], "src/", Reason.STDIN_SOURCE),
        ([], "src/", Reason.NO_SOURCE),
        (["b.rs"], "", Reason.BAD_ARGUMENT),
        (["--crate-name=bar"], "", Reason.BAD_ARGUMENT),
        (["--edition=2018"], "", Reason.BAD_ARGUMENT),
        (["--out-dir=/x"], "", Reason.BAD_ARGUMENT),
        (["--cfg"], "", Reason.BAD_ARGUMENT),
        (["-C"], "", Reason.BAD_ARGUMENT),
        (["--test=yes"], "", Reason.BAD_ARGUMENT),
        (["-gCincremental=/x"], "", Reason.BAD_ARGUMENT),
        (["-Cincremental"], "", Reason.BAD_ARGUMENT),
        (["-L", "@RUSTC_BUILTIN"], "", Reason.RESPONSE_FILE),
        (["-L@RUSTC_BUILTIN"], "", Reason.BAD_ARGUMENT),
        (["--remap-path-prefix=x"], "", Reason.BAD_ARGUMENT),
        (["--frobnicate"], "", Reason.UNKNOWN_FLAG),
        (["--env-set=A=b"], "", Reason.UNKNOWN_FLAG),
        (["-x"], "", Reason.UNKNOWN_FLAG),
        (["--"], "", Reason.UNKNOWN_FLAG),
        (["-C=opt-level=1"], "", Reason.UNKNOWN_FLAG),
        (["-Cfrobnicate"], "", Reason.UNKNOWN_FLAG),
        (["--json=timings"], "", Reason.UNKNOWN_FLAG),
        (["--emit=asm"], "", Reason.EMIT_KIND),
        (["--emit=obj,llvm-ir"], "", Reason.EMIT_KIND),
        (["--emit=dep-info=/x.d"], "", Reason.OUTPUT_PATH),
        (["-o", "x"], "", Reason.OUTPUT_PATH),
        (["--emit=metadata"], "--emit", Reason.PROBE),
        (["--emit=dep-info"], "--emit", Reason.PROBE),
        ([], "--emit", Reason.PROBE),
        (["--json=future-incompat"], "--json", Reason.NO_ARTIFACT_MESSAGES),
        ([], "--error-format", Reason.NO_ARTIFACT_MESSAGES),
        (["--crate-type=sdylib"], "", Reason.CRATE_TYPE),
        (["-Csave-temps"], "", Reason.EXTRA_OUTPUT),
        (["-Cextra-filename=/../x"], "", Reason.OUTPUT_PATH),
        (["-Zself-profile"], "", Reason.EXTRA_OUTPUT),
        (["-Zdump-mir=all"], "", Reason.EXTRA_OUTPUT),
        (["-Zremark-dir=x"], "", Reason.EXTRA_OUTPUT),
        (["-Cllvm-args=-time-passes"], "", Reason.EXTRA_OUTPUT),
        (["-Cllvm-args=-foo=bar.txt"], "", Reason.EXTRA_OUTPUT),
        (["-Cpasses=dot-cfg"], "", Reason.EXTRA_OUTPUT),
        (["-Cprofile-use=/x"], "", Reason.PROFILE_GUIDED),
        (["-Zprofile-sample-use=/x"], "", Reason.PROFILE_GUIDED),
        (["-Zcodegen-backend=x.so"], "", Reason.CODEGEN_BACKEND),
        (["-Zunpretty=expanded"], "", Reason.UNSTABLE_FLAG),
        (["-Zfrobnicate"], "", Reason.UNSTABLE_FLAG),
        (["--extern", "a"], "", Reason.MISSING_EXTERN),
        (["--sysroot=/s"], "", Reason.TOOLCHAIN),
        (["--test", "-Clink-arg=-Wl,-Map=/x.map"], "", Reason.EXTRA_OUTPUT),
        (["--test", "-Clink-arg=-Wl,-Map,x.map"], "", Reason.EXTRA_OUTPUT),
        (["--test", "-Clink-args=-nostdlib --reproduce=x.tar"], "", Reason.EXTRA_OUTPUT),
        (["--test", "-Clink-arg=-o/x"], "", Reason.EXTRA_OUTPUT),
        (["--test", "-Clink-arg=/MAP:x"], "", Reason.EXTRA_OUTPUT),
        (["--test", "-Zpre-link-arg=-save-temps"], "", Reason.EXTRA_OUTPUT),
    ],
)
def test_what_is_not_cached_has_a_reason(more: list[str], drop: str, reason: Reason) -> None:
    parsed = call(*more, drop=drop)
    assert isinstance(parsed, Refusal), parsed
    assert parsed.reason is reason
    assert parsed.detail


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], Reason.NOT_RUSTC),
        (["cc", "-c", "x.c"], Reason.NOT_RUSTC),
        (["/x/sccache", "/y/rustc", "src/lib.rs"], Reason.WORKSPACE_WRAPPER),
        (["rustc"], Reason.QUERY),
        (["clippy-driver", "rustc"], Reason.QUERY),
    ],
)
def test_what_the_compiler_is(argv: list[str], reason: Reason) -> None:
    parsed = parse([arg.encode() for arg in argv], b"/ws")
    assert isinstance(parsed, Refusal)
    assert parsed.reason is reason


@pytest.mark.parametrize("driver", ["/t/bin/clippy-driver", "clippy-driver.exe"])
def test_clippy_stands_before_rustc(driver: str) -> None:
    parsed = parse([arg.encode() for arg in (driver, "/t/bin/rustc", *BASE[1:])], b"/ws")
    assert isinstance(parsed, Invocation)
    assert parsed.is_clippy
    assert parsed.wrapped_rustc == b"/t/bin/rustc"
    assert parsed.unit_kind == "lib-clippy"
    assert parsed.run_args == tuple(arg.encode() for arg in BASE[1:])


@pytest.mark.parametrize("more", [[], [b"--test"]])
def test_without_a_crate_type_it_may_link(more: list[bytes]) -> None:
    argv = [arg.encode() for arg in BASE if arg not in ("--crate-type", "lib")]
    parsed = parse([*argv, *more], b"/ws")
    assert isinstance(parsed, Invocation)
    assert (parsed.unit_kind, parsed.links, parsed.crate_types) == ("test", True, ())


@pytest.mark.parametrize("name", ["rustc", "/t/bin/rustc", "rustc.exe", "/usr/bin/rustc-1.63"])
def test_names_of_rustc(name: str) -> None:
    assert isinstance(parse([arg.encode() for arg in (name, *BASE[1:])], b"/ws"), Invocation)


def test_arguments_that_are_not_utf8_are_rustcs_own_error() -> None:
    parsed = parse([*(arg.encode() for arg in BASE), b"--cfg=\xff"], b"/ws")
    assert isinstance(parsed, Refusal)
    assert parsed.reason is Reason.BAD_ARGUMENT


def test_a_working_directory_need_not_be_utf8() -> None:
    parsed = parse([arg.encode() for arg in BASE], b"/w\xff")
    assert isinstance(parsed, Invocation)
    assert KeyArg(b"src-rel=", b"/w\xff/src/lib.rs") in parsed.key_args


def test_response_files_are_one_argument_a_line(tmp_path: Path) -> None:
    (tmp_path / "args").write_bytes(b'--cfg\r\nfeature="a b"\n--cfg\nlast')
    parsed = good("@args", cwd=str(tmp_path))
    assert parsed.run_args[-4:] == (b"--cfg", b'feature="a b"', b"--cfg", b"last")
    (tmp_path / "value").write_bytes(b"opt-level=1\n")
    assert good("-C", "@value", cwd=str(tmp_path)).codegen["opt-level"] == b"1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\n", Reason.RESPONSE_FILE),
        (b"--cfg=" + b"x" * (1 << 20), Reason.RESPONSE_FILE),
        (b"\n", Reason.BAD_ARGUMENT),  # an empty argument is a second source
        (b"@nested\n", Reason.BAD_ARGUMENT),  # taken literally
        (None, Reason.RESPONSE_FILE),
    ],
)
def test_response_files_that_cannot_be_used(tmp_path: Path, content: bytes | None, reason: Reason) -> None:
    if content is not None:
        (tmp_path / "args").write_bytes(content)
    parsed = call("@args", cwd=str(tmp_path))
    assert isinstance(parsed, Refusal)
    assert parsed.reason is reason


def test_clippy_with_a_response_file_passes(tmp_path: Path) -> None:
    (tmp_path / "args").write_bytes(b"--cfg=x\n")
    parsed = parse([b"clippy-driver", *(arg.encode() for arg in BASE), b"@args"], os.fsencode(tmp_path))
    assert isinstance(parsed, Refusal)
    assert parsed.reason is Reason.RESPONSE_FILE
