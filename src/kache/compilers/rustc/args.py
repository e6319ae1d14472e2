"""Parse a rustc command line into an Invocation, or say why it is not cached.

The grammar is that of rustc's getopts: short options take their value behind them or from the next argument, long
ones behind `=` or from the next argument. Whatever is not known here is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from kache.compilers.rustc import flags
from kache.compilers.rustc.flags import Use
from kache.compilers.rustc.invocation import Extern, Invocation, KeyArg, Refusal, SearchPath
from kache.compilers.rustc.linkargs import split_link_arg
from kache.compilers.rustc.response import expand
from kache.core.outcome import Reason

__all__ = ["Extern", "Invocation", "KeyArg", "Refusal", "SearchPath", "parse"]

_SEARCH_KINDS = frozenset({b"dependency", b"crate", b"native", b"framework", b"all"})
_SHORT = {ord(short): name for short, name in flags.SHORT.items()}
_LONG = {name.encode(): name for name in flags.LONG}


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, detail)


def parse(argv: Sequence[bytes], cwd: bytes) -> Invocation | Refusal:
    """Parse one call.

    Args:
        argv: the compiler, or a workspace wrapper and the compiler, and the arguments.
        cwd: absolute directory the call runs in.

    Returns:
        The invocation, or the first reason not to cache it. Reads nothing but response files.
    """
    try:
        return _parse(argv, cwd)
    except _Refused as refused:
        return refused.refusal


def _parse(argv: Sequence[bytes], cwd: bytes) -> Invocation | Refusal:
    if not argv:
        return Refusal(Reason.NOT_RUSTC, "no compiler")
    wrapped = _wrapped_rustc(argv)
    given = argv[1:] if wrapped is None else argv[2:]
    args: Sequence[bytes] | Refusal = given
    if any(arg[:1] == b"@" for arg in given):
        if wrapped is not None or not _is_rustc(argv[0]):
            # clippy-driver looks at the arguments before it expands files, so expanding them would change what it does
            return Refusal(Reason.RESPONSE_FILE, "clippy-driver with a response file")
        args = expand(given, cwd)
        if isinstance(args, Refusal):
            return args
    try:
        b"\0".join(args).decode()
    except UnicodeDecodeError:
        return Refusal(Reason.BAD_ARGUMENT, "an argument is not UTF-8")
    call = _Call(argv[0], wrapped, cwd)
    call.read(args)
    return call.finish()


def _wrapped_rustc(argv: Sequence[bytes]) -> bytes | None:
    """The rustc behind clippy-driver, or None when argv[0] is the compiler itself."""
    names_rustc = len(argv) > 1 and _stem(argv[1]) == b"rustc" and argv[1][:1] != b"-"
    if _stem(argv[0]) == b"clippy-driver":
        return argv[1] if names_rustc else None
    if names_rustc:
        raise _Refused(Reason.WORKSPACE_WRAPPER, os.fsdecode(argv[0]))
    if not _is_rustc(argv[0]):
        raise _Refused(Reason.NOT_RUSTC, os.fsdecode(argv[0]))
    if len(argv) == 1:
        raise _Refused(Reason.QUERY, "no arguments")
    return None


def _stem(path: bytes) -> bytes:
    return path.rpartition(b"/")[2].removesuffix(b".exe")


def _is_rustc(path: bytes) -> bool:
    return _stem(path).startswith(b"rustc")


def _is_on(value: bytes | None) -> bool:
    return value not in flags.FALSE_VALUES


class _Call:
    """Collects one command line option by option."""

    def __init__(self, compiler: bytes, wrapped: bytes | None, cwd: bytes) -> None:
        self.compiler, self.wrapped, self.cwd = compiler, wrapped, cwd
        self.single: dict[str, bytes] = {}
        self.key: list[KeyArg] = []
        self.look: list[bytes] = []
        self.run: list[bytes] = []
        self.sources: list[bytes] = []
        self.crate_types: list[str] = []
        self.emit: set[str] = set()
        self.json: set[str] = set()
        self.externs: list[Extern] = []
        self.search: list[SearchPath] = []
        self.native_libs: list[bytes] = []
        self.link_inputs: list[bytes] = []
        self.last_link_arg: bytes | None = None
        self.codegen: dict[str, bytes | None] = {}
        self.unstable: dict[str, bytes | None] = {}
        self.debuginfo: str | None = None
        self.has_user_remap = False
        self.native_cpu = False
        self.drop = False

    # ---- the grammar

    def read(self, args: Sequence[bytes]) -> None:
        """Take all arguments behind the compiler."""
        index, count = 0, len(args)
        while index < count:
            arg = args[index]
            start = index
            index += 1
            if arg[:1] != b"-" or arg == b"-":
                self.sources.append(arg)
            elif arg[:2] == b"--":
                index = self._long(arg, args, index)
            else:
                index = self._short(arg, args, index)
            if self.drop:
                self.drop = False
            else:
                self.run.extend(args[start:index])

    def _long(self, arg: bytes, args: Sequence[bytes], index: int) -> int:
        text, equals, value = arg[2:].partition(b"=")
        name = _LONG.get(text)
        if name is None:
            raise _Refused(Reason.UNKNOWN_FLAG, arg.decode())
        if name in flags.VALUELESS:
            if equals:
                raise _Refused(Reason.BAD_ARGUMENT, arg.decode())
        elif not equals:
            if index >= len(args):
                raise _Refused(Reason.BAD_ARGUMENT, f"{arg.decode()} without a value")
            value = args[index]
            index += 1
        self._option(name, value)
        return index

    def _short(self, arg: bytes, args: Sequence[bytes], index: int) -> int:
        for at in range(1, len(arg)):
            name = _SHORT.get(arg[at])
            if name is None:
                raise _Refused(Reason.UNKNOWN_FLAG, arg.decode())
            if name in flags.VALUELESS:
                self._option(name, b"")
                continue
            value = arg[at + 1 :]
            if not value:
                if index >= len(args):
                    raise _Refused(Reason.BAD_ARGUMENT, f"{arg.decode()} without a value")
                value = args[index]
                index += 1
            self._option(name, value)
            if self.drop and at > 1:
                raise _Refused(Reason.BAD_ARGUMENT, arg.decode())
            break
        return index

    # ---- one option

    def _option(self, name: str, value: bytes) -> None:
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, value)
            return
        if name in flags.QUERIES or (name in flags.LINTS and value == b"help"):
            raise _Refused(Reason.QUERY, f"--{name}")
        if name in flags.SINGLE:
            if name in self.single:
                raise _Refused(Reason.BAD_ARGUMENT, f"--{name} given twice")
            self.single[name] = value
        if name in flags.PRESENTATION:
            self.look.append(b"--%s=%s" % (name.encode(), value))
        elif name not in _NOT_KEYED:
            self.key.append(KeyArg(b"--%s=%s" % (name.encode(), value), None))

    def _crate_type(self, value: bytes) -> None:
        for kind in value.decode().split(","):
            if kind not in flags.CRATE_TYPES:
                raise _Refused(Reason.CRATE_TYPE, kind)
            if kind not in self.crate_types:
                self.crate_types.append(kind)
        self.key.append(KeyArg(b"--crate-type=" + value, None))

    def _emit(self, value: bytes) -> None:
        for item in value.decode().split(","):
            kind, equals, _path = item.partition("=")
            if kind not in flags.EMIT_KINDS:
                raise _Refused(Reason.EMIT_KIND, kind)
            if equals:
                raise _Refused(Reason.OUTPUT_PATH, f"--emit={item}")
            self.emit.add(kind)

    def _json(self, value: bytes) -> None:
        for kind in value.decode().split(","):
            if kind not in flags.JSON_KINDS:
                raise _Refused(Reason.UNKNOWN_FLAG, f"--json={kind}")
            self.json.add(kind)
        self.look.append(b"--json=" + value)

    def _extern(self, value: bytes) -> None:
        name, equals, path = value.partition(b"=")
        self.externs.append(Extern(name, self._absolute(path) if equals else None))

    def _search(self, value: bytes) -> None:
        kind, equals, path = value.partition(b"=")
        if not equals or kind not in _SEARCH_KINDS:
            kind, path = b"all", value
        if not path or path[:1] == b"@":
            raise _Refused(Reason.BAD_ARGUMENT, f"-L {value.decode()}")
        self.search.append(SearchPath(kind, self._absolute(path)))

    def _native_lib(self, value: bytes) -> None:
        self.native_libs.append(value)
        self.key.append(KeyArg(b"-l " + value, None))

    def _output(self, value: bytes) -> None:
        raise _Refused(Reason.OUTPUT_PATH, f"-o {value.decode()}")

    def _debug(self, _value: bytes) -> None:
        self.debuginfo = "2"
        self.key.append(KeyArg(b"-g", None))

    def _optimise(self, _value: bytes) -> None:
        self.key.append(KeyArg(b"-O", None))

    def _remap(self, value: bytes) -> None:
        source, equals, to = value.rpartition(b"=")
        if not equals:
            raise _Refused(Reason.BAD_ARGUMENT, f"--remap-path-prefix {value.decode()}")
        self.has_user_remap = True
        prefix = b"--remap-path-prefix to=%s from=" % to
        # a relative prefix is compared with relative paths as text
        self.key.append(KeyArg(prefix, source) if source[:1] == b"/" else KeyArg(prefix + source, None))

    def _codegen(self, value: bytes) -> None:
        text, equals, given = value.partition(b"=")
        name = text.decode().replace("_", "-")
        use = flags.CODEGEN.get(name)
        if use is None:
            raise _Refused(Reason.UNKNOWN_FLAG, f"-C {name}")
        if isinstance(use, Reason):
            raise _Refused(use, f"-C {value.decode()}")
        setting = given if equals else None
        self.codegen[name] = setting
        if name == "debuginfo":
            self.debuginfo = given.decode()
        if use is Use.KEY:
            self.key.append(KeyArg(b"-C " + value.replace(b"_", b"-", text.count(b"_")), None))
        else:
            self._codegen_special(name, setting)

    def _codegen_special(self, name: str, given: bytes | None) -> None:
        value = given or b""
        option = b"-C %s=" % name.encode()
        if name == "incremental":
            self.drop = True
            return
        if name in ("link-arg", "link-args"):
            self._link_arg(option, value)
            return
        if name in ("linker", "dlltool") or (name == "linker-plugin-lto" and b"/" in value):
            self.link_inputs.append(value)
            is_path = b"/" in value
            self.key.append(KeyArg(option, self._absolute(value)) if is_path else KeyArg(option + value, None))
            return
        if name == "extra-filename" and b"/" in value:
            raise _Refused(Reason.OUTPUT_PATH, f"-C extra-filename={value.decode()}")
        if name == "llvm-args":
            for arg in value.split():
                found = flags.HARMLESS_LLVM_ARG.fullmatch(arg)
                if found is None or flags.LLVM_ARG_WITH_FILES.search(found["name"]):
                    raise _Refused(Reason.EXTRA_OUTPUT, f"-C llvm-args={arg.decode()}")
        if name == "passes" and not flags.HARMLESS_PASSES.issuperset(value.split()):
            raise _Refused(Reason.EXTRA_OUTPUT, f"-C passes={value.decode()}")
        if name == "target-cpu":
            self.native_cpu |= value == b"native"
        self.key.append(KeyArg(option + value if given is not None else option[:-1], None))

    def _link_arg(self, option: bytes, value: bytes) -> None:
        self.link_inputs.append(value)
        if option.endswith(b"args="):
            # several, divided by blanks: all raw
            self.key.append(KeyArg(option + value, None))
        else:
            self.key.append(split_link_arg(option, value, self.last_link_arg))
        self.last_link_arg = value

    def _unstable(self, value: bytes) -> None:
        text, equals, given = value.partition(b"=")
        name = text.decode().replace("_", "-")
        use = flags.UNSTABLE.get(name, Reason.UNSTABLE_FLAG)
        if isinstance(use, Reason):
            raise _Refused(use, f"-Z {value.decode()}")
        self.unstable[name] = given if equals else None
        canonical = b"-Z %s%s%s" % (name.encode(), equals, given)
        if use is Use.LOOK:
            self.look.append(canonical)
            return
        if name in ("pre-link-arg", "pre-link-args"):
            self.link_inputs.append(given)
        elif name == "remap-cwd-prefix":
            self.has_user_remap = True
        elif name == "tune-cpu":
            self.native_cpu |= given == b"native"
        self.key.append(KeyArg(canonical, None))

    def _absolute(self, path: bytes) -> bytes:
        if path[:1] == b"/":
            return path
        while path[:2] == b"./":
            path = path[2:].lstrip(b"/")
        return os.path.join(self.cwd, path) if path not in (b"", b".") else self.cwd

    # ---- the whole

    def finish(self) -> Invocation:
        """Check what only the whole line shows, and build the invocation."""
        self._check()
        single, codegen = self.single, self.codegen
        source, out_dir = self.sources[0], self._absolute(single["out-dir"])
        is_test = "test" in single
        coverage = ("instrument-coverage" in codegen and _is_on(codegen["instrument-coverage"])) or (
            "coverage-options" in self.unstable
        )
        target, sysroot = single.get("target"), single.get("sysroot")
        self._add_derived_keys(source, out_dir, target)
        split = codegen.get("split-debuginfo")
        return Invocation(
            compiler=self.compiler,
            wrapped_rustc=self.wrapped,
            crate_name=single["crate-name"].decode(),
            crate_types=tuple(self.crate_types),
            is_test=is_test,
            unit_kind=self._unit_kind(out_dir, is_test),
            emit=frozenset(self.emit),
            source=source,
            out_dir=out_dir,
            extra_filename=codegen.get("extra-filename") or b"",
            externs=tuple(self.externs),
            search=tuple(self.search),
            native_libs=tuple(self.native_libs),
            link_inputs=tuple(self.link_inputs),
            target=target,
            target_spec=self._absolute(target) if target and target.endswith(b".json") else None,
            linker=codegen.get("linker"),
            codegen=codegen,
            unstable=self.unstable,
            key_args=tuple(self.key),
            presentation=tuple(self.look),
            json_errors=single.get("error-format") == b"json",
            wants_artifacts="artifacts" in self.json,
            run_args=tuple(self.run),
            links="link" in self.emit and (is_test or not {"lib", "rlib"}.issuperset(self.crate_types)),
            coverage=coverage,
            native_cpu=self.native_cpu,
            has_user_remap=self.has_user_remap,
            debuginfo=self.debuginfo,
            split_debuginfo=split.decode() if split is not None else None,
            incremental=codegen.get("incremental"),
            sysroot=self._absolute(sysroot) if sysroot is not None else None,
        )

    def _check(self) -> None:
        if b"-" in self.sources:
            raise _Refused(Reason.STDIN_SOURCE, "the source comes from stdin")
        if not self.sources:
            raise _Refused(Reason.NO_SOURCE, "no source file")
        if len(self.sources) > 1:
            raise _Refused(Reason.BAD_ARGUMENT, "several source files")
        if not self.sources[0]:
            raise _Refused(Reason.BAD_ARGUMENT, "an empty source name")
        if "dep-info" not in self.emit:
            raise _Refused(Reason.PROBE, "no dep-info asked for")
        if not self.single.get("out-dir"):
            raise _Refused(Reason.OUTPUT_PATH, "no --out-dir")
        if self.single.get("error-format") != b"json" or "artifacts" not in self.json:
            raise _Refused(Reason.NO_ARTIFACT_MESSAGES, "no --error-format=json with --json=artifacts")
        if not self.single.get("crate-name"):
            raise _Refused(Reason.BAD_ARGUMENT, "no --crate-name")
        if not self.crate_types and "test" not in self.single:
            # the source may name one, and rustc then goes by that
            raise _Refused(Reason.CRATE_TYPE, "no --crate-type")
        if self.emit == {"dep-info"}:
            raise _Refused(Reason.PROBE, "only dep-info asked for")

    def _add_derived_keys(self, source: bytes, out_dir: bytes, target: bytes | None) -> None:
        # A relative and an absolute name of one file differ in file!() and debug info.
        self.key.append(KeyArg(b"src-abs=" if source[:1] == b"/" else b"src-rel=", self._absolute(source)))
        self.key.append(KeyArg(b"--emit=" + ",".join(sorted(self.emit)).encode(), None))
        if target is not None:
            is_spec = target.endswith(b".json")
            self.key.append(
                KeyArg(b"--target=", self._absolute(target)) if is_spec else KeyArg(b"--target=" + target, None)
            )
        if "rpath" in self.codegen and _is_on(self.codegen["rpath"]):
            # run paths are made from where the output and the libraries lie, relative to each other and absolute
            self.key.append(KeyArg(b"rpath-out=" + out_dir, None))
            self.key.extend(KeyArg(b"rpath-L=" + found.path, None) for found in self.search)

    def _unit_kind(self, out_dir: bytes, is_test: bool) -> str:
        kind = "test"
        if not is_test:
            linked = [kind for kind in self.crate_types if kind not in ("lib", "rlib")]
            kind = linked[0] if linked else "lib"
            if kind == "bin" and self.single["crate-name"].startswith(b"build_script_"):
                kind = "build-script"
            elif kind == "bin" and out_dir.rpartition(b"/")[2] == b"examples":
                kind = "example"
        if _stem(self.compiler) == b"clippy-driver":
            return kind + "-clippy"
        return kind if "link" in self.emit else kind + "-check"


_NOT_KEYED = frozenset({"out-dir", "target"})

_HANDLERS: dict[str, Callable[[_Call, bytes], None]] = {
    "L": _Call._search,
    "O": _Call._optimise,
    "Z": _Call._unstable,
    "codegen": _Call._codegen,
    "crate-type": _Call._crate_type,
    "emit": _Call._emit,
    "extern": _Call._extern,
    "g": _Call._debug,
    "json": _Call._json,
    "l": _Call._native_lib,
    "o": _Call._output,
    "remap-path-prefix": _Call._remap,
}
