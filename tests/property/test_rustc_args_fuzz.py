"""Whatever the arguments are: an invocation or a reason, never an exception, and the key follows what was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kache.compilers.rustc import flags
from kache.compilers.rustc.args import Invocation, Refusal, parse

BASE = [
    *(b"rustc", b"--crate-name", b"foo", b"src/lib.rs", b"--error-format=json", b"--json=artifacts"),
    *(b"--crate-type=lib", b"--emit=dep-info,link", b"--out-dir", b"/t/deps"),
]

WORDS = st.sampled_from(
    [f"--{name}".encode() for name in sorted(flags.LONG)]
    + [f"-{name}".encode() for name in sorted(flags.SHORT)]
    + [f"-C{name}".encode() for name in sorted(flags.CODEGEN)]
    + [f"-Z{name}=x".encode() for name in sorted(flags.UNSTABLE)]
    + [b"-", b"--", b"", b"=", b"a=b", b"lib,bin", b"native=/x", b"-gO", b"-vV", b"@none", b"\xff", b"x.rs", b"help"]
)
ARGUMENT = st.one_of(WORDS, st.binary(max_size=12), st.builds(lambda a, b: a + b"=" + b, WORDS, st.binary(max_size=6)))

HARMLESS = st.lists(
    st.sampled_from(
        [b"--cfg=a", b"--cfg=b", b"-Copt-level=1", b"-Copt-level=2", b"-Aunused", b"-Dunused", b"-g", b"-O", b"-lz"]
    ),
    max_size=6,
)
LOOKS = st.lists(st.sampled_from([b"-v", b"--json=future-incompat", b"-Zteach", b"-Cincremental=/i"]), max_size=4)


@given(st.lists(ARGUMENT, max_size=12), st.binary(max_size=4))
def test_any_arguments_give_an_answer(argv: list[bytes], cwd: bytes) -> None:
    assert isinstance(parse(argv, b"/" + cwd.replace(b"\0", b"")), Invocation | Refusal)


@given(st.lists(ARGUMENT, max_size=8))
def test_any_addition_to_a_good_call_gives_an_answer(more: list[bytes]) -> None:
    parsed = parse([*BASE, *more], b"/ws")
    assert isinstance(parsed, Invocation | Refusal)
    if isinstance(parsed, Invocation) and parsed.incremental is None:
        assert list(parsed.run_args) == [*BASE[1:], *more]


@given(HARMLESS, LOOKS, HARMLESS)
def test_looks_never_move_the_key(before: list[bytes], looks: list[bytes], after: list[bytes]) -> None:
    plain = parse([*BASE, *before, *after], b"/ws")
    dressed = parse([*BASE, *before, *looks, *after], b"/ws")
    assert isinstance(plain, Invocation)
    assert isinstance(dressed, Invocation)
    assert plain.key_args == dressed.key_args


@given(HARMLESS, HARMLESS)
def test_different_options_have_different_keys(one: list[bytes], other: list[bytes]) -> None:
    first, second = parse([*BASE, *one], b"/ws"), parse([*BASE, *other], b"/ws")
    assert isinstance(first, Invocation)
    assert isinstance(second, Invocation)
    assert (first.key_args == second.key_args) is (one == other)
