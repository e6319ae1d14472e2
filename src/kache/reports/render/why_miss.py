"""`kache why-miss` for people."""

from __future__ import annotations

import string
from collections import Counter

from kache.reports.reasons import meaning_of
from kache.reports.render.text import human_duration, plural
from kache.reports.why_miss import Change, Explanation, Report

_SHOWN_CHANGES = 10
_VALUE_WIDTH = 60
_DIGEST_CHARS = 12
_CAUSES = {
    "first-compile": "first compile of this unit",
    "failed": "it failed, and what it had read is not known",
    "entry-gone": "the same inputs were compiled before; that entry was evicted, purged or never stored",
    "not-recorded": "its inputs were not recorded",
}
_NOT_FETCHED = {
    "absent": "not there",
    "slower": "slower than compiling",
    "late": "too late",
    "failed": "failed (kache remote status)",
    "refused": "not to be trusted (kache keys list)",
}


def to_text(report: Report, crate_name: str | None, now_ns: int) -> str:
    """One paragraph a call."""
    subject = f"crate {crate_name}" if crate_name else "any build"
    if not report.seen:
        near = f"; did you mean {report.near}?" if report.near else ""
        return f"kache has seen no compile of {subject}{near}"
    if not report.explanations:
        return f"all of {plural(report.seen, 'call')} were hits"
    paragraphs = Counter(_paragraph(explanation, now_ns) for explanation in report.explanations)
    lines = [text if count == 1 else _often(text, count) for text, count in paragraphs.items()]
    if report.not_fetched:
        told = ", ".join(f"{count} {_NOT_FETCHED.get(why, why)}" for why, count in report.not_fetched.items())
        lines.append(f"looked for in the remote and not fetched: {told}")
    return "\n".join([report.name, *lines] if report.name else lines)


def _often(text: str, count: int) -> str:
    first, newline, rest = text.partition("\n")
    return f"{first} ({count} times){newline}{rest}"


def _paragraph(explanation: Explanation, now_ns: int) -> str:
    name = explanation.crate_name or "(no crate)"
    if explanation.unit_kind == "build-script" and explanation.package:
        name = explanation.package
    unit = f"{name} {explanation.unit_kind}".strip()
    if explanation.cause in ("passthrough", "error"):
        meaning = meaning_of(explanation.reason)
        told = f"{unit}: {explanation.cause}, {explanation.reason or 'no reason recorded'}"
        return f"{told}\n  {meaning}" if meaning else told
    if explanation.cause == "unseeded":
        about = "".join(f", {change.kind} {change.label}" for change in explanation.changes)
        return f"{unit}: not put into the target beforehand, {explanation.reason}{about}"
    if explanation.cause in _CAUSES:
        reason = f" ({explanation.reason})" if explanation.reason else ""
        return f"{unit}: {_CAUSES[explanation.cause]}{reason}"
    then_ns = now_ns if explanation.compared_with_ns is None else explanation.compared_with_ns
    age = human_duration(max(now_ns - then_ns, 0) / 1e9)
    changed = f"{plural(len(explanation.changes), 'input')} changed since the compile {age} ago"
    lines = [f"{unit}: {changed}{f' ({explanation.reason})' if explanation.reason else ''}"]
    if explanation.first_cause:
        lines.append(f"  it follows from {explanation.first_cause}")
    lines += [f"  {_line(change)}" for change in explanation.changes[:_SHOWN_CHANGES]]
    hidden = len(explanation.changes) - _SHOWN_CHANGES
    if hidden > 0:
        lines.append(f"  and {hidden} more; --json has them all")
    return "\n".join(lines)


def _line(change: Change) -> str:
    return f"{change.kind} {change.label}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: str | None) -> str:
    if value is None:
        return "absent"
    if len(value) >= 32 and not value.strip(string.hexdigits):
        return value[:_DIGEST_CHARS]
    short = value if len(value) <= _VALUE_WIDTH else f"{value[: _VALUE_WIDTH - 3]}..."
    return short or '""'
