"""`KACHE_VERIFY`: hits are compiled again behind the build's back, and what differs is said by crate and file."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from typing import Any

import pytest

from tests.support import processes
from tests.support.kinds import all_kinds
from tests.support.marks import mostly_daemon
from tests.support.projects import Files, chain, everything, warns
from tests.support.sandbox import Sandbox

ALWAYS = {"KACHE_VERIFY": "always"}


def verified(box: Sandbox) -> dict[str, Any]:
    """What the verifications of this box found, once the last one has ended."""
    directory = box.cache_dir / "verify"

    def is_done() -> bool:
        waiting = [path for path in (directory / "queue").iterdir() if not path.name.startswith(".")]
        return not waiting and not [process for process in box.processes() if process.runs("kache.verifier")]

    processes.until(is_done, limit_s=120, what="verifications ended")
    found: dict[str, Any] = box.data("stats")
    return found


@pytest.mark.parametrize(
    ("name", "words"),
    [("everything", ("build",)), ("warns", ("build",)), ("everything", ("test", "--no-run")), ("kinds", ("check",))],
)
@mostly_daemon
def test_right_hits_are_found_right(box: Sandbox, name: str, words: tuple[str, ...]) -> None:
    """Guards against false alarms: what every kind of unit gives twice is the same, messages and dep-info included."""
    files = {"everything": everything, "warns": warns, "kinds": all_kinds}[name]()
    box.checkout("a", files).cargo(*words)
    second = box.checkout("the/second/one", files)
    hits = second.cargo(*words, env=ALWAYS).expect(hits=None, misses=0).calls.hits
    assert verified(box)["verifications"] == {"verified": len(hits), "differs": 0, "unverified": 0}, box.log()
    second.fresh(*words)
    assert box.data("doctor", exit_code=box.kache("doctor").returncode)["failed"] == 0


@pytest.mark.parametrize("profile", ["unpacked", "packed", "release"])
@mostly_daemon
def test_profiles_whose_outputs_name_their_place(box: Sandbox, profile: str) -> None:
    """Guards the scratch directory: debug info beside the outputs names them where they belong."""
    env = {} if profile == "release" else {"CARGO_PROFILE_DEV_SPLIT_DEBUGINFO": profile}
    words = ("build", "--release") if profile == "release" else ("build",)
    box.checkout("a", chain()).cargo(*words, env=env)
    box.checkout("b", chain()).cargo(*words, env=env | ALWAYS).expect(hits=3, misses=0)
    assert verified(box)["verifications"] == {"verified": 3, "differs": 0, "unverified": 0}, box.log()


def moody() -> Files:
    """`everything`, its macro giving another number each time it runs."""
    files = everything()
    files["macros/src/lib.rs"] = """use proc_macro::TokenStream;

#[proc_macro]
pub fn seven(_: TokenStream) -> TokenStream {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}u32", now.subsec_nanos()).parse().unwrap()
}
"""
    return files


def test_a_hit_that_would_not_come_out_again_is_named(box: Sandbox) -> None:
    """Guards the alarm itself: a macro that throws dice is found, and stats, doctor and the log say which crate."""
    box.checkout("a", moody()).build()
    box.checkout("b", moody()).build(env=ALWAYS).expect(hits=5, misses=0)
    stats = verified(box)
    assert stats["verifications"] == {"verified": 4, "differs": 1, "unverified": 0}, box.log()
    assert "libboth.so" in stats["differing"]["both"]
    assert "DIFFERS both: " in box.kache("stats").stdout
    warned = [item for item in box.data("doctor")["checks"] if item["check"] == "verified"]
    assert [item["status"] for item in warned] == ["warn"] and "both" in warned[0]["why"]
    assert "A HIT DIFFERS" in box.log()
    (kept,) = (box.cache_dir / "verify").glob("both-*")
    assert (kept / "libboth.so").is_file()


def test_what_changed_since_is_not_compared(box: Sandbox) -> None:
    """Guards against blaming a hit for an edit: sources saved before a verification comes to it make it void."""
    checkout = box.checkout("a", chain())
    checkout.build()
    (box.cache_dir / "verify").mkdir()
    with (box.cache_dir / "verify" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        checkout.clean().build(env=ALWAYS).expect(hits=3, misses=0)
        checkout.edit("leaf/src/lib.rs", "21", "22")
    argv = [sys.executable, "-I", "-m", "kache.verifier", str(box.cache_dir)]
    subprocess.run(argv, env=box.env(), check=True, timeout=120)
    assert verified(box)["verifications"] == {"verified": 2, "differs": 0, "unverified": 1}, box.log()


def test_unless_asked_for_nothing_is_compiled_again(box: Sandbox) -> None:
    """Guards the default: a hit runs no rustc, not even a moment later."""
    box.checkout("a", chain()).build()
    box.checkout("b", chain()).build().expect(hits=3)
    assert not (box.cache_dir / "verify").exists()
