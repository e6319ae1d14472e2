"""The key and the closure: they move with the content of every input, and with nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.args import Invocation, parse
from kache.compilers.rustc.closure import ClosureMaker, Surroundings, matches
from kache.compilers.rustc.depinfo import DepInfo
from kache.compilers.rustc.key_inputs import add_externs, add_link_closure, add_native, static_inputs
from kache.compilers.rustc.native import NativeInputs
from kache.compilers.rustc.roots import Roots, discover
from kache.compilers.rustc.toolchain import Toolchain
from kache.core.entry import InputMemo

TOOLCHAIN = Toolchain(
    b"identity", b"/sysroot", "x86_64-unknown-linux-gnu", (1, 95), "rustc 1.95.0\n", b"/sysroot/bin/rustc", ()
)
FOREVER_NS = 2**62
NAMES = ("alpha", "beta", "gamma")
FLAGS = (b"--cfg=a", b"--cfg=b", b"-O", b"-g", b"-lz", b"-Clto=thin")
CONTENT = st.binary(max_size=8)
NOISE = ("TERM", "PATH_OF_NOBODY", "LINES", "SHELL", "EDITOR", "MAKEFLAGS", "CARGO_MAKEFLAGS", "KACHE_LOG", "SSH_TTY")


@dataclass(frozen=True)
class Call:
    """One link in a checkout: what its key is made of.

    Attributes:
        externs: content of each dependency's rlib.
        archives: content of native libraries.
        package: value of CARGO_PKG_DESCRIPTION.
        flags: further arguments.
        noise: variables nothing reads.
        backwards: the environment in another order.
    """

    externs: tuple[bytes, ...] = (b"", b"", b"")
    archives: tuple[bytes, ...] = (b"", b"")
    package: str = ""
    flags: tuple[bytes, ...] = ()
    noise: tuple[tuple[str, str], ...] = ()
    backwards: bool = False


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory whose own name differs each time."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def key(call: Call, where: Path) -> bytes:
    """The weak key of a call in a checkout at a place."""
    deps, native = where / "target/debug/deps", where / "native"
    for directory in (deps, native):
        directory.mkdir(parents=True)
    argv = [b"rustc", b"--crate-name", b"app", b"src/main.rs", b"--error-format=json", b"--json=artifacts"]
    argv += [b"--crate-type=bin", b"--emit=dep-info,link", b"--out-dir", bytes(deps), *call.flags]
    argv += [b"-L", b"dependency=" + bytes(deps), b"-L", b"native=" + bytes(native)]
    for name, content in zip(NAMES, call.externs, strict=True):
        (deps / f"lib{name}-0123456789abcdef.rlib").write_bytes(content)
        argv += [b"--extern", f"{name}={deps}/lib{name}-0123456789abcdef.rlib".encode()]
    native_files = []
    for number, content in enumerate(call.archives):
        (native / f"lib{number}.a").write_bytes(content)
        native_files.append(bytes(native / f"lib{number}.a"))
    env = {"HOME": "/home/me", "CARGO_MANIFEST_DIR": str(where), "CARGO_PKG_DESCRIPTION": call.package}
    pairs = [*env.items(), *call.noise]
    environment = {name.encode(): value.encode() for name, value in (reversed(pairs) if call.backwards else pairs)}
    parsed, roots = understood(argv, where, environment)
    digests = FileDigests()
    inputs = static_inputs(parsed, roots, environment, TOOLCHAIN)
    add_externs(parsed, digests, inputs)
    add_native(NativeInputs(files=native_files, directories=[bytes(native)]), roots, digests, inputs)
    add_link_closure(parsed, digests, inputs, lambda _: (), lambda _: False)
    return inputs.weak_key()


def understood(argv: list[bytes], where: Path, environment: dict[bytes, bytes]) -> tuple[Invocation, Roots]:
    """The parsed call and its roots."""
    parsed = parse(argv, bytes(where))
    assert isinstance(parsed, Invocation), parsed
    return parsed, discover(parsed, bytes(where), environment, sysroot=b"/sysroot", base_dir=None)


CALLS = st.builds(
    Call,
    externs=st.tuples(CONTENT, CONTENT, CONTENT),
    archives=st.tuples(CONTENT, CONTENT),
    package=st.text("ab /é\n", max_size=4),
    flags=st.lists(st.sampled_from([b"--cfg=a", b"--cfg=b", b"-O", b"-g", b"-lz", b"-Clto=thin"]), max_size=3).map(
        tuple
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    CALLS,
    st.lists(st.tuples(st.sampled_from(NOISE), st.text("ab", max_size=3)), unique_by=lambda pair: pair[0]),
    st.booleans(),
    st.text("abcde ", min_size=1, max_size=8).filter(lambda text: text.strip() == text),
)
def test_place_order_and_noise_do_not_move_the_key(
    call: Call, noise: list[tuple[str, str]], backwards: bool, name: str
) -> None:
    """Paths of the checkout, the order of variables, and variables that nothing reads are in no key."""
    with scratch() as one, scratch() as other:
        dressed = replace(call, noise=tuple(noise), backwards=backwards)
        assert key(call, one / "a") == key(dressed, other / name / "deeper")


@settings(max_examples=100, deadline=None)
@given(CALLS, CALLS)
def test_every_content_moves_the_key(one: Call, other: Call) -> None:
    """Two calls have one key exactly if all their contents, values and flags are the same."""
    with scratch() as first, scratch() as second:
        assert (key(one, first / "a") == key(other, second / "a")) is (one == other)


# ---- the closure


@dataclass
class Tree:
    """Sources below a checkout, with the variables a compile read."""

    files: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def write(self, where: Path) -> Surroundings:
        """Put it somewhere."""
        for name, content in self.files.items():
            path = where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        argv = [b"rustc", b"--crate-name", b"x", b"src/lib.rs", b"--error-format=json", b"--json=artifacts"]
        argv += [b"--crate-type=lib", b"--emit=dep-info,link", b"--out-dir", bytes(where / "target/debug/deps")]
        environment = {name.encode(): value.encode() for name, value in self.env.items()}
        _, roots = understood(argv, where, environment)
        return Surroundings(roots, environment, ())


NAME = st.sampled_from(["src/lib.rs", "src/a.rs", "src/a/b.rs", "src/c.txt", "data/d.bin"])
TREES = st.builds(
    Tree,
    files=st.dictionaries(NAME, CONTENT, min_size=1),
    env=st.dictionaries(st.sampled_from(["ONE", "TWO"]), st.text("ab", max_size=2)),
)


@settings(max_examples=150, deadline=None)
@given(TREES, TREES, st.sets(st.sampled_from(["ONE", "TWO"])))
def test_a_closure_holds_exactly_where_what_was_read_is_the_same(one: Tree, other: Tree, read: set[str]) -> None:
    """A memo made in one checkout fits another if every file read has its content there, and every variable too."""
    with scratch() as first, scratch() as second:
        here, there = first / "a", second / "b/c"
        for where in (here, there):
            where.mkdir(parents=True)
        names = tuple(os.fsencode(name) for name in sorted(one.files))
        info = DepInfo(names, tuple((name.encode(), None) for name in sorted(read)))
        maker = ClosureMaker(one.write(here), FileDigests(), FOREVER_NS, list)
        maker.add_sources(info)
        memo = InputMemo(b"w", b"k", maker.finish(info, tied=(), has_diagnostics=False))
        same_files = all(other.files.get(name) == content for name, content in one.files.items())
        same_env = all(one.env.get(name) == other.env.get(name) for name in read)
        # `a.rs` that appeared beside `a/mod.rs`, or the other way round, is an error of rustc's; no name here is one.
        assert matches(memo, other.write(there), FileDigests(), {}) is (same_files and same_env)
        assert matches(memo, one.write(first / "again"), FileDigests(), {})
