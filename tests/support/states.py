"""Two states of a project, and the three questions every scenario asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.checkout import Checkout
from tests.support.projects import Files
from tests.support.sandbox import Sandbox

Env = Mapping[str, str]
BUILD = ("build",)


@dataclass(frozen=True)
class State:
    """What is built.

    Attributes:
        files: of the checkout.
        env: variables of the build.
        words: cargo's arguments.
    """

    files: Files
    env: Env = field(default_factory=dict)
    words: tuple[str, ...] = BUILD

    def build(self, checkout: Checkout) -> None:
        """Build in a checkout that has these files."""
        checkout.cargo(*self.words, env=self.env)


def told_apart(
    box: Sandbox, one: State, other: State, *, misses: str | int | None, bytes_too: bool = True
) -> tuple[Checkout, Checkout]:
    """Build one state, then the other in a second checkout, then both again.

    The three oracles: outputs are a plain build's, byte for byte; the unchanged repeat hits; what changed compiles.

    Args:
        box: where.
        one: built first.
        other: built when the first is known.
        misses: what must be compiled of the other: a number, or names of crates.
        bytes_too: whether rustc gives the same bytes each time.
    """
    first, second = box.checkout("a", one.files), box.checkout("the/second/one", other.files)
    first.cargo(*one.words, env=one.env).expect(hits=0, misses=None)
    second.cargo(*other.words, env=other.env).expect(hits=None, misses=misses)
    for checkout, state in ((second, other), (first, one)):
        if bytes_too:
            checkout.same_bytes_as_plain(*state.words, env=state.env)
        checkout.clean().cargo(*state.words, env=state.env).expect(hits=None, misses=0)
        if bytes_too:
            checkout.same_bytes_as_plain(*state.words, env=state.env)
    return first, second


def prints(checkout: Checkout, name: str, env: Env | None = None) -> str:
    """What a program of the target dir prints, which must be what one of a build without any flags prints here."""
    ours = checkout.program(name)
    plain = checkout.plain("run", "--quiet", "--bin", name, env=env).stdout
    assert ours == plain, f"{ours!r} instead of {plain!r}"
    return ours
