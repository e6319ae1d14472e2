"""Boxes for the scenarios: one engine each, ended with the test, kept when it failed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import DAEMON, INSIDE, WARM, Sandbox

_FAILED = pytest.StashKey[bool]()
SLOW = "SLOW_TESTS"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", f"slow: one more row of a long matrix, skipped unless {SLOW}=1")
    config.addinivalue_line("markers", "mostly_daemon: the engine inside each call is a row of a long matrix here")
    config.addinivalue_line("markers", "warm_too: a third box has warm start on")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every scenario with each engine its marks ask for."""
    if "box" not in metafunc.fixturenames:
        return
    has = metafunc.definition.get_closest_marker
    inside = pytest.param(INSIDE, marks=pytest.mark.slow) if has("mostly_daemon") else INSIDE
    metafunc.parametrize("box", [DAEMON, inside, *([WARM] if has("warm_too") else [])], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the rows that say little more than their neighbours."""
    if os.environ.get(SLOW) == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=f"a long matrix; {SLOW}=1 runs all of it"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test failed: then its box is worth a look."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def make_box(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Sandbox]]:
    """Makes boxes; each ends with the test."""
    made: list[Sandbox] = []

    def make(engine: str) -> Sandbox:
        # Short, because sockets are put below it.
        made.append(Sandbox(Path(tempfile.mkdtemp(prefix="kache-box-")), engine))
        return made[-1]

    yield make
    unserved = [box for box in made if box.failed_start.exists() and not box.daemon_may_fail]
    for box in made:
        box.close()
        if box in unserved or request.node.stash.get(_FAILED, False):
            text = f"{box.root} ({box.engine}); the end of its log:\n{box.log()[-2000:]}"
            request.node.add_report_section("teardown", "box that was kept", text)
        else:
            box.remove()
    assert not unserved, f"a daemon could not start: {unserved[0].root}"


@pytest.fixture
def box(request: pytest.FixtureRequest, make_box: Callable[[str], Sandbox]) -> Sandbox:
    """A box, once with the daemon and once without; where it is asked for, once with warm start."""
    return make_box(request.param)


@pytest.fixture
def daemon_box(make_box: Callable[[str], Sandbox]) -> Sandbox:
    """A box with the daemon."""
    return make_box(DAEMON)


@pytest.fixture
def warm_box(make_box: Callable[[str], Sandbox]) -> Sandbox:
    """A box with the daemon and warm start."""
    return make_box(WARM)


@pytest.fixture
def plain_box(make_box: Callable[[str], Sandbox]) -> Sandbox:
    """A box without the daemon."""
    return make_box(INSIDE)
