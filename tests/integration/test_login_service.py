"""The login service under a real user manager: started, started again when it dies, and gone after the undo."""

from __future__ import annotations

import os
import plistlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.setup.login_service.launchd import Launchd
from tests.support import processes
from tests.support.init_box import WRAPPER, InitBox
from tests.support.systemd import UserManager

UNIT = "kache.service"


@pytest.fixture
def box(tmp_path: Path) -> InitBox:
    made = InitBox(tmp_path)
    made.settings = {}
    return made


@pytest.fixture
def manager(box: InitBox) -> Iterator[UserManager]:
    made = UserManager(box.env({"TMPDIR": "/tmp"}), box.root / "systemd.log")
    yield made
    made.end()


def test_init_has_systemd_keep_the_daemon_and_undo_takes_it_back(box: InitBox, manager: UserManager) -> None:
    before = box.tree()

    def kache(*words: str) -> str:
        done = manager.run(WRAPPER, *words, cwd=box.cwd)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert "the daemon runs" in kache("init", "--yes")
    facts = manager.facts(UNIT)
    assert (facts["ActiveState"], facts["UnitFileState"]) == ("active", "enabled")
    assert f"pid {facts['MainPID']}," in kache("daemon", "status")
    assert "nothing to change" in kache("init")

    os.kill(int(facts["MainPID"]), signal.SIGKILL)
    processes.until(lambda: manager.facts(UNIT)["NRestarts"] == "1", limit_s=30, what="it is started again")

    for words in (("daemon", "restart"), ("daemon", "start")):
        said = kache(*words)
        assert f"pid {manager.facts(UNIT)['MainPID']}," in said  # systemd's own, not one beside it

    kache("init", "--undo", "--yes")
    assert manager.facts(UNIT)["ActiveState"] == "inactive"
    assert manager.run(WRAPPER, "daemon", "status", cwd=box.cwd).returncode == 1
    assert box.tree() == before  # what the probe's cargo leaves behind included


def test_the_agent_for_launchd_says_what_systemds_unit_says(box: InitBox) -> None:
    """No launchd here: its description alone can be looked at."""
    odd = box.root / 'a "b" & <c>'
    agent = plistlib.loads(Launchd().content(Path(WRAPPER), box.env({"KACHE_CONFIG": str(odd)})))
    assert agent["ProgramArguments"] == [WRAPPER, "daemon", "run", "--service"]
    assert agent["EnvironmentVariables"]["KACHE_CACHE_DIR"] == str(box.cache_dir)
    assert agent["EnvironmentVariables"]["KACHE_CONFIG"] == str(odd)
    assert agent["EnvironmentVariables"]["KACHE_DAEMON_IDLE_TIMEOUT"] == "0"
    assert agent["RunAtLoad"] is True and agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["Umask"] == 0o077 and Path(agent["ProgramArguments"][0]).is_absolute()
    assert Launchd().path({"HOME": "/Users/me"}) == Path("/Users/me/Library/LaunchAgents/dev.kache.daemon.plist")
