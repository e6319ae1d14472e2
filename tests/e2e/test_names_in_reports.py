"""What reports say of a build: probes by their package, failures as such, and the unit that a miss follows from."""

from __future__ import annotations

from tests.support.projects import chain, hello
from tests.support.sandbox import Sandbox

# As autocfg and its like do it: by way of the wrapper that cargo names.
_PROBES = """\
use std::{env, process::Command};
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let mut probe = Command::new(env::var("RUSTC_WRAPPER").unwrap());
    probe.arg(env::var("RUSTC").unwrap()).args(["--crate-name", "probe0", "--crate-type=lib"]);
    probe.arg("--emit=dep-info,metadata");
    std::fs::write(format!("{out}/p.rs"), "").unwrap();
    assert!(probe.args(["--out-dir", &out]).arg(format!("{out}/p.rs")).status().unwrap().success());
}
"""


def test_a_build_scripts_probe_is_named_by_its_package(daemon_box: Sandbox) -> None:
    daemon_box.checkout("a", {**hello(), "build.rs": _PROBES}).build()
    told = daemon_box.kache("why-miss", "--last-build").stdout
    assert "hello probe: passthrough, no-artifact-messages" in told and "(no crate)" not in told
    assert "hello probe: passthrough" in daemon_box.kache("why-miss", "hello").stdout


def test_a_compile_that_failed_is_called_so(daemon_box: Sandbox) -> None:
    files = {**hello(), "src/lib.rs": "pub fn greet() -> u8 { nothing }\n"}
    daemon_box.checkout("a", files).cargo("build", fails=True)
    data = daemon_box.data("stats", "--last-build")
    assert (data["failed"], data["outcomes"]["miss"]) == (1, 1)
    counted = daemon_box.kache("stats", "--last-build").stdout.splitlines()
    assert ["miss", "0"] in [line.split() for line in counted] and ["failed", "1"] in [line.split() for line in counted]
    assert "failed" in daemon_box.kache("report").stdout


def test_what_follows_from_an_edit_names_the_unit_that_was_edited(daemon_box: Sandbox) -> None:
    """In another checkout, so that nothing is an edit of it: three misses, and one reason for all of them."""
    daemon_box.checkout("a", chain()).build()
    files = chain()
    edited = {**files, "leaf/src/lib.rs": files["leaf/src/lib.rs"].replace("21", "22")}
    daemon_box.checkout("b", edited).build().expect(misses=3)
    found = {each["crate_name"]: each["first_cause"] for each in daemon_box.data("why-miss", "--last-build")["misses"]}
    assert found["leaf"] == ""
    assert found["mid"] == found["app"] and found["app"].startswith("leaf: file ") and "leaf/src/lib.rs" in found["app"]
    assert "it follows from leaf: file" in daemon_box.kache("why-miss", "app").stdout
