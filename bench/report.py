"""Say in a few lines what a run of the benchmark found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Figures = Mapping[str, Mapping[str, Mapping[str, object]]]


def summary_lines(figures: Figures, absent: list[str]) -> list[str]:
    """Return one line a phase and project: reached or not, the deciding figure, its limit, the path taken."""
    lines = [""]
    for phase, projects in figures.items():
        for project, found in projects.items():
            state = "ok  " if found.get("ok") else "OVER"
            lines.append(f"{state} {phase} {project}: {_headline(phase, found)} [{found.get('path', 'no path')}]")
    if absent:
        lines.append("absent peers (make bench-peers-install): " + ", ".join(absent))
    return lines


def _headline(phase: str, found: Mapping[str, object]) -> str:
    if "failed" in found:
        return f"failed: {found['failed']}"
    if phase == "cold":
        wall, cpu = _median(found, "wall_ratio"), _median(found, "cpu_ratio")
        once = found["new_toolchain"]
        assert isinstance(once, dict)
        first = f"a new toolchain, once a machine: {once['wall_s']:.2f} s, CPU {once['cpu_s']:.2f} s"
        return f"wall {wall:.3f}, CPU {cpu:.3f} of plain, limit {found['limit']}; {first}"
    if phase == "observe":
        wall, cpu = _median(found, "wall_ratio"), _median(found, "cpu_ratio")
        return f"wall {wall:.3f}, CPU {cpu:.3f} of the same without observing, limit {found['limit']}"
    if phase == "warm":
        walls = found["wall_s"]
        assert isinstance(walls, dict)
        shown = ", ".join(f"{name} {_median(walls, name):.3f} s" for name in walls)
        return f"{shown}; limit {found['limit_s']} s for {found['wrapper_calls']} calls; nothing to do: {_noop(found)}"
    if phase == "fresh":
        verbs = found["verbs"]
        assert isinstance(verbs, dict)
        return "; ".join(f"{verb} {_median(each, 'noop_ratio'):.2f} of cargo's no-op" for verb, each in verbs.items())
    if phase in _OF_BUCKETS:
        return _OF_BUCKETS[phase](found)
    if phase == "edit":
        return "; ".join(
            f"{label}: first {_median(found[label], 'first_ratio'):.3f} of a plain compile, second"  # type: ignore[arg-type]
            f" {_median(found[label], 'second_ratio'):.3f} and further {_median(found[label], 'further_ratio'):.3f} of"  # type: ignore[arg-type]
            " plain incremental"
            for label in ("program", "library")
        )
    keys = {
        "hit": ("hit_s", "limit_s"),
        "disk": ("share_of_first", "share_of_first_shareable", "limit"),
        "index": ("bytes_per_entry", "entries", "limit_bytes"),
        "memory": ("curve", "limit_bytes"),
        "big-store": ("entries", "small", "big"),
        "planner": ("unit_uses", "new", "repeated", "report_s"),
    }[phase]
    return ", ".join(f"{key} {_last(found.get(key))}" for key in keys)


def _remote(found: Mapping[str, object]) -> str:
    delays = found["delays"]
    assert isinstance(delays, dict)
    shown = "; ".join(
        f"{label} {_of(each, 'to_unpacking')} of unpacking, {_of(each, 'to_peer')} of sccache"
        for label, each in delays.items()
    )
    return f"{shown}; the longest delay {found['far_to_near']} of none"


def _upload(found: Mapping[str, object]) -> str:
    hanging = found["hanging"]
    assert isinstance(hanging, dict)
    less, cpu = _median(found, "wall_less_server_ratio"), _median(found, "cpu_ratio")
    return f"wall less server {less:.3f}, CPU {cpu:.3f}; a bucket that hangs {_median(hanging, 'cost_s'):.2f} s"


def _prefetch(found: Mapping[str, object]) -> str:
    commits, recording = found["commits"], found["recording"]
    assert isinstance(commits, dict)
    assert isinstance(recording, dict)
    shown = ", ".join(f"{label} {each['precision']:.2f} and {each['recall']:.2f}" for label, each in commits.items())
    return (
        f"{_of(found, 'to_one_by_one')} of one object per miss, {_of(found, 'to_sum')} of archive and build,"
        f" after a bump {_of(found, 'to_bulk')} of bulk; precision and recall: {shown};"
        f" recording {recording['share']:.2%} of a cold build"
    )


_OF_BUCKETS: dict[str, Callable[[Mapping[str, object]], str]] = {
    "remote": _remote,
    "upload": _upload,
    "prefetch": _prefetch,
}


def _last(value: object) -> object:
    """Return the last point of a curve, anything else as it is."""
    return value[-1] if isinstance(value, list) and value and isinstance(value[-1], dict) else value


def _noop(found: Mapping[str, object]) -> str:
    noop = found["noop"]
    assert isinstance(noop, dict)
    return ", ".join(
        f"{name.replace('_', ' ')} {'fresh' if state['ok'] else 'NOT FRESH'}" for name, state in noop.items()
    )


def _of(found: Mapping[str, object], key: str) -> str:
    return f"{_median(found, key):.2f}" if found[key] else "?"


def _median(found: Mapping[str, object], key: str) -> float:
    inner = found[key]
    assert isinstance(inner, dict)
    return float(inner["median"])
