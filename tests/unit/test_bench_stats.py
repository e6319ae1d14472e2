"""The benchmark decides by these few functions: a mistake in them is a wrong claim about speed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from bench.phases.warm import HIT_ALLOWANCE_S
from bench.picture import draw, groups_of
from bench.stats import median, pair_order, paired_ratios, summary


def test_the_ratio_is_of_pairs_and_not_of_medians() -> None:
    """A machine that slowed down half-way changes both halves of a pair, so it does not change the ratio."""
    pairs = [(10.0, 11.0), (10.0, 11.0), (30.0, 33.0), (30.0, 33.0)]
    assert paired_ratios(pairs) == pytest.approx([1.1] * 4)
    assert median(paired_ratios(pairs)) == pytest.approx(1.1)


def test_a_median_of_nothing_is_an_error_and_not_zero() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_two_arms_alternate() -> None:
    assert [pair_order(index, ["plain", "kache"])[0] for index in range(4)] == ["plain", "kache", "plain", "kache"]


def test_every_one_of_many_arms_runs_first_and_after_each_other() -> None:
    names = ["plain", "kache", "sccache"]
    orders = [pair_order(index, names) for index in range(6)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert {order[0] for order in orders} == set(names)
    assert {pair for order in orders for pair in pairwise(order)} == {
        (before, after) for before in names for after in names if before != after
    }


def test_a_summary_keeps_every_value() -> None:
    assert summary([3.0, 1.0, 2.0]) == {"count": 3, "median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}


def test_the_allowance_of_a_hit_is_what_the_issue_asks_for() -> None:
    assert HIT_ALLOWANCE_S == 0.003


def test_the_picture_shows_every_tool_and_escapes_its_name() -> None:
    figures: dict[str, dict[str, dict[str, Any]]] = {
        "cold": {
            "p": {
                "plain_wall_s": {"median": 2.0},
                "kache_wall_s": {"median": 2.1},
                "peers": {"a<b": {"wall_s": {"median": 4.0}}},
            }
        },
        "warm": {"p": {"wall_s": {"nothing": {"median": 0.2}, "kache": {"median": 0.3}}}},
    }
    svg = draw("title", groups_of(figures))
    for text in ("plain cargo", "kache", "a&lt;b", "4.00 s", "replay only (floor)", "0.30 s"):
        assert text in svg
