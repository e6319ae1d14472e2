"""`kache init --cargo-shim` and `--git-hooks`: both beside what is there, and gone without a trace after `--undo`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.init_box import WRAPPER, InitBox

HOOKS = ("post-checkout", "post-merge", "post-rewrite")
_LIMIT_S = 60


@pytest.fixture
def box(tmp_path: Path) -> InitBox:
    return InitBox(tmp_path)


def git(box: InitBox, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", *words],
        cwd=cwd or box.cwd,
        env=box.env(names),
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


def repository(box: InitBox) -> Path:
    """A crate in a repository with two branches; its directory of hooks."""
    for words in (("init", "-q", "-b", "main"), ("commit", "-q", "--allow-empty", "-m", "one"), ("branch", "other")):
        assert git(box, *words).returncode == 0
    (box.cwd / "Cargo.toml").write_text('[package]\nname = "x"\n')
    return box.cwd / ".git" / "hooks"


def script(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def a_shell_hook(hooks: Path) -> None:
    script(hooks / "post-checkout", '#!/bin/sh\necho "old $@" >>old.log\nexit 3\n', 0o750)


def a_disabled_hook(hooks: Path) -> None:
    script(hooks / "post-merge", "#!/bin/sh\necho never >>old.log\n", 0o644)


def a_hook_with_input(hooks: Path) -> None:
    script(hooks / "post-rewrite", '#!/usr/bin/env python3\nimport sys\nopen("old.log", "a").write(sys.stdin.read())\n')


def no_directory(hooks: Path) -> None:
    for each in hooks.iterdir():
        each.unlink()
    hooks.rmdir()


@pytest.mark.parametrize("start", [lambda hooks: None, a_shell_hook, a_disabled_hook, a_hook_with_input, no_directory])
def test_hooks_twice_and_undo_leave_what_was(box: InitBox, start: object) -> None:
    start(repository(box))  # type: ignore[operator]
    before = box.tree()
    first = box.init("--yes", "--git-hooks")
    assert first.returncode == 0, first.stderr
    assert all((box.cwd / ".git/hooks" / name).stat().st_mode & 0o111 for name in HOOKS)
    between = box.tree()
    assert "nothing to change" in box.init("--yes", "--git-hooks").stdout
    assert "done     git-hooks" in box.init("--yes").stdout  # what an earlier run made is looked after
    assert box.tree() == between
    undone = box.init("--undo", "--yes")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert box.tree() == before


def test_the_hook_that_was_there_runs_with_its_words_and_its_status_counts(box: InitBox) -> None:
    a_shell_hook(repository(box))
    plain = git(box, "checkout", "other")
    box.init("--yes", "--git-hooks")
    done = git(box, "checkout", "main")
    assert done.returncode == plain.returncode != 0
    first, second = (box.cwd / "old.log").read_text().splitlines()
    assert first == second and first.startswith("old ") and first.endswith(" 1")


def test_the_hook_that_was_there_gets_its_input(box: InitBox) -> None:
    a_hook_with_input(repository(box))
    box.init("--yes", "--git-hooks")
    assert git(box, "commit", "--amend", "-q", "--allow-empty", "-m", "two").returncode == 0
    old, new = (box.cwd / "old.log").read_text().split()
    assert len(old) == len(new) == 40 and old != new


def test_a_hook_asks_for_a_prefetch_and_git_never_hears_of_it(box: InitBox) -> None:
    """The launcher a hook names is asked: one that writes its words down stands where an installed one would."""
    hooks = repository(box)
    box.init("--yes", "--git-hooks")
    hook = hooks / "post-checkout"
    asked = box.root / "asked"
    os.mkfifo(asked)
    script(box.root / "kache", f'#!/bin/sh\necho noise; echo "$@" >"{asked}"; exit 9\n')
    hook.write_text(hook.read_text().replace(WRAPPER, str(box.root / "kache")))
    git(box, "add", "Cargo.toml")
    git(box, "checkout", "-q", "--", "Cargo.toml")  # a file, not a branch: nothing is asked
    done = git(box, "checkout", "-q", "other")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert asked.read_text() == "prefetch --quiet --background\n"


def test_a_worktree_has_the_hooks_of_its_repository(box: InitBox) -> None:
    hooks = repository(box)
    tree = box.root / "work" / "tree"
    git(box, "worktree", "add", "-q", str(tree), "other")
    done = subprocess.run(
        [WRAPPER, "init", "--no-probe", "--yes", "--git-hooks"],
        cwd=tree,
        env=box.env(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (hooks / "post-merge").exists()


def test_hooks_go_where_the_users_hooks_path_leads_and_it_stays(box: InitBox) -> None:
    repository(box)
    shared = box.home / "hooks"
    shared.mkdir()
    git(box, "config", "core.hooksPath", str(shared))
    done = box.init("--yes", "--git-hooks")
    assert (shared / "post-checkout").exists() and "serve other repositories too" in done.stderr
    assert git(box, "config", "core.hooksPath").stdout.strip() == str(shared)
    box.init("--undo", "--yes")
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("kind", ["no repository", "in the checkout", "a link"])
def test_where_hooks_cannot_be_it_says_why_and_the_rest_goes_on(box: InitBox, kind: str) -> None:
    why = {
        "no repository": "is in no git checkout",
        "in the checkout": "which is everybody's; add there: kache prefetch",
        "a link": "is a symbolic link; add to what it leads to",
    }[kind]
    if kind != "no repository":
        hooks = repository(box)
        if kind == "a link":
            (box.cwd / "mine").write_text("#!/bin/sh\n")
            hooks.mkdir(exist_ok=True)
            (hooks / "post-merge").symlink_to(box.cwd / "mine")
        else:
            git(box, "config", "core.hooksPath", ".husky")
    before = box.tree()
    done = box.init("--yes", "--git-hooks")
    assert done.returncode == 0 and why in done.stderr
    assert box.config.exists()
    box.init("--undo", "--yes")
    assert box.tree() == before


def test_hooks_that_a_manager_moved_away_are_known(box: InitBox) -> None:
    hooks = repository(box)
    box.init("--yes", "--git-hooks")
    for name in HOOKS:  # as `pre-commit install` does
        (hooks / name).rename(hooks / f"{name}.legacy")
        script(hooks / name, '#!/bin/sh\n"$0.legacy" "$@"\n')
    assert box.init("--check", "--git-hooks").returncode == 0


# ---- the shim


def shimmed(box: InitBox, *words: str) -> subprocess.CompletedProcess[str]:
    """`cargo WORDS…` as a shell finds it with the shim first on PATH."""
    shims = box.home / ".local/share/kache/shims"
    env = box.env({"PATH": f"{shims}:{os.environ['PATH']}", "KACHE_SUMMARY": "always"})
    return subprocess.run(
        [str(shims / "cargo"), *words],
        cwd=box.cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


def crate(box: InitBox) -> None:
    (box.cwd / "src").mkdir()
    (box.cwd / "src/lib.rs").write_text("")
    (box.cwd / "Cargo.toml").write_text('[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n')


def test_the_shim_twice_and_undo_leave_what_was(box: InitBox) -> None:
    before = box.tree()
    first = box.init("--yes", "--cargo-shim")
    shim = box.home / ".local/share/kache/shims/cargo"
    assert first.returncode == 0 and f'export PATH="{shim.parent}:$PATH"' in first.stderr
    between = box.tree()
    assert "nothing to change" in box.init("--yes", "--cargo-shim").stdout
    shim.chmod(0o644)
    assert "change   cargo-shim" in box.init("--check").stdout  # what an earlier run made is repaired
    box.init("--yes")
    assert box.tree() == between
    assert box.init("--undo", "--yes").returncode == 0
    assert box.tree() == before


def test_the_shim_builds_by_kache_and_leaves_the_rest_to_cargo(box: InitBox) -> None:
    crate(box)
    box.init("--yes", "--cargo-shim")
    built = shimmed(box, "build")
    assert built.returncode == 0 and "kache: 0 of 1 compile from the cache" in built.stderr
    plain = subprocess.run(["cargo", "--version"], env=box.env(), capture_output=True, text=True, check=True)
    asked = shimmed(box, "--version")
    assert (asked.stdout, asked.stderr) == (plain.stdout, "")
    failed = shimmed(box, "build", "--no-such-flag")
    assert failed.returncode == 1 and "--no-such-flag" in failed.stderr


def test_a_shim_whose_kache_is_gone_is_cargo(box: InitBox) -> None:
    crate(box)
    box.init("--yes", "--cargo-shim")
    shim = box.home / ".local/share/kache/shims/cargo"
    shim.write_text(shim.read_text().replace(WRAPPER, "/gone/kache"))
    box.config.unlink()
    built = shimmed(box, "build")
    assert built.returncode == 0 and "kache:" not in built.stderr


def test_doctor_knows_the_shim(box: InitBox) -> None:
    box.init("--yes", "--cargo-shim")
    box.config.unlink()
    shims = box.home / ".local/share/kache/shims"
    done = box.run("doctor", env={"PATH": f"{shims}:{os.environ['PATH']}"})
    assert "cargo is kache's shim" in done.stdout
