"""README's table and the plots are what the results say, and a run that failed says nothing."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from bench import figures

ROOT = Path(__file__).parents[2]


def test_table_and_plots_are_those_of_the_results(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    changed = figures.write(figures.RESULTS, readme, figures.PLOTS)
    assert changed == [], "run make figures"
    assert {path.name for path in figures.PLOTS.iterdir()} == set(figures.plots(figures.newest(figures.RESULTS)))


def test_each_plot_is_a_picture_with_a_bar_for_every_tool_of_its_run() -> None:
    found = figures.newest(figures.RESULTS)
    text = "".join(ET.fromstring(figures.plots(found)["warm.svg"]).itertext())
    for arm in found["warm", "ripgrep"].figures["wall_s"]:
        assert {"nothing": "replay only (floor)"}.get(arm, arm) in text


def result(directory: Path, day: str, share: float, *, failed: bool = False) -> None:
    figures_ = {"failed": "it broke"} if failed else disk(share)
    machine = {"cores": 2, "filesystem": "ext4", "rustc": "rustc 1.95.0 (abc)"}
    document = {"machine": machine, "settings": {"loops": 1}, "figures": {"disk": {"ripgrep": figures_}}}
    (directory / f"{day}.json").write_text(json.dumps(document))


def disk(share: float) -> dict[str, object]:
    return {
        "share_of_first_shareable": [0.0, share],
        "limit": 0.15,
        "ok": share <= 0.15,
        "first_target_bytes": 2_000_000,
    }


def test_the_newest_run_that_did_not_fail_counts_and_a_miss_is_called_one(tmp_path: Path) -> None:
    result(tmp_path, "2026-01-01", 0.02)
    result(tmp_path, "2026-01-02", 0.4)
    result(tmp_path, "2026-01-03", 0.01, failed=True)
    text = figures.block(figures.newest(tmp_path))
    assert "| 40 % | the first target 2 MB | **missed:** at most 15 % |" in text
    assert "2026-01-02" in text and "2026-01-01" not in text and "2026-01-03" not in text
