"""What the documentation shows is so: blocks run, or pass the real parsers, or say why not; links lead somewhere.

A block of sh, console, toml or yaml has one of these, in a comment on the line above it:

    <!-- run -->               all such blocks of a page run as one script, in a tiny project in a scratch home
    <!-- not run: reason -->   its kache commands still pass the parser

or none, if every command in it is kache's own, and then the parsers of kache judge it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.cli.main import find_verb, parser_of
from kache.config.load import load
from kache.config.settings import SETTINGS
from kache.errors import UsageError
from tests.support.pages import ROOT, Block, anchors, blocks, commands, inline_commands, links
from tests.support.projects import hello
from tests.support.sandbox import KACHE, Sandbox
from tools import site_hooks

_GENERATED = ("docs/reference/", "docs/decisions/")
ALL_PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGES = [
    page for page in ALL_PAGES if page == "README.md" or (page.startswith("docs/") and not page.startswith(_GENERATED))
]
BLOCKS = [block for page in PAGES for block in blocks(page)]
CHECKED = [block for block in BLOCKS if block.language in ("sh", "console", "toml", "yaml")]
RUN_PAGES = sorted({block.page for block in BLOCKS if block.mark == "run"})
_PLAIN_WORDS = ("text", "mermaid", "dockerfile", "json")
_LIMIT_S = 240
_STEP = "@@ step"


def test_every_block_says_what_it_is() -> None:
    assert not [
        block.where for block in BLOCKS if block.language not in ("sh", "console", "toml", "yaml", *_PLAIN_WORDS)
    ]


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.where)
def test_a_block_is_run_or_checked_or_says_why_not(block: Block) -> None:
    if block.mark:
        assert block.mark == "run" or len(block.rest) > 10, "a reason, please"
        return
    if block.language == "toml":
        assert toml_complaints(block) == []
        return
    assert block.language in ("sh", "console"), "nothing here reads it: mark it"
    foreign = [words[0] for step, _ in block.steps for words in commands(step) if words[0] != "kache"]
    assert not foreign, "mark the block `run`, or `not run: reason`"


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.where)
def test_the_parser_takes_every_command_of_kache(block: Block) -> None:
    found = [words for step, _ in block.steps for words in commands(step) if words[0] == "kache"]
    assert [complaint for words in found if (complaint := complaint_about(words))] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_parser_takes_what_running_text_names(page: str) -> None:
    found = inline_commands(page)
    assert [complaint for words in found if (complaint := complaint_about(words, is_named=True))] == []


def test_variables_that_are_named_are_read_somewhere() -> None:
    pattern = re.compile(r"\bKACHE_[A-Z0-9_]*[A-Z0-9]\b")
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "native").glob("*/src/**/*.rs"), *(ROOT / "tools").glob("*.*")]
    sources += [*(ROOT / "action").rglob("*.sh"), *(ROOT / "action").rglob("*.yml")]
    sources += [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    code = "\n".join(path.read_text() for path in sources)
    known = {*pattern.findall(code), *(setting.env for setting in SETTINGS)}
    # What remote/credentials.py puts together from a prefix.
    known |= {"KACHE_S3_ACCESS_KEY", "KACHE_S3_SECRET_KEY", "KACHE_S3_SESSION_TOKEN"}
    for page in ALL_PAGES:
        named = set(pattern.findall((ROOT / page).read_text()))
        assert named <= known | {"KACHE_S3"}, page


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark == "frame"], ids=lambda block: block.where)
def test_a_frame_is_the_golden_one(block: Block) -> None:
    golden = [line.rstrip() for line in (ROOT / block.rest).read_text().splitlines()]
    assert [line.rstrip() for line in block.text.splitlines()] == golden, "make golden changed it: copy it here"


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(ROOT / page / ".." / path) if path else str(ROOT / page)
        if not Path(target).exists() or (anchor and anchor not in anchors(os.path.relpath(target, ROOT))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "json"], ids=lambda block: block.where
)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def test_the_navigation_has_every_page() -> None:
    listed = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    written = {page.removeprefix("docs/") for page in ALL_PAGES if page.startswith("docs/")}
    assert sorted(listed) == sorted(written | set(site_hooks.ELSEWHERE.values()))


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A scratch home with a daemon, and the cache where pages say it is."""
    made = Sandbox(Path(tempfile.mkdtemp(prefix="kache-docs-")))
    made.cache_dir = made.home / ".cache" / "kache"
    yield made
    made.close()
    made.remove()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git: pages make worktrees")
