"""The pure halves of the reports."""

from __future__ import annotations

from kache.reports.render.text import human_bytes, human_duration, plural, table
from kache.reports.render.why_miss import to_text
from kache.reports.why_miss import HIDDEN, Change, Explanation, Report, compare, decode_inputs


def test_sizes_and_durations() -> None:
    assert [human_bytes(n) for n in (0, 1023, 1536, 5 * 1024**3)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
    assert [human_duration(s) for s in (0.35, 12.4, 600, 9000, 4 * 86400)] == [
        "350 ms",
        "12.4 s",
        "10 min",
        "2.5 h",
        "4 d",
    ]
    assert [plural(1, "entry", "entries"), plural(3, "entry", "entries")] == ["1 entry", "3 entries"]


def test_table_aligns_and_leaves_no_blank_at_the_end() -> None:
    text = table(["crate", "size"], [["a", "1 B"], ["longer", "10 B"]], right=frozenset({1}))
    assert text == "crate   size\na        1 B\nlonger  10 B"


def test_compare_names_what_differs() -> None:
    before = {"toolchain": ("1.94",), "file:src/lib.rs": ("aa",), "env:CC": ("cc",), "arg": ("-O", "-g"), "odd": ("1",)}
    after = {
        "toolchain": ("1.95",),
        "file:src/lib.rs": ("aa",),
        "file:src/b.rs": ("bb",),
        "arg": ("-O",),
        "odd": ("2",),
    }
    assert compare(before, after) == [
        Change("toolchain", "toolchain", "1.94", "1.95"),
        Change("file", "src/b.rs", None, "bb"),
        Change("flag", "-g", "-g", None),
        Change("input", "odd", "1", "2"),
        Change("environment", "CC", "cc", None),
    ]


def test_secrets_are_not_shown() -> None:
    changes = compare({"env:MY_API_TOKEN": ("one",)}, {"env:MY_API_TOKEN": ("two",)})
    assert changes == [Change("environment", "MY_API_TOKEN", HIDDEN, HIDDEN)]


def test_inputs_of_another_version_are_no_failure() -> None:
    assert decode_inputs(b"not zlib") == {}


def test_text_is_short() -> None:
    changes = [Change("file", f"src/{n}.rs", "a" * 64, None) for n in range(12)]
    explanation = Explanation("serde", "lib", "miss", "", 0, "inputs-changed", compared_with_ns=0, changes=changes)
    lines = to_text(Report(build="1", seen=1, explanations=[explanation]), None, 60_000_000_000).splitlines()
    assert lines[0] == "serde lib: 12 inputs changed since the compile 60.0 s ago"
    assert lines[1] == f"  file src/0.rs: {'a' * 12} -> absent"
    assert lines[-1] == "  and 2 more; --json has them all"


def test_reports_know_the_store_s_schema() -> None:
    from kache.reports.database import NEWEST_SCHEMA
    from kache.store.migrations import SCHEMA_VERSION

    assert NEWEST_SCHEMA == SCHEMA_VERSION
