"""What a reason means, in a sentence: the text under its member in core/outcome.py."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools

from kache.core import outcome
from kache.core.outcome import Reason


def meaning_of(reason: str) -> str:
    """The sentence; empty for what is no reason of this version's."""
    return meanings().get(reason, "")


@functools.cache
def meanings() -> dict[str, str]:
    """All of them, by the word people see, in the order of the source; none where the source is not installed."""
    try:
        tree = ast.parse(inspect.getsource(outcome))
    except OSError:
        return {}
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == Reason.__name__)
    found = {}
    for member, text in itertools.pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(member.targets[0], ast.Name)
            found[Reason[member.targets[0].id].value] = " ".join(str(text.value.value).split())
    return found
