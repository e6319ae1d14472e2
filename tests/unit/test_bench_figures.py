"""README's table and the plots are what the results say, and a run that failed says nothing."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

from bench import figures
from bench.compare import page
from bench.stats import summary

ROOT = Path(__file__).parents[2]


def copy(root: Path) -> Path:
    """What `make figures` writes to."""
    for name in ("README.md", "docs/explanation/benchmarks.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text((ROOT / name).read_text())
    shutil.copytree(figures.PLOTS, root / "docs/explanation/plots")
    return root


def test_table_and_plots_are_those_of_the_results(tmp_path: Path) -> None:
    assert figures.write(figures.RESULTS, copy(tmp_path)) == [], "run make figures"
    made = figures.plots(figures.newest(figures.RESULTS)) | page.plots(figures.RESULTS)
    assert {path.name for path in figures.PLOTS.iterdir()} == set(made)


def test_a_comparison_is_a_table_with_the_quickest_in_bold_whoever_that_is(tmp_path: Path) -> None:
    def arm(value: float) -> dict[str, object]:
        return {"wall_s": summary([value, value + 1, value + 2]), "path": "3 hits", "rejected": []}

    verdict = {"arms": {"kache": arm(2), "sccache": arm(1), "mbx": {"rejected": ["no hit"]}}, "quickest": "sccache"}
    document = {
        "kind": "compare",
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"cores": 2, "filesystem": "ext4", "rustc": "rustc 1.95.0 (abc)"},
        "settings": {"rounds": 3},
        "contestants": {"absent": ["another"]},
        "figures": {"same": {"ripgrep": verdict}, "other": {"ripgrep": {"check": verdict}}},
    }
    results = tmp_path / "results"
    results.mkdir()
    assert page.table(results) == page.NOTHING
    (results / "2026-01-01-compare.json").write_text(json.dumps(document))
    figures.write(results, copy(tmp_path))
    text = (tmp_path / "docs/explanation/benchmarks.md").read_text()
    cells = "3.00 (2.00 to 4.00) | **2.00 (1.00 to 3.00)** | *rejected* |"
    assert f"| ripgrep | fresh target, same checkout | {cells}" in text
    assert f"| ripgrep | fresh target, other checkout: check | {cells}" in text
    assert "Not installed: another." in text and "plots/compare-ripgrep.svg" in text
    assert (tmp_path / "docs/explanation/plots/compare-ripgrep.svg").exists()


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
