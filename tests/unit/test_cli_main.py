"""The dispatch: every verb explains itself, wrong usage is one clear error, and nothing unused is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kache.cli.main import main, overview, parser_of
from kache.cli.verbs import VERBS, Verb

GOLDEN = Path(__file__).parents[1] / "golden" / "help"
HELP_TEXTS = {verb.name: verb for verb in VERBS}


@pytest.mark.parametrize("name", ["overview", *HELP_TEXTS])
def test_help_is_golden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`UPDATE_GOLDEN=1 pytest tests/unit/test_cli_main.py` writes the files anew."""
    monkeypatch.setenv("COLUMNS", "100")
    text = overview() + "\n" if name == "overview" else parser_of(HELP_TEXTS[name])[0].format_help()
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_examples_and_json(verb: Verb) -> None:
    parser, command = parser_of(verb)
    assert "--json" in parser.format_help()
    assert all(line.startswith(f"kache {verb.name}") for line, _ in command.EXAMPLES)
    assert verb.help.endswith(".")


def test_golden_has_no_file_of_a_verb_that_went() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {"overview", *HELP_TEXTS}


def test_mistyped_verb_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error[usage]: kache has no command 'stat'\nfix: did you mean kache stats?\n"


@pytest.mark.parametrize("words", [["--json", "list", "--sort", "odd"], ["list", "--sort", "odd", "--json"]])
def test_wrong_usage_is_json_when_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["schema_version"], document["command"], document["success"]) == (1, "list", False)
    assert document["error"]["code"] == "usage"
    assert set(document["error"]) == {"code", "message", "why", "fix", "next"}


def test_bad_duration_says_what_would_be_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--since", "soon"]) == 2
    assert "90s, 30m, 3h" in capsys.readouterr().err


def test_version_and_bare_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "kache 0.1.0\n"
    assert main([]) == 0
    assert capsys.readouterr().out == overview() + "\n"
    assert main(["--json", "--version"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == {"version": "0.1.0"}


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("kache.cli.session.load", broken)
    assert main(["stats", "--json"]) == 3
    out, err = capsys.readouterr()
    assert "Traceback" in err and "unforeseen" in err
    assert json.loads(out)["error"]["code"] == "internal"


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kache.cli.session.load", interrupted)
    assert main(["stats"]) == 130


def test_stats_imports_no_engine() -> None:
    program = (
        "import sys; from kache.cli.main import main; main(['stats']);"
        "bad = ('kache.engine', 'kache.store', 'kache.daemon', 'asyncio', 'uvloop', 'msgspec', 'blake3', 'rich');"
        "sys.exit(' '.join(m for m in sys.modules if m in bad or m.startswith(tuple(b + '.' for b in bad))) or None)"
    )
    env = {**os.environ, "KACHE_CACHE_DIR": "/nonexistent/kache"}
    run = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
