"""`kache init` on scratch homes: what it changes, that a second run changes nothing, that undo gives all back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.init_box import WRAPPER, InitBox
from tests.support.terminal import end_of, type_kache

COMMENTED = """\
# my cargo
[build]
jobs = 4          # not more

# the proxy
[net]
git-fetch-with-cli = true
"""
Prepare = Callable[[InitBox], object]


def nothing(box: InitBox) -> None:
    """A home without cargo's directory."""


def link(box: InitBox) -> None:
    box.write("dotfiles/cargo.toml", COMMENTED).chmod(0o640)
    box.cargo_home.mkdir()
    box.config.symlink_to("../dotfiles/cargo.toml")


def project(box: InitBox) -> None:
    (box.cwd / ".cargo").mkdir()
    (box.cwd / ".cargo" / "config.toml").write_text('[build]\nrustc-wrapper = "sccache"\n')


STARTS: dict[str, Prepare] = {
    "nothing": nothing,
    "a directory": lambda box: box.cargo_home.mkdir(),
    "an empty file": lambda box: box.write(".cargo/config.toml", ""),
    "a comment": lambda box: box.write(".cargo/config.toml", "# mine\n"),
    "comments and tables": lambda box: box.write(".cargo/config.toml", COMMENTED),
    "no newline at the end": lambda box: box.write(".cargo/config.toml", "[net]\noffline = true"),
    "DOS lines": lambda box: box.write(".cargo/config.toml", COMMENTED.replace("\n", "\r\n")),
    "another wrapper": lambda box: box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "sccache" # old\n'),
    "kache that went": lambda box: box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "/gone/bin/kache"\n'),
    "kache already": lambda box: box.write(".cargo/config.toml", f'[build]\nrustc-wrapper = "{WRAPPER}"\n'),
    "the old name": lambda box: box.write(".cargo/config", "[net]\noffline = true\n"),
    "dotted keys": lambda box: box.write(".cargo/config.toml", "build.jobs = 4\n\n[net]\noffline = true\n"),
    "an inline table": lambda box: box.write(".cargo/config.toml", "build = { jobs = 4 }\n"),
    "a table below": lambda box: box.write(".cargo/config.toml", '[build.env]\nX = "1"\n'),
    "a symbolic link": link,
    "a project's own": project,
    "not for others": lambda box: box.write(".cargo/config.toml", COMMENTED).chmod(0o600),
}


@pytest.fixture
def box(tmp_path: Path) -> InitBox:
    return InitBox(tmp_path)


@pytest.mark.parametrize("start", STARTS)
def test_init_twice_and_undo_leave_what_was(box: InitBox, start: str) -> None:
    STARTS[start](box)
    before = box.tree()
    first = box.init("--yes", "--replace-wrapper")
    assert first.returncode == 0, first.stderr
    config = box.cargo_home / "config" if start == "the old name" else box.config
    assert tomllib.loads(config.read_text())["build"]["rustc-wrapper"] == WRAPPER
    between = box.tree()
    second = box.init("--yes")
    assert second.returncode == 0, second.stderr
    assert "nothing to change" in second.stdout
    assert box.tree() == between
    assert box.init("--check").returncode == 0
    undone = box.init("--undo", "--yes")
    assert undone.returncode == 0, undone.stderr + undone.stdout
    assert box.tree() == before
    assert "nothing to undo" in box.init("--undo").stdout


def test_comments_and_order_stay(box: InitBox) -> None:
    STARTS["comments and tables"](box)
    box.init("--yes")
    wanted = COMMENTED.replace("not more\n", f'not more\nrustc-wrapper = "{WRAPPER}"\n')
    assert box.config.read_text() == wanted


def broken_link(box: InitBox) -> None:
    box.cargo_home.mkdir()
    box.config.symlink_to("nowhere.toml")


def read_only(box: InitBox) -> None:
    box.write(".cargo/config.toml", COMMENTED).chmod(0o444)


def read_only_directory(box: InitBox) -> None:
    box.cargo_home.mkdir(mode=0o555)


