"""Configuration: ranks, origins, problems with their lines, and the paths both sides must agree on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kache.config import paths
from kache.config.load import Config, load
from kache.config.settings import GIB, SETTINGS
from kache.config.values import parse_duration, parse_size, parse_switch


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home)}


def project(tmp_path: Path, text: str) -> Path:
    root = tmp_path / "ws"
    (root / "member" / "src").mkdir(parents=True)
    (root / ".kache.toml").write_text(text)
    return root


def test_defaults_need_no_file(env: dict[str, str], tmp_path: Path) -> None:
    config = load(env, tmp_path)
    assert config.cache_dir == Path(env["HOME"], ".cache/kache")
    assert config.socket_path == config.cache_dir / "daemon.sock" or config.socket_path.parent.parent == Path("/tmp")
    assert 5 * GIB <= config.max_size_bytes <= 100 * GIB
    assert (config.daemon, config.disabled, config.remap, config.gc) == (True, False, True, True)
    assert config.idle_timeout_s == 3 * 3600
    assert config.problems == () and config.files == ()
    assert set(config.origins.values()) == {"default"}


def test_environment_beats_project_file_beats_user_file(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, '[cache]\nmax_size = "2GiB"\nkey_salt = "project"\n')
    user = Path(env["HOME"], ".config/kache/config.toml")
    user.parent.mkdir(parents=True)
    user.write_text('[cache]\nmax_size = "3GiB"\nkey_salt = "user"\nlocal_only = true\n')
    config = load({**env, "KACHE_KEY_SALT": "env"}, root / "member" / "src")
    assert (config.key_salt, config.max_size_bytes, config.local_only) == ("env", 2 * GIB, True)
    assert config.origins["key_salt"] == "KACHE_KEY_SALT"
    assert config.origins["max_size_bytes"] == f"{root}/.kache.toml:2"
    assert config.origins["local_only"] == f"{user}:4"
    assert config.files == (root / ".kache.toml", user)


def test_named_file_takes_the_place_of_the_users_alone(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, '[cache]\nkey_salt = "project"\n')
    user = Path(env["HOME"], ".config/kache/config.toml")
    user.parent.mkdir(parents=True)
    user.write_text("[cache]\nlocal_only = true\n")
    named = tmp_path / "ci.toml"
    named.write_text('[cache]\nkey_salt = "named"\nremap = false\n')
    config = load({**env, "KACHE_CONFIG": str(named)}, root)
    assert (config.key_salt, config.remap, config.local_only) == ("project", False, False)
    assert config.files == (root / ".kache.toml", named)
    missing = load({**env, "KACHE_CONFIG": str(tmp_path / "none.toml")}, root)
    assert [p.origin for p in missing.problems] == ["KACHE_CONFIG"]
    assert missing.key_salt == "project"


def test_the_machines_file_counts_where_nobody_else_says(env: dict[str, str], tmp_path: Path) -> None:
    machine = tmp_path / "etc" / "kache" / "config.toml"
    machine.parent.mkdir(parents=True)
    machine.write_text('[cache]\nkey_salt = "machine"\nlocal_only = true\n')
    user = Path(env["HOME"], ".config/kache/config.toml")
    user.parent.mkdir(parents=True)
    user.write_text('[cache]\nkey_salt = "user"\n')
    config = load({**env, "XDG_CONFIG_DIRS": f"{tmp_path}/etc:/elsewhere"}, None)
    assert (config.key_salt, config.local_only) == ("user", True)
    assert config.origins["local_only"] == f"{machine}:3"
    assert config.files == (user, machine)


def only_problem(config: Config) -> tuple[str, str, str]:
    assert len(config.problems) == 1, config.problems
    problem = config.problems[0]
    return problem.origin, problem.what, problem.expected


def test_bad_values_name_their_line_and_the_default_stays(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, '# mine\n[cache]\nmax_size = "lots"\n')
    config = load(env, root)
    origin, what, expected = only_problem(config)
    assert origin == f"{root}/.kache.toml:3"
    assert "lots" in what and "10GiB" in expected
    assert config.max_size_bytes >= 5 * GIB
    origin, _, expected = only_problem(load({**env, "KACHE_DAEMON": "perhaps"}, None))
    assert (origin, expected) == ("KACHE_DAEMON", "1 or 0, true or false")


def test_bad_value_falls_to_the_next_rank(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, '[cache]\nmax_size = "2GiB"\n')
    config = load({**env, "KACHE_MAX_SIZE": "-1"}, root)
    assert config.max_size_bytes == 2 * GIB
    assert config.problems[0].origin == "KACHE_MAX_SIZE"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ('[cache]\nmaxsize = "1G"\n', 2, "max_size"),
        ("[cache]\n\nzzz = 1\n", 3, "one of cache_dir"),
        ("cache.remapp = false\n", 1, "remap"),
        ('max_size = "1G"\n', 1, "max_size below a [cache] line"),
        ("[cache]\nremap = true\n[remotes]\nurl = 1\n", 3, "only a [cache] table"),
        ('[cache]\ncache_dir = "/x"\n', 2, "the environment variable KACHE_CACHE_DIR"),
        ('[cache]\nkey_salt = "a\n', 2, "a [cache] table"),
    ],
)
def test_what_kache_does_not_know_is_said(
    env: dict[str, str], tmp_path: Path, text: str, line: int, expected: str
) -> None:
    root = project(tmp_path, text)
    origin, _, told = only_problem(load(env, root))
    assert origin == f"{root}/.kache.toml:{line}"
    assert told.startswith(expected)


def test_mistyped_variable_is_said_and_foreign_ones_are_not(env: dict[str, str]) -> None:
    config = load({**env, "KACHE_MAXSIZE": "1G", "KACHE_TEST_FAULT": "1", "KACHE_PYTHON": "/p"}, None)
    assert only_problem(config)[::2] == ("KACHE_MAXSIZE", "KACHE_MAX_SIZE")


def test_unreadable_files_are_problems(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, "")
    (root / ".kache.toml").write_bytes(b"[cache]\nkey_salt = '\xff'\n")
    assert "UTF-8" in only_problem(load(env, root))[1]


def test_relative_base_dir_counts_from_its_file(env: dict[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, '[cache]\nbase_dir = "member"\n')
    assert load(env, root / "member").base_dir == root / "member"
    assert only_problem(load({**env, "KACHE_BASE_DIR": "member"}, None))[2] == "an absolute path"


def test_every_setting_has_its_attribute_and_variable() -> None:
    assert len({s.env for s in SETTINGS}) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.attribute in Config.__dataclass_fields__
        assert setting.env.startswith("KACHE_") and setting.doc.endswith(".")


@pytest.mark.parametrize(
    ("text", "size"),
    [("10GiB", 10 * GIB), ("500 MB", 500_000_000), ("1.5G", 3 * GIB // 2), (4096, 4096), ("7", 7), ("2k", 2048)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1 GiBs", "-1", "1_0", "inf", "1.2.3", True, None, [], "."])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        parse_size(text)


def test_durations_and_switches() -> None:
    assert [parse_duration(t) for t in ("90", "90s", "30m", "3h", "7d", 0)] == [90, 90, 1800, 10800, 604800, 0]
    assert [parse_switch(t) for t in ("1", "On", False, 0)] == [True, True, False, False]
    with pytest.raises(ValueError, match="a duration"):
        parse_duration("soon")


def test_cache_dir_rules() -> None:
    assert paths.cache_dir({"HOME": "/h", "KACHE_CACHE_DIR": "/c"}) == Path("/c")
    assert paths.cache_dir({"HOME": "/h", "KACHE_CACHE_DIR": "", "XDG_CACHE_HOME": "/x"}) == Path("/x/kache")
    if sys.platform != "darwin":
        assert paths.cache_dir({"HOME": "/h", "XDG_CACHE_HOME": "relative"}) == Path("/h/.cache/kache")
    assert paths.cache_dir({}).is_absolute()


def test_socket_rules() -> None:
    assert paths.socket_path({"KACHE_SOCKET_PATH": "/s", "HOME": "/h"}) == Path("/s")
    fits = "/" + "a" * (100 - 1 - len("/daemon.sock"))
    assert paths.socket_path({"KACHE_CACHE_DIR": fits}) == Path(fits, "daemon.sock")
    long = fits + "a"
    by_hash = paths.socket_path({"KACHE_CACHE_DIR": long})
    assert by_hash == Path(f"/tmp/kache-{os.getuid()}/{paths.fnv1a64(long.encode()):016x}.sock")
    # The launcher hashes the bytes of the variable: `//` must not be folded first.
    assert paths.socket_path({"KACHE_CACHE_DIR": long + "/"}) != by_hash


def test_fnv_vectors() -> None:
    """Vectors from draft-eastlake-fnv, appendix C."""
    assert paths.fnv1a64(b"") == 0xCBF29CE484222325
    assert paths.fnv1a64(b"a") == 0xAF63DC4C8601EC8C
    assert paths.fnv1a64(b"foobar") == 0x85944171F73967E8


def test_loading_without_files_imports_neither_tomllib_nor_difflib() -> None:
    program = (
        "import sys, pathlib; from kache.config.load import load; load({'HOME': '/nonexistent'}, pathlib.Path('/'));"
        "print(*{'tomllib', 'difflib', 'msgspec', 'blake3', 'sqlite3'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
