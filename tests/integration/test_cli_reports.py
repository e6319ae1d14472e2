"""`kache stats`, `list` and `why-miss` on an index filled row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import CliBox

pytest.importorskip("kache.store.local")


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


def test_stats_of_no_store_is_all_zero_and_makes_none(box: CliBox) -> None:
    data = box.data("stats")
    asked = {"local_hit", "prefetch_hit", "remote_hit", "dup", "seeded", "miss", "passthrough", "error"}
    assert set(data["outcomes"]) == asked
    assert set(data["outcomes"].values()) == {0}
    assert data["restore"] == {"linked_bytes": 0, "cloned_bytes": 0, "copied_bytes": 0}
    assert not box.cache_dir.exists()


def test_stats_counts_and_narrows(box: CliBox) -> None:
    index = box.index()
    index.build("1-1", age_s=7200)
    index.build("2-2")
    index.event("miss", age_s=7200, compile_ms=900)
    index.event("local_hit", build="2-2", compile_ms=900, elapsed_us=2000, linked_bytes=5, copied_bytes=2)
    index.event("passthrough", build="2-2", reason="incremental")
    index.event("passthrough", build="2-2", reason="incremental")
    index.insert("blobs", digest=b"d" * 32, size=10, allocated=4096, mtime_ns=0, ctime_ns=0, boot="")
    index.entry("serde", number=1)
    data = box.data("stats")
    assert (data["outcomes"]["miss"], data["outcomes"]["local_hit"], data["outcomes"]["passthrough"]) == (1, 1, 2)
    assert data["restore"] == {"linked_bytes": 5, "cloned_bytes": 0, "copied_bytes": 2}
    assert data["passthrough_reasons"] == {"incremental": 2}
    assert (data["saved_compile_ms"], data["builds"]) == (898, 2)
    assert {**data["store"], "max_bytes": 0} == {"entries": 1, "blobs": 1, "allocated_bytes": 4096, "max_bytes": 0}
    for narrow in (["--last-build"], ["--since", "1h"]):
        data = box.data("stats", *narrow)
        assert (data["outcomes"]["miss"], data["outcomes"]["local_hit"], data["builds"]) == (0, 1, 1)
    text = box.run("stats").stdout
    assert "1 (50 % of 2) in 2 builds" in text and "incremental" in text


def test_list_sorts_and_selects(box: CliBox) -> None:
    index = box.index()
    index.entry("alpha", number=1, bytes=10, hits=1)
    index.entry("beta_two", number=2, bytes=99, hits=0)

    def names(*words: str) -> list[str]:
        return [row["crate_name"] for row in box.data("list", *words)["entries"]]

    assert names() == ["alpha", "beta_two"]
    assert names("--sort", "size") == ["beta_two", "alpha"]
    assert names("--sort", "hits") == ["alpha", "beta_two"]
    assert names("beta-two") == ["beta_two"]
    assert "no entries; did you mean beta_two?" in box.run("list", "beta-tow").stdout


def test_a_file_that_entries_share_counts_once(box: CliBox) -> None:
    index = box.index()
    for number, digests in ((1, (b"a", b"b")), (2, (b"b", b"c")), (3, (b"d",))):
        index.entry("twice" if number < 3 else "other", number=number)
        for digest in digests:
            index.insert("entry_blobs", key=bytes([number]) * 32, digest=digest)
    for size, digest in enumerate((b"a", b"b", b"c", b"d"), 1):
        index.insert("blobs", digest=digest, size=1, allocated=4096 * size, mtime_ns=0, ctime_ns=0, boot="")
    assert box.data("list", "twice")["allocated_bytes"] == 4096 * (1 + 2 + 3)
    assert "3 entries, 40.0 KiB (a shared file counts once)" in box.run("list").stdout


def test_why_miss_names_the_file_that_changed(box: CliBox) -> None:
    index = box.index()
    index.build("1-1", age_s=60)
    index.build("2-2")
    index.event("miss", age_s=60, inputs={"toolchain": "1.95", "file:src/lib.rs": "aa", "env:CC": "cc"})
    index.event("miss", age_s=50, inputs={"toolchain": "1.94", "file:src/lib.rs": "zz"})
    index.event("miss", build="2-2", inputs={"toolchain": "1.95", "file:src/lib.rs": "bb", "env:CC": "cc"})
    index.event("miss", build="2-2", crate="new", inputs={"toolchain": "1.95"})
    index.event("passthrough", build="2-2", crate="inc", reason="incremental")
    data = box.data("why-miss")
    assert data["build"] == "2-2" and data["seen"] == 3
    changed, first, passed = data["misses"]
    assert changed["changes"] == [{"kind": "file", "label": "src/lib.rs", "before": "aa", "after": "bb"}]
    assert (first["cause"], passed["cause"], passed["reason"]) == ("first-compile", "passthrough", "incremental")
    assert len(box.data("why-miss", "serde")["misses"]) == 1
    assert "file src/lib.rs: aa -> bb" in box.run("why-miss", "serde", "--last-build").stdout
    assert "no compile of crate other" in box.run("why-miss", "other").stdout


def test_why_miss_names_flags_one_by_one_and_the_nearest_compile(box: CliBox) -> None:
    """Cargo's hashes follow from the flags, and a build script is known by its package."""
    index = box.index()

    def compiled(*flags: str, number: int, out: str, build: str = "1-1") -> None:
        args = (*flags, f"-C metadata={number}", f"-C extra-filename=-{number}")
        library = f"link:libsyn-{number:016x}.rlib"
        inputs = [("arg", each) for each in args]
        inputs += [("env:CARGO_PKG_NAME", "zmij"), ("env:OUT_DIR", f"{out}/{number}"), (library, "aa")]
        index.event("miss", build=build, crate="build_script_build", unit_kind="build-script", inputs=inputs)

    compiled("-C opt-level=3", "-C strip=debuginfo", number=1, out="release")
    compiled("-C debuginfo=2", number=2, out="debug")
    compiled("-C debuginfo=1", number=3, out="debug", build="2-2")
    index.build("2-2")
    (found,) = box.data("why-miss", "--last-build")["misses"]
    assert found["changes"] == [{"kind": "flag", "label": "-C debuginfo", "before": "2", "after": "1"}]
    assert "zmij build-script: 1 input changed" in box.run("why-miss").stdout