OBSTACLES: dict[str, tuple[Prepare, str]] = {
    "invalid TOML": (lambda box: box.write(".cargo/config.toml", "[build\njobs = 1\n"), "config.toml:1 is not TOML"),
    "not UTF-8": (lambda box: box.write(".cargo/config.toml", b"# \xff\n"), "not UTF-8"),
    "a dangling link": (broken_link, "nowhere.toml, which is not there"),
    "a read-only file": (read_only, "it is read-only"),
    "a read-only directory": (read_only_directory, "is read-only"),
    "a directory in its place": (lambda box: (box.cargo_home / "config.toml").mkdir(parents=True), "directory"),
    "a build that is no table": (lambda box: box.write(".cargo/config.toml", "build = 3\n"), "not a table"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_obstacle_is_one_clear_error_and_changes_nothing(box: InitBox, obstacle: str) -> None:
    prepare, words = OBSTACLES[obstacle]
    prepare(box)
    before = box.tree()
    done = box.init("--yes")
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("error[setup-blocked]") :]
    assert words in told and "fix: " in told and "Traceback" not in told
    assert done.stdout == ""
    assert box.init("--check").returncode == 1
    assert box.tree() == before


def test_a_read_only_home_is_said_before_anything_is_done(box: InitBox) -> None:
    box.home.chmod(0o555)
    try:
        done = box.init("--yes")
        assert done.returncode == 1 and f"{box.home} is read-only" in done.stderr
        assert box.tree() == {}
    finally:
        box.home.chmod(0o755)


def test_without_a_terminal_it_wants_yes(box: InitBox) -> None:
    done = box.init()
    assert done.returncode == 2
    assert "change   cargo-config" in done.stderr and "fix: add --yes" in done.stderr
    assert box.tree() == {}


def test_check_says_what_would_change_and_changes_nothing(box: InitBox) -> None:
    done = box.init("--check", "--json")
    assert done.returncode == 1
    data = json.loads(done.stdout)["data"]
    assert data["applied"] is False and data["changes"] == 2
    assert [(step["name"], step["state"]) for step in data["steps"]] == [
        ("cargo-config", "change"),
        ("login-service", "skip"),
        ("completions", "change"),
    ]
    assert box.tree() == {}


@pytest.mark.parametrize("words", [("--undo", "--check"), ("--undo", "--no-service"), ("--undo", "--replace-wrapper")])
def test_contradictions_are_wrong_usage(box: InitBox, words: tuple[str, ...]) -> None:
    assert box.run("init", *words).returncode == 2


def test_another_wrapper_is_replaced_only_when_asked_for(box: InitBox) -> None:
    STARTS["another wrapper"](box)
    before = box.tree()
    done = box.init("--yes")
    assert done.returncode == 2 and "--replace-wrapper" in done.stderr and "sccache" in done.stderr
    assert box.tree() == before


def test_typed_questions(box: InitBox) -> None:
    STARTS["another wrapper"](box)
    before = box.tree()
    child = type_kache("init", "--no-probe", env=box.env(), cwd=box.cwd)
    child.expect("replace sccache .*by kache.*N\\]")
    child.sendline("n")
    assert end_of(child)[0] == 1
    assert box.tree() == before
    child = type_kache("init", "--no-probe", env=box.env(), cwd=box.cwd)
    child.expect("replace sccache")
    child.sendline("y")
    child.expect("apply this.*Y/n\\]")
    child.sendline("")
    status, said = end_of(child)
    assert status == 0 and "kache is set up" in said
    child = type_kache("init", "--undo", env=box.env(), cwd=box.cwd)
    child.expect("put it back")
    child.sendline("")
    assert end_of(child)[0] == 0
    assert box.tree() == before


def test_ctrl_c_at_the_question_changes_nothing(box: InitBox) -> None:
    child = type_kache("init", "--no-probe", env=box.env(), cwd=box.cwd)
    child.expect("apply this")
    child.sendintr()
    assert end_of(child)[0] == 130
    assert box.tree() == {}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"RUSTC_WRAPPER": "sccache"}, "RUSTC_WRAPPER=sccache outranks every file"),
        ({"RUSTC_WRAPPER": ""}, "RUSTC_WRAPPER is set and empty"),
        ({"CARGO_BUILD_RUSTC_WRAPPER": "mbx"}, "CARGO_BUILD_RUSTC_WRAPPER=mbx outranks"),
    ],
)
def test_what_outranks_the_file_is_said(box: InitBox, env: dict[str, str], words: str) -> None:
    assert words in box.init("--check", env=env).stdout


def test_a_project_that_outranks_the_file_is_said_and_left_alone(box: InitBox) -> None:
    project(box)
    done = box.init("--yes")
    assert "config.toml:2 names sccache and outranks this" in done.stderr
    assert "sccache" in (box.cwd / ".cargo" / "config.toml").read_text()


def test_undo_keeps_what_was_changed_since(box: InitBox) -> None:
    box.write(".cargo/config.toml", '[build]\nrustc-wrapper = "sccache"\n')
    box.init("--yes", "--replace-wrapper")
    box.config.write_text("# added later\n" + box.config.read_text() + "jobs = 2\n")
    completions = box.home / ".local/share/bash-completion/completions/kache"
    completions.write_text("# my own\n")
    done = box.init("--undo", "--yes")
    assert done.returncode == 1 and "completions/kache was changed since" in done.stdout
    assert box.config.read_text() == '# added later\n[build]\nrustc-wrapper = "sccache"\njobs = 2\n'
    assert completions.read_text() == "# my own\n"


def test_undo_says_where_a_line_added_since_was_kept(box: InitBox) -> None:
    STARTS["comments and tables"](box)
    box.init("--yes")
    box.config.write_text(box.config.read_text() + "offline = true\n")
    done = box.init("--undo", "--yes")
    assert done.returncode == 0
    assert f"{box.config} was changed since: kache's line is out of it, the rest is left as it is" in done.stdout
    assert "everything else that kache init changed is as it was before" in done.stdout
    assert box.config.read_text() == COMMENTED + "offline = true\n"