@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_blocks_of_a_page_run(page: str, box: Sandbox) -> None:
    steps = [(block, step, shown) for block in blocks(page) if block.mark == "run" for step, shown in block.steps]
    script = "".join(f"printf '\\n{_STEP} %s\\n' {number}\n{step}\n" for number, (_, step, _) in enumerate(steps))
    done = subprocess.run(
        ["sh", "-eu", "-c", f"exec 2>&1\n{script}"],
        cwd=repository(box),
        env=user_env(box),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    outputs = re.split(rf"^{_STEP} \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    last, step, _ = steps[len(outputs) - 1]
    assert done.returncode == 0, f"{last.where}\n{step}\n{outputs[-1]}\n{box.log()[-1000:]}"
    for (block, step, shown), output in zip(steps, outputs, strict=True):
        assert missing_lines(shown, output) == [], f"{block.where}: {step}\n{output}"


def repository(box: Sandbox) -> Path:
    """A tiny project under git, as readers have one."""
    made = box.checkout("hello", {**hello(), ".gitignore": "target\n"}).path
    who = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "init.defaultBranch=main")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "hello")):
        subprocess.run(["git", *who, *words], cwd=made, env=box.env(), check=True, capture_output=True)
    return made


def user_env(box: Sandbox) -> dict[str, str]:
    """The environment of somebody who has installed kache and set nothing."""
    env = box.env()
    del env["RUSTC_WRAPPER"]
    return {**env, "PATH": f"{KACHE.parent}{os.pathsep}{env['PATH']}"}


def missing_lines(shown: str, output: str) -> list[str]:
    """Lines a page shows that did not come; blanks and `…` do not count."""
    came = {" ".join(line.split()) for line in output.splitlines()}
    return [line for line in shown.splitlines() if line.strip() != "…" and " ".join(line.split()) not in came]


def toml_complaints(block: Block) -> list[str]:
    """What the reader of settings says of a block."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "config.toml")
        path.write_text(block.text)
        config = load({"HOME": scratch, "KACHE_CONFIG": str(path)}, None)
    return [f"{problem.origin}: {problem.what}" for problem in config.problems] if config.files else ["not read"]


def complaint_about(words: list[str], *, is_named: bool = False) -> str:
    """Why the command line would not take some words; empty if it would.

    Running text names commands without all they need: `kache sync`, `kache config set`.
    """
    rest = [word for word in words[1:] if word != "…"]
    # The launcher answers some by itself, and a compiler's name is no verb.
    if not rest or rest[0] in ("--help", "--version", "rustc", "COMMAND"):
        return ""
    try:
        verb = find_verb(rest[0])
        args = parser_of(verb)[0].parse_args(rest[1:])
    except UsageError as error:
        return "" if is_named and "required" in error.what else f"{words}: {error.what}"
    except SystemExit:  # --help
        return ""
    return setting_complaint(vars(args)) if verb.name == "config" else ""


def setting_complaint(args: dict[str, object]) -> str:
    """Whether `kache config` names a setting, and a value it takes."""
    key, value = args.get("key"), args.get("value")
    if key is None:
        return ""
    setting = next((setting for setting in SETTINGS if setting.name == key and not setting.env_only), None)
    if setting is None:
        return f"no setting {key}"
    try:
        if value is not None:
            setting.parse(value)
    except ValueError as error:
        return f"{key} = {value!r} is not {error}"
    return ""
