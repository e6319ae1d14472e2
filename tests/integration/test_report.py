"""`kache report` on a small history: every format, golden, and what a script or a browser makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from kache.reports import build_report
from kache.reports.build_report import Report
from kache.reports.database import Window, last_build, reading
from kache.reports.render import html, markdown, perfetto, report_text
from tests.support.cli import CliBox
from tests.support.report_index import NOW_NS, fill

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


def report_of(box: CliBox, window: Window | None = None) -> Report:
    with reading(box.cache_dir) as connection:
        assert connection is not None
        chosen = window or Window(build=last_build(connection))
        return build_report.collect(connection, chosen, scope="last build", max_bytes=10**10, now_ns=NOW_NS)


DRAWN = {
    "report.txt": lambda report: report_text.to_text(report, 10),
    "report.md": lambda report: markdown.to_markdown(report, 10),
    "github.md": lambda report: markdown.to_github(report, 10),
    "report.html": lambda report: html.to_html(report, 10),
    "trace.json": lambda report: json.dumps(perfetto.to_trace(report), indent=1),
    "report.json": lambda report: json.dumps(report.to_json(), indent=1),
}


@pytest.mark.parametrize("name", DRAWN)
def test_golden(box: CliBox, name: str) -> None:
    fill(box)
    text = DRAWN[name](report_of(box)).rstrip("\n") + "\n"
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_json_is_what_the_schema_says(box: CliBox) -> None:
    fill(box, now_ns=_now())
    data = box.data("report", "--since", "1d")
    assert msgspec.convert(data, Report).units[0].crate_name == "serde"
    assert json.loads(box.run("report", "--since", "1d", "--format", "json").stdout)["data"]["builds"] == data["builds"]


def test_one_build_is_one_cargo_command_and_root_narrows(box: CliBox) -> None:
    fill(box, now_ns=_now())
    assert [build["id"] for build in box.data("report")["builds"]] == ["2-2"]
    assert [build["id"] for build in box.data("report", "--root", "/src/one")["builds"]] == ["1-1"]
    assert [build["id"] for build in box.data("report", "--since", "1d", "--root", "/src")["builds"]] == ["2-2", "1-1"]
    assert box.data("report", "--since", "1d", "--root", "/sr")["builds"] == []


def test_causes_of_misses_are_told_apart(box: CliBox) -> None:
    fill(box)
    units = {(unit.build, unit.crate_name): unit for unit in report_of(box, Window()).units}
    assert units["1-1", "serde"].cause == "first-compile"
    assert (units["2-2", "leaf"].cause, units["2-2", "leaf"].detail) == ("file", "leaf.rs")
    assert units["2-2", "odd"].reason == "unknown-flag"


def test_lanes_hold_what_ran_at_once(box: CliBox) -> None:
    fill(box)
    events = perfetto.to_trace(report_of(box))["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    for one in spans:
        for other in spans:
            if one is not other and one["tid"] == other["tid"]:
                assert one["ts"] + one["dur"] <= other["ts"] or other["ts"] + other["dur"] <= one["ts"]
    assert {event["tid"] for event in spans} == {1, 2}


def test_github_appends_to_the_step_summary(box: CliBox) -> None:
    fill(box, now_ns=_now())
    summary = box.root / "summary.md"
    summary.write_text("# before\n")
    done = box.run("report", "--format", "github", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 0 and str(summary) in done.stdout
    assert summary.read_text().startswith("# before\n### kache: last build")


def test_output_goes_to_a_file(box: CliBox) -> None:
    fill(box, now_ns=_now())
    assert box.run("report", "--format", "html", "-o", "r.html").returncode == 0
    assert (box.cwd / "r.html").read_text().startswith("<!doctype html>")
    done = box.run("report", "-o", "/nonexistent/r.txt")
    assert done.returncode == 1 and "error[output-unwritable]" in done.stderr


@pytest.mark.parametrize(
    "words", [("--json", "--format", "html"), ("--since", "1d", "--last-build"), ("--top", "0"), ("--format", "pdf")]
)
def test_wrong_usage(box: CliBox, words: tuple[str, ...]) -> None:
    assert box.run("report", *words).returncode == 2


@pytest.mark.parametrize("form", ["text", "json", "markdown", "github", "html", "perfetto"])
def test_no_store_is_an_empty_report(box: CliBox, form: str) -> None:
    assert box.run("report", "--format", form).returncode == 0
    assert not box.cache_dir.exists()


def test_names_are_escaped(box: CliBox) -> None:
    index = fill(box)
    index.event("miss", crate="<script>alert(1)</script>|`", build="2-2", age_s=99)
    report = report_of(box)
    assert "<script>" not in html.to_html(report, 10)
    assert "<script>" not in markdown.to_markdown(report, 10).replace("`<script>alert(1)</script>\\|'`", "")


def test_html_asks_nobody_for_anything(box: CliBox) -> None:
    fill(box)
    text = html.to_html(report_of(box), 10)
    assert not re.search(r"(?:src|href)=|url\(|@import|https?:", text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_the_charts(box: CliBox) -> None:
    fill(box, now_ns=_now())
    box.run("report", "--format", "html", "-o", "r.html")
    page = (box.cwd / "r.html").as_uri()
    common = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={box.root / 'chromium'}"]
    dom = subprocess.run(
        [*common, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True, env=box.env()
    ).stdout
    assert all(f'<svg id="{chart}"' in dom for chart in ("timeline", "causes", "days", "passthroughs"))
    assert dom.count("<rect") >= 8 and "leaf lib: miss" in dom
    picture = box.root / "r.png"
    subprocess.run(
        [*common, f"--screenshot={picture}", "--window-size=1000,1400", page],
        capture_output=True,
        timeout=120,
        check=True,
        env=box.env(),
    )
    assert picture.stat().st_size > 5_000


def _now() -> int:
    return time.time_ns()
