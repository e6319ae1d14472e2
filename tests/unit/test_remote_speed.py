"""What a remote has shown decides a race; what it showed long ago does not."""

from __future__ import annotations

import pytest

from kache.engine.transfer.speed import Speed


def test_nothing_is_expected_of_a_stranger() -> None:
    assert Speed().expected_s(1 << 30) == 0.0


def test_size_and_answer_count() -> None:
    found = Speed()
    found.answered(0.05)
    found.sent(1_000_000, 1.05)
    assert found.expected_s(0) == pytest.approx(0.05)
    assert found.expected_s(2_000_000) == pytest.approx(2.05)


def test_a_small_object_says_nothing_of_the_line() -> None:
    found = Speed()
    found.answered(0.05)
    found.sent(1000, 0.5)
    assert found.expected_s(1 << 30) == pytest.approx(0.05)


def test_what_was_slow_once_is_asked_again() -> None:
    now = [100.0]
    found = Speed(lambda: now[0])
    found.answered(5.0)
    assert found.expected_s(0) == 5.0
    now[0] += 60
    assert found.expected_s(0) == 0.0
