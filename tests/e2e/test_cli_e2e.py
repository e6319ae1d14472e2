"""The commands on a store that real builds have filled."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.projects import Files, alone, chain, lib, manifest
from tests.support.sandbox import KACHE, Sandbox

OUTCOMES = {"local_hit", "prefetch_hit", "remote_hit", "dup", "miss", "passthrough", "error"}


def test_stats_count_builds_and_bytes(box: Sandbox) -> None:
    """Guards the figures people quote: totals, the last build, and how bytes were restored."""
    box.checkout("a", chain()).build()
    box.checkout("second", chain()).build()
    total, last = box.data("stats"), box.data("stats", "--last-build")
    assert set(total["outcomes"]) >= OUTCOMES
    assert (total["outcomes"]["miss"], total["outcomes"]["local_hit"], total["builds"]) == (3, 3, 2)
    assert (last["outcomes"]["miss"], last["outcomes"]["local_hit"], last["builds"]) == (0, 3, 1)
    assert set(last["restore"]) == {"linked_bytes", "cloned_bytes", "copied_bytes"}
    assert sum(last["restore"].values()) > 0
    assert total["store"]["entries"] == 3 and total["store"]["allocated_bytes"] > 0
    assert box.data("stats", "--since", "1h")["outcomes"] == total["outcomes"]
    text = box.kache("stats", "--last-build").stdout
    assert "3 (100 % of 3) in 1 build" in text


def test_the_last_build_is_named(box: Sandbox) -> None:
    """Guards against figures nobody can place: which command, in which directory."""
    box.checkout("a", chain()).build()
    second = box.checkout("second", chain() | {"app/src/main.rs": "fn main() { nothing }\n"})
    second.build(fails=True)
    name = box.data("stats", "--last-build")["build"]
    assert "cargo build" in name and name.endswith(f" in {second.path.resolve()}")
    assert f"build     {name}" in box.kache("stats", "--last-build").stdout
    assert box.data("stats")["build"] == ""
    why = box.data("why-miss")
    assert why["name"] == name
    assert box.kache("why-miss").stdout.splitlines()[0] == name


def test_counters_survive_restarts(daemon_box: Sandbox) -> None:
    """Guards the record: what was counted is in the store, not in a process."""
    box = daemon_box
    box.checkout("a", chain()).build()
    before = box.data("stats")["outcomes"]
    box.stop()
    assert box.data("stats")["outcomes"] == before
    box.data("daemon", "restart")
    box.checkout("second", chain()).build()
    after = box.data("stats")["outcomes"]
    assert after["local_hit"] == before["local_hit"] + 3 and after["miss"] == before["miss"]


def test_list_names_what_is_stored(box: Sandbox) -> None:
    """Guards `kache list`: every entry with its crate, kind and size."""
    box.checkout("a", chain()).build()
    entries = box.data("list")["entries"]
    assert {(entry["crate_name"], entry["unit_kind"]) for entry in entries} == {
        ("leaf", "lib"),
        ("mid", "lib"),
        ("app", "bin"),
    }
    assert all(entry["bytes"] > 0 for entry in entries)
    assert [entry["crate_name"] for entry in box.data("list", "mid")["entries"]] == ["mid"]
    assert "leaf" in box.kache("list").stdout


BASE = lib(
    'pub const W: Option<&str> = option_env!("WHO");\n#[path = "inner.rs"] mod inner;\n', more={"src/inner.rs": ""}
)
WHY: dict[str, tuple[Files, dict[str, str], str, str]] = {
    "file": (BASE | {"src/inner.rs": "pub fn f() {}\n"}, {}, "file", "inner.rs"),
    "environment": (BASE, {"WHO": "me"}, "environment", "WHO"),
    "flag": (BASE, {"RUSTFLAGS": "--cfg special"}, "flag", "special"),
    "profile": (BASE, {"CARGO_PROFILE_DEV_OPT_LEVEL": "2"}, "flag", "opt-level"),
}


@pytest.mark.parametrize("what", WHY)
def test_why_miss_names_what_changed(box: Sandbox, what: str) -> None:
    """Guards the answer to "why was this compiled again": the changed file, variable or flag by its name."""
    files, env, kind, name = WHY[what]
    box.checkout("a", BASE).build()
    box.checkout("second", files).build(env=env).expect(misses=1)
    (miss,) = box.data("why-miss")["misses"]
    assert miss["cause"] == "inputs-changed", miss
    changes = [change for change in miss["changes"] if change["kind"] == kind]
    assert any(name in f"{change['label']} {change['before']} {change['after']}" for change in changes), miss
    text = box.kache("why-miss", "thing").stdout
    assert name in text


def test_why_miss_names_the_dependency_that_changed(box: Sandbox) -> None:
    """Guards chains: a crate was compiled again because of the crate below it."""
    box.checkout("a", chain()).build()
    files = chain()
    files["leaf/src/lib.rs"] = files["leaf/src/lib.rs"].replace("21", "22")
    box.checkout("second", files).build()
    causes = {miss["crate_name"]: miss for miss in box.data("why-miss")["misses"]}
    assert "leaf/src/lib.rs" in str(causes["leaf"]["changes"])
    assert [(change["kind"], "leaf" in change["label"]) for change in causes["mid"]["changes"]] == [
        ("dependency", True)
    ]


def test_why_miss_of_a_first_compile_and_of_a_passthrough(box: Sandbox) -> None:
    """Guards the two simplest answers: nothing to compare with, and a reason out of the closed list."""
    unstable = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zinput-stats"}
    box.checkout("a", lib()).build()
    assert [miss["cause"] for miss in box.data("why-miss")["misses"]] == ["first-compile"]
    box.checkout("b", lib()).build(env=unstable)
    reasons = [miss["reason"] for miss in box.data("why-miss")["misses"]]
    assert "unstable-flag" in reasons, reasons
    assert "unstable-flag" in box.kache("why-miss").stdout


def test_why_miss_hides_secrets(box: Sandbox) -> None:
    """Guards secrets in variables: their names are said, their values are not."""
    files = lib('pub const T: Option<&str> = option_env!("API_TOKEN");\n')
    box.checkout("a", files).build(env={"API_TOKEN": "first-value"})
    box.checkout("b", files).build(env={"API_TOKEN": "other-value"})
    told = box.kache("why-miss").stdout + str(box.data("why-miss"))
    assert "API_TOKEN" in told and "-value" not in told


def test_gc_purge_and_their_words(box: Sandbox) -> None:
    """Guards what frees room: a dry run changes nothing, gc and purge say what went."""
    box.checkout("a", chain()).build()
    would = box.data("gc", "--max-size", "0", "--dry-run")
    assert would["evicted_entries"] == 3 and box.data("stats")["store"]["entries"] == 3
    assert box.data("purge", "--crate-name", "mid", "--yes")["evicted_entries"] == 1
    assert box.data("gc", "--max-size", "0")["evicted_entries"] == 2
    assert box.data("stats")["store"]["entries"] == 0
    assert box.blobs() == []


def test_doctor_finds_nothing_wrong_after_builds(box: Sandbox) -> None:
    """Guards against false alarms: with a healthy store no check fails."""
    box.checkout("a", chain()).build()
    done = box.kache("doctor", env={"PATH": f"{KACHE.parent}{os.pathsep}{box.env()['PATH']}"})
    assert done.returncode == 0, done.stdout
    assert "fail" not in done.stdout


def test_the_probe_hits(box: Sandbox) -> None:
    """Guards `doctor --probe`, the first thing to try: it compiles twice and says hit."""
    data = box.data("doctor", "--probe")
    (probe,) = [check for check in data["checks"] if check["check"] == "probe"]
    assert probe["status"] == "ok", probe
    assert not box.cache_dir.exists() or box.data("stats")["outcomes"]["miss"] == 0


def test_the_log_is_shown(daemon_box: Sandbox) -> None:
    """Guards `kache daemon log`: what a daemon wrote can be read without knowing where."""
    daemon_box.checkout("a", lib()).build()
    assert any("serving" in line for line in daemon_box.data("daemon", "log")["lines"])
    assert "serving" in daemon_box.kache("daemon", "log", "--lines", "5").stdout


def test_a_bad_setting_is_said_once_and_the_build_goes_on(box: Sandbox) -> None:
    """Guards mistakes in configuration: file, line, what is wrong and what would be right; compiles are cached."""
    box.configure('[cache]\nmax_size = "a lot"\n')
    box.checkout("a", lib()).build().expect(misses=1)
    box.checkout("second", lib()).build().expect(hits=1, misses=0)
    done = box.kache("stats")
    assert done.returncode == 0
    assert "config.toml:2" in done.stderr and "max_size" in done.stderr
    if box.engine == "daemon":
        assert "config.toml:2" in box.log()


def test_a_project_file_counts_for_its_workspace_alone(box: Sandbox) -> None:
    """Guards `.kache.toml`: found upward from the workspace, also for the calls of a daemon started elsewhere."""
    box.checkout("a", lib()).build().expect(misses=1)
    salted = lib() | {".kache.toml": '[cache]\nkey_salt = "apart"\n'}
    box.checkout("b", salted).build().expect(misses=1, hits=0)
    box.checkout("c", salted).build().expect(hits=1, misses=0)
    box.checkout("d", lib()).build().expect(hits=1, misses=0)


def test_base_dir_makes_places_alike(box: Sandbox) -> None:
    """Guards KACHE_BASE_DIR: a path the user names is the same place in every checkout."""
    files = alone(
        {
            "Cargo.toml": manifest("user"),
            "src/main.rs": 'include!(concat!(env!("SHARED"), "/value.rs"));\nfn main() { println!("{VALUE}"); }\n',
            "shared/value.rs": "const VALUE: u32 = 5;\n",
        }
    )
    for name, outcome in (("a/ws", {"misses": 1, "hits": 0}), ("b/deeper/ws", {"hits": 1, "misses": 0})):
        checkout = box.checkout(name, files)
        base = checkout.path.parent
        built = checkout.build(env={"KACHE_BASE_DIR": str(base), "SHARED": str(checkout.path / "shared")})
        built.expect(**outcome)
        assert checkout.program("user") == "5\n"


def test_logging_can_be_turned_up(box: Sandbox) -> None:
    """Guards KACHE_LOG: at debug the log says what happened to each call."""
    box.settings["KACHE_LOG"] = "debug"
    box.checkout("a", lib("fn f() { undefined() }")).build(fails=True)
    assert "compile-failed" in box.log()


def test_a_reader_that_goes_away_is_no_error(box: Sandbox) -> None:
    """Guards `kache list | head -1`: a closed pipe ends the command quietly."""
    box.checkout("a", chain()).build()
    command = f'"{KACHE}" list --json | head -c 10'
    done = subprocess.run(["sh", "-c", command], env=box.env(), capture_output=True, text=True, check=False)
    assert done.stderr == ""