def test_a_reason_is_explained_and_a_mistyped_crate_is_suggested(box: CliBox) -> None:
    index = box.index()
    index.build("1-1")
    index.event("passthrough", crate="serde", reason="no-artifact-messages")
    index.event("passthrough", crate="serde", reason="no-artifact-messages")
    said = box.run("why-miss").stdout
    assert "serde lib: passthrough, no-artifact-messages (2 times)\n  rustc is not asked to say" in said
    assert "has seen no compile of crate sered; did you mean serde?" in box.run("why-miss", "sered").stdout


def test_why_miss_says_nothing_of_what_an_incremental_edit_could_not_see(box: CliBox) -> None:
    index = box.index()
    index.build("1-1")
    index.event("miss", age_s=30, inputs={"file:src/lib.rs": "aa", "env:LPATH": "(unset)"})
    index.event("miss", age_s=20, inputs={"file:src/lib.rs": "bb"}, reason="incremental-edit")
    index.event("miss", age_s=10, inputs={"file:src/lib.rs": "cc", "env:LPATH": "(unset)"})
    changes = [[change["label"] for change in miss["changes"]] for miss in box.data("why-miss")["misses"]]
    assert changes == [[], ["src/lib.rs"], ["src/lib.rs"]]


def test_why_miss_of_equal_inputs_says_the_entry_went(box: CliBox) -> None:
    index = box.index()
    index.build("1-1")
    index.event("miss", inputs={"toolchain": "1.95"})
    index.event("miss", inputs={"toolchain": "1.95"})
    assert [miss["cause"] for miss in box.data("why-miss")["misses"]] == ["first-compile", "entry-gone"]


def test_bad_configuration_is_said_on_stderr_alone(box: CliBox) -> None:
    (box.cwd / ".kache.toml").write_text('[cache]\nmax_size = "lots"\n')
    done = box.run("stats", "--json")
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: {box.cwd}/.kache.toml:2: 'lots' is not a value for max_size; expected")


def test_what_was_looked_for_elsewhere_and_not_fetched_is_counted(box: CliBox) -> None:
    index = box.index()
    index.build("1-1")
    index.event("miss", inputs={"file:a": "1"})
    row = {
        "at_ns": index.now_ns,
        "direction": "get",
        "key": None,
        "requests": 1,
        "bytes": 0,
        "waited_us": 1,
        "compile_ms": 0,
    }
    for outcome, build in (("absent", "1-1"), ("absent", "1-1"), ("slower", "1-1"), ("hit", "1-1"), ("late", "2-2")):
        index.insert("transfers", outcome=outcome, build=build, **row)
    index.connection.close()
    assert box.data("why-miss")["not_fetched"] == {"absent": 2, "slower": 1}
    told = "looked for in the remote and not fetched: 2 not there, 1 slower than compiling"
    assert told in box.run("why-miss").stdout
