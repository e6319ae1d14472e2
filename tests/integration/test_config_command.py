"""`kache config` as it is typed: values in force and their origin, files changed with their comments, editors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import CliBox
from tests.support.terminal import end_of, type_kache

COMMENTED = '# mine\n[cache]\n# enough for two projects\nmax_size = "9GiB" # for now\n\n# kept\nremap = true\n'


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


def user_file(box: CliBox) -> Path:
    return box.home / ".config" / "kache" / "config.toml"


def write(box: CliBox, text: str) -> Path:
    path = user_file(box)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_every_value_has_its_origin(box: CliBox) -> None:
    path = write(box, COMMENTED)
    (box.cwd / ".kache.toml").write_text('[cache]\nkey_salt = "team"\n')
    done = box.run("config", "list", "--json", env={"KACHE_LOG": "debug"})
    rows = {row["name"]: row for row in json.loads(done.stdout)["data"]["settings"]}
    assert rows["max_size"]["value"] == 9 * 1024**3 and rows["max_size"]["origin"] == f"{path}:4"
    assert rows["key_salt"]["origin"] == f"{box.cwd}/.kache.toml:2"
    assert rows["log"]["origin"] == "KACHE_LOG"
    assert rows["gc"] == {**rows["gc"], "value": True, "origin": "default", "env": "KACHE_AUTO_GC", "env_only": False}
    lines = [line.split() for line in box.run("config", "list").stdout.splitlines()]
    assert ["max_size", "9GiB", f"{path}:4"] in lines


def test_get_prints_what_set_takes(box: CliBox) -> None:
    for name, text in (("max_size", "20GiB"), ("idle_timeout", "90m"), ("remap", "false"), ("base_dir", "/src")):
        assert box.run("config", "set", name, text).returncode == 0
        assert box.run("config", "get", name).stdout == f"{text}\n"


def test_set_keeps_comments_and_unset_gives_the_default_back(box: CliBox) -> None:
    path = write(box, COMMENTED)
    box.run("config", "set", "max_size", "11GiB")
    assert path.read_text() == COMMENTED.replace("9GiB", "11GiB")
    box.run("config", "set", "gc", "off")
    assert path.read_text() == COMMENTED.replace("9GiB", "11GiB") + "gc = false\n"
    box.run("config", "unset", "gc")
    assert path.read_text() == COMMENTED.replace("9GiB", "11GiB")
    assert "is not set" in box.run("config", "unset", "gc").stdout


def test_the_project_and_a_named_file(box: CliBox) -> None:
    assert box.run("config", "path", "--project").stdout == f"{box.cwd}/.kache.toml\n"
    box.run("config", "set", "key_salt", "a", "--project")
    assert (box.cwd / ".kache.toml").read_text() == '[cache]\nkey_salt = "a"\n'
    box.run("config", "set", "key_salt", "b", "--file", "other.toml")
    assert (box.cwd / "other.toml").read_text() == '[cache]\nkey_salt = "b"\n'
    assert not user_file(box).exists()


def test_what_outranks_a_new_value_is_said(box: CliBox) -> None:
    done = box.run("config", "set", "max_size", "1GiB", env={"KACHE_MAX_SIZE": "2GiB"})
    assert done.returncode == 0 and "KACHE_MAX_SIZE outranks" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("set", "max_sise", "1"), 2, "did you mean max_size?"),
        (("get", "nothing-like-it"), 2, "kache config list names them all"),
        (("set", "max_size", "much"), 1, "a size such as 10GiB"),
        (("set", "remap", "maybe"), 1, "true or false"),
        (("set", "cache_dir", "/x"), 1, "KACHE_CACHE_DIR"),
        (("set", "remap", "on", "--project", "--file", "x"), 2, "not allowed with"),
        (("set", "remap"), 2, "VALUE"),
        ((), 2, "ACTION"),
    ],
)
def test_wrong_words_change_nothing(box: CliBox, words: tuple[str, ...], code: int, told: str) -> None:
    done = box.run("config", *words)
    assert done.returncode == code and told in done.stderr and done.stdout == ""
    assert not user_file(box).exists()


def test_files_that_cannot_be_changed_stay(box: CliBox) -> None:
    path = write(box, "[cache\n")
    done = box.run("config", "set", "gc", "off")
    assert done.returncode == 1 and f"{path}:1 is not TOML" in done.stderr
    assert path.read_text() == "[cache\n"
    path.write_text(COMMENTED)
    path.chmod(0o444)
    done = box.run("config", "set", "gc", "off")
    assert done.returncode == 1 and "why: it is read-only" in done.stderr
    assert path.read_text() == COMMENTED


def test_an_edit_is_saved_only_when_it_is_right(box: CliBox) -> None:
    path = write(box, COMMENTED)
    editor = box.root / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/9GiB/$(cat "$0.size")/" "$1"\n')
    editor.chmod(0o755)
    size = box.root / "editor.size"
    env = box.env({"EDITOR": str(editor)})
    size.write_text("much")
    child = type_kache("config", "edit", env=env, cwd=box.cwd)
    child.expect("config.toml:4: 'much' is not a value for max_size")
    child.expect("edit again")
    child.sendline("n")
    assert "nothing saved" in end_of(child)[1] and path.read_text() == COMMENTED
    size.write_text("7GiB")
    child = type_kache("config", "edit", env=env, cwd=box.cwd)
    assert "saved" in end_of(child)[1] and path.read_text() == COMMENTED.replace("9GiB", "7GiB")
    child = type_kache("config", "edit", env=box.env({"EDITOR": "false"}), cwd=box.cwd)
    status, said = end_of(child)
    assert status == 1 and "'false' failed" in said
    assert box.run("config", "edit").returncode == 2


def test_a_new_file_starts_with_every_setting_as_a_comment(box: CliBox) -> None:
    child = type_kache("config", "edit", env=box.env({"VISUAL": "sed -i s/#.gc/gc/"}), cwd=box.cwd)
    assert end_of(child)[0] == 0
    assert "\ngc = true\n" in user_file(box).read_text() and "# max_size" in user_file(box).read_text()
