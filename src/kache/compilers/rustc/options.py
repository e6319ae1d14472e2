"""Take a rustc command line apart, option by option.

The grammar is that of rustc's getopts: short options take their value behind them or from the next argument, long
ones behind `=` or from the next argument. Whatever is not known is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from kache.compilers.rustc import flags
from kache.compilers.rustc.flags import Use
from kache.compilers.rustc.invocation import Extern, KeyArg, Refusal, SearchPath
from kache.compilers.rustc.linkargs import split_link_arg
from kache.core.outcome import Reason

_SEARCH_KINDS = frozenset({b"dependency", b"crate", b"native", b"framework", b"all"})
_SHORT = {ord(short): name for short, name in flags.SHORT.items()}
_LONG = {name.encode(): name for name in flags.LONG}


class RefusedError(Exception):
    """Carries a refusal out of the depth of a command line."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, detail)


class Options:
    """What one command line says, collected option by option.

    Args:
        cwd: absolute directory that relative paths start from.
    """

    def __init__(self, cwd: bytes) -> None:
        self.cwd = cwd
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
        self._last_link_arg: bytes | None = None
        self.codegen: dict[str, bytes | None] = {}
        self.unstable: dict[str, bytes | None] = {}
        self.debuginfo: str | None = None
        self.has_user_remap = False
        self.native_cpu = False
        self._drop = False

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
            if self._drop:
                self._drop = False
            else:
                self.run.extend(args[start:index])

    def _long(self, arg: bytes, args: Sequence[bytes], index: int) -> int:
        text, equals, value = arg[2:].partition(b"=")
        name = _LONG.get(text)
        if name is None:
            raise RefusedError(Reason.UNKNOWN_FLAG, arg.decode())
        if name in flags.VALUELESS:
            if equals:
                raise RefusedError(Reason.BAD_ARGUMENT, arg.decode())
        elif not equals:
            if index >= len(args):
                raise RefusedError(Reason.BAD_ARGUMENT, f"{arg.decode()} without a value")
            value = args[index]
            index += 1
        self._option(name, value)
        return index

    def _short(self, arg: bytes, args: Sequence[bytes], index: int) -> int:
        for at in range(1, len(arg)):
            name = _SHORT.get(arg[at])
            if name is None:
                raise RefusedError(Reason.UNKNOWN_FLAG, arg.decode())
            if name in flags.VALUELESS:
                self._option(name, b"")
                continue
            value = arg[at + 1 :]
            if not value:
                if index >= len(args):
                    raise RefusedError(Reason.BAD_ARGUMENT, f"{arg.decode()} without a value")
                value = args[index]
                index += 1
            self._option(name, value)
            if self._drop and at > 1:
                raise RefusedError(Reason.BAD_ARGUMENT, arg.decode())
            break
        return index

    # ---- one option

    def _option(self, name: str, value: bytes) -> None:
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, value)
            return
        if name in flags.QUERIES or (name in flags.LINTS and value == b"help"):
            raise RefusedError(Reason.QUERY, f"--{name}")
        if name in flags.SINGLE:
            if name in self.single:
                raise RefusedError(Reason.BAD_ARGUMENT, f"--{name} given twice")
            self.single[name] = value
        if name in flags.PRESENTATION:
            self.look.append(b"--%s=%s" % (name.encode(), value))
        elif name not in _NOT_KEYED:
            self.key.append(KeyArg(b"--%s=%s" % (name.encode(), value), None))

    def _crate_type(self, value: bytes) -> None:
        for kind in value.decode().split(","):
            if kind not in flags.CRATE_TYPES:
                raise RefusedError(Reason.CRATE_TYPE, kind)
            if kind not in self.crate_types:
                self.crate_types.append(kind)
        self.key.append(KeyArg(b"--crate-type=" + value, None))

    def _emit(self, value: bytes) -> None:
        for item in value.decode().split(","):
            kind, equals, _path = item.partition("=")
            if kind not in flags.EMIT_KINDS:
                raise RefusedError(Reason.EMIT_KIND, kind)
            if equals:
                raise RefusedError(Reason.OUTPUT_PATH, f"--emit={item}")
            self.emit.add(kind)

    def _json(self, value: bytes) -> None:
        for kind in value.decode().split(","):
            if kind not in flags.JSON_KINDS:
                raise RefusedError(Reason.UNKNOWN_FLAG, f"--json={kind}")
            self.json.add(kind)
        self.look.append(b"--json=" + value)

    def _extern(self, value: bytes) -> None:
        name, equals, path = value.partition(b"=")
        if not equals and name.rpartition(b":")[2] not in flags.SYSROOT_CRATES:
            raise RefusedError(Reason.MISSING_EXTERN, f"--extern {value.decode()} without a path")
        self.externs.append(Extern(name, self.absolute(path) if equals else None))

    def _search(self, value: bytes) -> None:
        kind, equals, path = value.partition(b"=")
        if not equals or kind not in _SEARCH_KINDS:
            kind, path = b"all", value
        if not path or path[:1] == b"@":
            raise RefusedError(Reason.BAD_ARGUMENT, f"-L {value.decode()}")
        self.search.append(SearchPath(kind, self.absolute(path)))

    def _native_lib(self, value: bytes) -> None:
        self.native_libs.append(value)
        self.key.append(KeyArg(b"-l " + value, None))

    def _output(self, value: bytes) -> None:
        raise RefusedError(Reason.OUTPUT_PATH, f"-o {value.decode()}")

    def _debug(self, _value: bytes) -> None:
        self.debuginfo = "2"
        self.key.append(KeyArg(b"-g", None))

    def _optimise(self, _value: bytes) -> None:
        self.key.append(KeyArg(b"-O", None))

    def _remap(self, value: bytes) -> None:
        source, equals, to = value.rpartition(b"=")
        if not equals:
            raise RefusedError(Reason.BAD_ARGUMENT, f"--remap-path-prefix {value.decode()}")
        self.has_user_remap = True
        prefix = b"--remap-path-prefix to=%s from=" % to
        # a relative prefix is compared with relative paths as text
        self.key.append(KeyArg(prefix, source) if source[:1] == b"/" else KeyArg(prefix + source, None))

    def _codegen(self, value: bytes) -> None:
        text, equals, given = value.partition(b"=")
        name = text.decode().replace("_", "-")
        use = flags.CODEGEN.get(name)
        if use is None:
            raise RefusedError(Reason.UNKNOWN_FLAG, f"-C {name}")
        if isinstance(use, Reason):
            raise RefusedError(use, f"-C {value.decode()}")
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
            if given is None:
                raise RefusedError(Reason.BAD_ARGUMENT, "-C incremental without a value")
            self._drop = True
            return
        if name in ("link-arg", "link-args"):
            self._link_arg(option, value)
            return
        if name in ("linker", "dlltool") or (name == "linker-plugin-lto" and b"/" in value):
            self.link_inputs.append(value)
            is_path = b"/" in value
            self.key.append(KeyArg(option, self.absolute(value)) if is_path else KeyArg(option + value, None))
            return
        if name == "extra-filename" and b"/" in value:
            raise RefusedError(Reason.OUTPUT_PATH, f"-C extra-filename={value.decode()}")
        if name == "llvm-args":
            for arg in value.split():
                found = flags.HARMLESS_LLVM_ARG.fullmatch(arg)
                if found is None or flags.LLVM_ARG_WITH_FILES.search(found["name"]):
                    raise RefusedError(Reason.EXTRA_OUTPUT, f"-C llvm-args={arg.decode()}")
        if name == "passes" and not flags.HARMLESS_PASSES.issuperset(value.split()):
            raise RefusedError(Reason.EXTRA_OUTPUT, f"-C passes={value.decode()}")
        if name == "target-cpu":
            self.native_cpu |= value == b"native"
        self.key.append(KeyArg(option + value if given is not None else option[:-1], None))

    def _link_arg(self, option: bytes, value: bytes) -> None:
        self.link_inputs.append(value)
        if option.endswith(b"args="):
            # several, divided by blanks: all raw
            self.key.append(KeyArg(option + value, None))
        else:
            self.key.append(split_link_arg(option, value, self._last_link_arg))
        self._last_link_arg = value

    def _unstable(self, value: bytes) -> None:
        text, equals, given = value.partition(b"=")
        name = text.decode().replace("_", "-")
        use = flags.UNSTABLE.get(name, Reason.UNSTABLE_FLAG)
        if isinstance(use, Reason):
            raise RefusedError(use, f"-Z {value.decode()}")
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

    def absolute(self, path: bytes) -> bytes:
        """Join a path with the working directory."""
        if path[:1] == b"/":
            return path
        while path[:2] == b"./":
            path = path[2:].lstrip(b"/")
        return os.path.join(self.cwd, path) if path not in (b"", b".") else self.cwd


_NOT_KEYED = frozenset({"out-dir", "target"})

_HANDLERS: dict[str, Callable[[Options, bytes], None]] = {
    "L": Options._search,
    "O": Options._optimise,
    "Z": Options._unstable,
    "codegen": Options._codegen,
    "crate-type": Options._crate_type,
    "emit": Options._emit,
    "extern": Options._extern,
    "g": Options._debug,
    "json": Options._json,
    "l": Options._native_lib,
    "o": Options._output,
    "remap-path-prefix": Options._remap,
}