def test_a_wrapper_that_moved_is_repaired_and_undo_still_knows_the_first_state(box: InitBox) -> None:
    STARTS["comments and tables"](box)
    before = box.tree()
    box.init("--yes")
    box.config.write_text("# later\n" + box.config.read_text().replace(WRAPPER, "/gone/kache"))
    assert "/gone/kache" in box.init("--check").stdout
    box.init("--yes")
    assert WRAPPER in box.config.read_text()
    box.init("--undo", "--yes")
    assert "# later" in box.config.read_text() and "/gone/kache" in box.config.read_text()
    box.config.write_text(COMMENTED)
    assert box.tree() == before


def test_a_service_is_installed_started_and_taken_back(box: InitBox) -> None:
    log = box.fake_systemd()
    box.write(".config/other", "")
    before = box.tree()
    try:
        done = box.init("--yes")
        assert done.returncode == 0, done.stderr
        unit = box.home / ".config/systemd/user/kache.service"
        assert f'ExecStart="{WRAPPER}" daemon run --service' in unit.read_text()
        assert f'Environment="KACHE_CACHE_DIR={box.cache_dir}"' in unit.read_text()
        words = log.read_text().splitlines()
        assert words[:3] == ["--user daemon-reload", "--user enable kache.service", "--user restart kache.service"]
        assert set(words[3:]) <= {"--user start kache.service"}  # it is slow to answer, and this one never does
        assert "nothing to change" in box.init("--yes").stdout
        assert box.data("daemon", "status")["running"]
    finally:
        undone = box.init("--undo", "--yes")
    assert undone.returncode == 0, undone.stdout
    assert log.read_text().splitlines()[-2:] == ["--user disable --now kache.service", "--user daemon-reload"]
    assert box.tree() == before
    assert box.run("daemon", "status").returncode == 1


def test_the_service_alone(box: InitBox) -> None:
    log = box.fake_systemd()
    box.init("--yes", "--no-service")
    before = box.tree()
    assert box.data("daemon", "install") == {"installed": True, "changed": True}
    assert box.data("daemon", "install") == {"installed": True, "changed": False}
    assert box.data("daemon", "uninstall") == {"installed": False, "changed": True}
    assert "--user disable --now kache.service" in log.read_text()
    after = box.tree()
    assert {name for name in after if not name.endswith("init.json")} == {
        name for name in before if not name.endswith("init.json")
    }
    assert box.data("daemon", "uninstall") == {"installed": False, "changed": False}
    box.init("--undo", "--yes")
    assert box.tree() == {}


def test_no_service_without_a_manager_is_said(box: InitBox) -> None:
    done = box.run("daemon", "install")
    assert done.returncode == 1 and "user manager does not run" in done.stderr


def test_a_service_that_fails_leaves_nothing_half_done(box: InitBox) -> None:
    box.fake_systemd()
    (box.root / "fail").touch()
    done = box.init("--yes")
    assert done.returncode == 1
    assert (
        "error[setup-failed]: systemctl --user enable kache.service failed" in done.stderr and "no bus" in done.stderr
    )
    assert box.tree() == {}


@pytest.mark.parametrize(
    ("env", "words", "why"),
    [
        ({"CI": "true"}, (), "this is a CI machine"),
        ({}, ("--no-service",), "not wanted"),
        ({"KACHE_DAEMON": "0"}, (), "KACHE_DAEMON is off"),
        ({"XDG_RUNTIME_DIR": "/nonexistent"}, (), "user manager does not run"),
    ],
)
def test_no_service_has_its_reason(box: InitBox, env: dict[str, str], words: tuple[str, ...], why: str) -> None:
    box.fake_systemd()
    done = box.init("--check", "--json", *words, env=env)
    service = json.loads(done.stdout)["data"]["steps"][1]
    assert service["state"] == "skip" and why in service["why"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(box: InitBox) -> None:
    box.fake_systemd()
    odd = box.root / 'a "b" %c $d'
    try:
        assert box.init("--yes", env={"KACHE_CONFIG": str(odd)}).returncode == 0
        unit = box.home / ".config/systemd/user/kache.service"
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(unit)],
            capture_output=True,
            text=True,
            env=box.env({"XDG_RUNTIME_DIR": str(box.root / "run")}),
            check=False,
        )
        assert done.returncode == 0 and "kache.service" not in done.stderr, done.stderr
    finally:
        box.init("--undo", "--yes")


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("/bin/bash", ".local/share/bash-completion/completions/kache"),
        ("/usr/bin/fish", ".config/fish/completions/kache.fish"),
        ("/bin/zsh", ".local/share/zsh/site-functions/_kache"),
    ],
)
def test_completions_for_the_login_shell(box: InitBox, shell: str, place: str) -> None:
    done = box.init("--yes", env={"SHELL": shell})
    assert (box.home / place).read_text() == box.run("completions", Path(shell).name).stdout
    assert ("fpath=(" in done.stderr) is (shell == "/bin/zsh")


def test_root_through_sudo_in_somebodys_home_is_refused(box: InitBox) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be root through sudo")
    os.chown(box.home, 12345, 12345)
    done = box.init("--yes", env={"SUDO_UID": "12345"})
    assert done.returncode == 1 and "run kache init without sudo" in done.stderr
    assert box.tree() == {}
