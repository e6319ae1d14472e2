"""Warm start and what is around a build: other wrappers, cargo's configuration, dates, groups."""

from __future__ import annotations

import os
import stat
import subprocess

from tests.support.projects import Files, alone, chain, manifest
from tests.support.sandbox import KACHE, Sandbox


def program(source: str) -> Files:
    """A package `prog` with one program."""
    return alone({"Cargo.toml": manifest("prog"), "src/main.rs": source + "\n"})


def test_flags_that_another_wrapper_adds_are_not_lent_to_those_who_have_none(warm_box: Sandbox) -> None:
    """Guards chains of wrappers: cargo has no hash of them, so what they compile is put into nobody's target."""
    files = program('fn main() { println!("{}", cfg!(added)); }')
    wrapper = warm_box.root / "adds-a-flag"
    wrapper.write_text(f'#!/bin/sh\nexec {KACHE} "$@" --cfg added\n')
    wrapper.chmod(0o755)
    first = warm_box.checkout("a", files)
    first.build(env={"RUSTC_WRAPPER": str(wrapper)})
    assert first.program("prog") == "true\n"
    second = warm_box.checkout("b", files)
    second.build()
    assert second.program("prog") == "false\n"


def test_variables_of_a_configuration_file_count_for_kache_cargo(warm_box: Sandbox) -> None:
    """Guards [env] in .cargo/config.toml: cargo alone applies it, so what it had is not given to a build without."""
    files = program("#![feature(never_type)]\nfn main() {}")
    with_env = files | {".cargo/config.toml": '[env]\nRUSTC_BOOTSTRAP = "1"\n'}
    for name, project, status in (("a", with_env, 0), ("b", files, 101)):
        checkout = warm_box.checkout(name, project)
        env = warm_box.env({"RUSTC_WRAPPER": ""})
        argv = [str(KACHE), "cargo", "build"]
        done = subprocess.run(argv, cwd=checkout.path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        warm_box.calls()


def test_a_declared_file_from_the_future_is_watched_all_the_same(warm_box: Sandbox) -> None:
    """Guards dates: a run is never dated after a file it read will be saved next."""
    warm_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    script = (
        'fn main() { println!("cargo:rerun-if-changed=data");'
        ' println!("cargo:rustc-env=DATA={}", std::fs::read_to_string("data").unwrap()); }'
    )
    files = program('fn main() { println!("{}", env!("DATA")); }') | {"build.rs": script, "data": "one"}
    for name in ("a", "b"):
        checkout = warm_box.checkout(name, files)
        os.utime(checkout.path / "data", (2_000_000_000, 2_000_000_000))
        checkout.build()
    checkout.write("data", "two")
    checkout.build()
    assert checkout.program("prog") == "two\n"


def test_a_directory_that_a_group_shares_stays_shared(warm_box: Sandbox) -> None:
    """Guards setgid: directories below one that has it have it too, whoever makes them."""
    warm_box.checkout("a", chain()).build()
    second = warm_box.checkout("b", chain())
    second.path.chmod(0o2775)
    assert [call for call in second.build().calls.all if call.outcome == "seeded"]
    assert (second.target / "debug" / "deps").stat().st_mode & stat.S_ISGID
