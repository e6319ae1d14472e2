"""Parse a rustc command line into an Invocation, or say why it is not cached."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kache.compilers.rustc import flags
from kache.compilers.rustc.invocation import (
    Extern,
    Invocation,
    KeyArg,
    Refusal,
    SearchPath,
    is_rustc_name,
    program_stem,
)
from kache.compilers.rustc.linkargs import writes_files
from kache.compilers.rustc.options import Options, RefusedError
from kache.compilers.rustc.response import expand
from kache.core.outcome import Reason

__all__ = ["Extern", "Invocation", "KeyArg", "Refusal", "SearchPath", "parse"]

_CLIPPY = b"clippy-driver"


def parse(argv: Sequence[bytes], cwd: bytes) -> Invocation | Refusal:
    """Parse one call.

    Args:
        argv: the compiler, or clippy-driver and the compiler, and the arguments.
        cwd: absolute directory the call runs in.

    Returns:
        The invocation, or the first reason not to cache it. Reads nothing but response files.
    """
    try:
        wrapped = _wrapped_rustc(argv)
        args = _arguments(argv, 1 if wrapped is None else 2, cwd)
        options = Options(cwd)
        options.read(args)
        _check(options)
        return _assemble(argv[0], wrapped, options)
    except RefusedError as refused:
        return refused.refusal


def _wrapped_rustc(argv: Sequence[bytes]) -> bytes | None:
    """The rustc behind clippy-driver, or None when argv[0] is the compiler itself."""
    if not argv:
        raise RefusedError(Reason.NOT_RUSTC, "no compiler")
    names_rustc = len(argv) > 1 and program_stem(argv[1]) == b"rustc"
    if program_stem(argv[0]) == _CLIPPY:
        return argv[1] if names_rustc else None
    if names_rustc:
        raise RefusedError(Reason.WORKSPACE_WRAPPER, os.fsdecode(argv[0]))
    if not is_rustc_name(argv[0]):
        raise RefusedError(Reason.NOT_RUSTC, os.fsdecode(argv[0]))
    return None


def _arguments(argv: Sequence[bytes], start: int, cwd: bytes) -> Sequence[bytes]:
    args = argv[start:]
    if not args:
        raise RefusedError(Reason.QUERY, "no arguments")
    if any(arg[:1] == b"@" for arg in args):
        if program_stem(argv[0]) == _CLIPPY:
            # it looks at the arguments before it expands files, so expanding them would change what it does
            raise RefusedError(Reason.RESPONSE_FILE, "clippy-driver with a response file")
        expanded = expand(args, cwd)
        if isinstance(expanded, Refusal):
            raise RefusedError(*expanded)
        args = expanded
    try:
        b"\0".join(args).decode()
    except UnicodeDecodeError:
        raise RefusedError(Reason.BAD_ARGUMENT, "an argument is not UTF-8") from None
    return args


def _check(options: Options) -> None:
    """Refuse what only the whole line shows."""
    if b"-" in options.sources:
        raise RefusedError(Reason.STDIN_SOURCE, "the source comes from stdin")
    if not options.sources:
        raise RefusedError(Reason.NO_SOURCE, "no source file")
    if len(options.sources) > 1 or not options.sources[0]:
        raise RefusedError(Reason.BAD_ARGUMENT, "not exactly one source file")
    if not options.emit - {"dep-info"} or "dep-info" not in options.emit:
        raise RefusedError(Reason.PROBE, "no dep-info beside another output asked for")
    if not options.single.get("out-dir"):
        raise RefusedError(Reason.OUTPUT_PATH, "no --out-dir")
    if options.single.get("error-format") != b"json" or "artifacts" not in options.json:
        raise RefusedError(Reason.NO_ARTIFACT_MESSAGES, "no --error-format=json with --json=artifacts")
    if not options.single.get("crate-name"):
        raise RefusedError(Reason.BAD_ARGUMENT, "no --crate-name")
    if "sysroot" in options.single:
        raise RefusedError(Reason.TOOLCHAIN, "--sysroot: libraries outside the toolchain that was identified")
    if _links(options):
        for value in options.link_inputs:
            if writes_files(value):
                raise RefusedError(Reason.EXTRA_OUTPUT, f"linker argument {value.decode()}")


def _assemble(compiler: bytes, wrapped: bytes | None, options: Options) -> Invocation:
    single, codegen = options.single, options.codegen
    source, out_dir = options.sources[0], options.absolute(single["out-dir"])
    target, split = single.get("target"), codegen.get("split-debuginfo")
    target_spec = options.absolute(target) if target and target.endswith(b".json") else None
    return Invocation(
        compiler=compiler,
        wrapped_rustc=wrapped,
        crate_name=single["crate-name"].decode(),
        crate_types=tuple(options.crate_types),
        is_test="test" in single,
        unit_kind=_unit_kind(compiler, options, out_dir),
        emit=frozenset(options.emit),
        source=source,
        out_dir=out_dir,
        extra_filename=codegen.get("extra-filename") or b"",
        externs=tuple(options.externs),
        search=tuple(options.search),
        native_libs=tuple(options.native_libs),
        link_inputs=tuple(options.link_inputs),
        target=target,
        target_spec=target_spec,
        linker=codegen.get("linker"),
        codegen=codegen,
        unstable=options.unstable,
        key_args=(*options.key, *_derived_keys(options, out_dir, target_spec)),
        presentation=tuple(options.look),
        json_errors=True,
        wants_artifacts=True,
        run_args=tuple(options.run),
        links=_links(options),
        coverage=_is_on(codegen, "instrument-coverage") or "coverage-options" in options.unstable,
        native_cpu=options.native_cpu,
        has_user_remap=options.has_user_remap,
        debuginfo=options.debuginfo,
        split_debuginfo=split.decode() if split is not None else None,
        incremental=codegen.get("incremental"),
    )


def _links(options: Options) -> bool:
    """Without a crate type rustc makes a program, unless the source names another kind: that may link, too."""
    only_rust = bool(options.crate_types) and {"lib", "rlib"}.issuperset(options.crate_types)
    return "link" in options.emit and ("test" in options.single or not only_rust)


def _derived_keys(options: Options, out_dir: bytes, target_spec: bytes | None) -> list[KeyArg]:
    source = options.sources[0]
    # A relative and an absolute name of one file differ in file!() and debug info.
    keys = [
        KeyArg(b"src-abs=" if source[:1] == b"/" else b"src-rel=", options.absolute(source)),
        KeyArg(b"--emit=" + ",".join(sorted(options.emit)).encode(), None),
    ]
    if "target" in options.single:
        keys.append(KeyArg(b"--target=" + (b"" if target_spec else options.single["target"]), target_spec))
    if _is_on(options.codegen, "rpath"):
        # run paths are made from where the output and the libraries lie, relative to each other and absolute
        keys.append(KeyArg(b"rpath-out=" + out_dir, None))
        keys += [KeyArg(b"rpath-L=" + found.path, None) for found in options.search]
        keys += [KeyArg(b"rpath-extern=" + found.path, None) for found in options.externs if found.path]
    return keys


def _is_on(codegen: dict[str, bytes | None], name: str) -> bool:
    return name in codegen and codegen[name] not in flags.FALSE_VALUES


def _unit_kind(compiler: bytes, options: Options, out_dir: bytes) -> str:
    linked = [kind for kind in options.crate_types if kind not in ("lib", "rlib")]
    kind = linked[0] if linked else "lib"
    # cargo names no type for tests and benches without rustc's harness (`harness = false`).
    if "test" in options.single or not options.crate_types:
        kind = "test"
    elif kind == "bin" and options.single["crate-name"].startswith(b"build_script_"):
        kind = "build-script"
    elif kind == "bin" and out_dir.rpartition(b"/")[2] == b"examples":
        kind = "example"
    if program_stem(compiler) == _CLIPPY:
        return kind + "-clippy"
    return kind if "link" in options.emit else kind + "-check"
