"""One checkout of a project, and what a cargo command in it did."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import oracle
from tests.support.counting import Calls
from tests.support.oracle import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import Sandbox

_BUILD_LIMIT_S = 300
_WORK = re.compile(r"^ *(Dirty|Compiling|Checking|Running `[^`]*rustc)", re.MULTILINE)
_TIMES = re.compile(r"(Finished\b.*) in [\d.]+m? ?[\d.]*s$|finished in [\d.]+s", re.MULTILINE)
_UNITS = re.compile(r"^ +(Compiling|Checking) .*\n", re.MULTILINE)
_FIRST_TIME = re.compile(r"^ +(Locking|Adding) .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Built:
    """What one cargo command did.

    Attributes:
        exit_code: cargo's.
        stdout, stderr: what it printed.
        calls: the rustc calls it made through kache.
    """

    checkout: Checkout
    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    calls: Calls

    def expect(self, **wanted: int | str | None) -> Built:
        """Compare the calls with what should have happened, see `Calls.expect`.

        Where warm start serves, what should be a hit may be in place before it is asked for.
        """
        if self.checkout.box.is_warm:
            wanted = {**wanted, "hits": None}
        try:
            self.calls.expect(**wanted)
        except AssertionError as error:
            raise AssertionError(f"{' '.join(self.argv)} in {self.checkout.path}: {error}\n{self.stderr}") from None
        return self

    @property
    def messages(self) -> str:
        """What cargo printed on stderr, without the times it took and what it did for the lock file.

        Where warm start serves, cargo finds fresh what it would compile else, and names fewer units.
        """
        told = _FIRST_TIME.sub("", _TIMES.sub(r"\1", self.stderr))
        return _UNITS.sub("", told) if self.checkout.box.is_warm else told

    @functools.cached_property
    def json(self) -> list[dict[str, Any]]:
        """Documents of --message-format=json, in a stable order."""
        documents = [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]
        # Whether cargo ran a unit is no message of the compiler.
        for document in documents:
            document.pop("fresh", None)
        return sorted(documents, key=lambda document: json.dumps(document, sort_keys=True))


class Checkout:
    """A project's directory.

    Args:
        box: whose it is.
        path: the workspace root.
    """

    def __init__(self, box: Sandbox, path: Path) -> None:
        self.box = box
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @property
    def target(self) -> Path:
        """The target directory."""
        return self.path / "target"

    # ---- the sources

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file, its directory included."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file, which then is newer than what was built of it."""
        text = (self.path / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))
        _after_the_clock(self.path / name)

    def touch(self, name: str) -> None:
        """Give a file a new date and nothing else."""
        (self.path / name).touch()
        _after_the_clock(self.path / name)

    # ---- cargo

    def cargo(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        fails: bool = False,
        cwd: str = ".",
        count: bool = True,
    ) -> Built:
        """Run cargo through kache.

        Args:
            words: its arguments.
            env: variables on top of the box's.
            fails: it must fail; otherwise it must succeed.
            cwd: where, below the checkout.
            count: attribute the calls recorded meanwhile to this command (not where two run at once).
        """
        argv = ("cargo", *words)
        done = subprocess.run(
            argv,
            cwd=self.path / cwd,
            env=self.box.env(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUILD_LIMIT_S,
            check=False,
        )
        calls = self.box.calls() if count else Calls(())
        built = Built(self, argv, done.returncode, done.stdout, done.stderr, calls)
        assert (done.returncode != 0) == fails, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return built

    def start(self, *words: str, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """Start cargo through kache and return while it runs; it leads a process group of its own."""
        return subprocess.Popen(
            ("cargo", *words),
            cwd=self.path,
            env=self.box.env(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )

    def build(self, *words: str, **how: Any) -> Built:
        """Run `cargo build`."""
        return self.cargo("build", *words, **how)

    def check(self, *words: str, **how: Any) -> Built:
        """Run `cargo check`."""
        return self.cargo("check", *words, **how)

    def test(self, *words: str, **how: Any) -> Built:
        """Run `cargo test`."""
        return self.cargo("test", *words, **how)

    def run(self, *words: str, **how: Any) -> str:
        """Run `cargo run --quiet` and give what the program printed."""
        return self.cargo("run", "--quiet", *words, **how).stdout

    def program(self, name: str, *words: str, profile: str = "debug") -> str:
        """Run a program of the target directory, without cargo, and give what it printed."""
        argv = [str(self.target / profile / name), *words]
        return subprocess.run(argv, cwd=self.path, capture_output=True, text=True, timeout=60, check=True).stdout

    def clean(self) -> Checkout:
        """Remove the target directory, as `cargo clean` does."""
        shutil.rmtree(self.target, ignore_errors=True)
        return self

    def fresh(self, *words: str) -> None:
        """Assert that nothing is left to do: cargo finds every unit fresh and does not call the wrapper."""
        built = self.cargo(*(words or ("build",)), "-v")
        work = _WORK.findall(built.stderr)
        assert not work and not built.calls.all, f"{self.path} is not fresh:\n{built.stderr}\n{built.calls}"

    # ---- oracles

    def outputs(self) -> Outputs:
        """What the target directory holds of compilers' outputs."""
        return oracle.outputs(self.target)

    def plain_outputs(self, *words: str, env: Mapping[str, str] | None = None) -> Outputs:
        """The same of a build here without kache, with the remap flags kache would have added."""
        with self._target_aside():
            wrapper = oracle.remapping_wrapper(self.box.root, self.box.sysroot)
            self.cargo(*words, env={"RUSTC_WRAPPER": str(wrapper), **(env or {})}, count=False)
            return self.outputs()

    def plain(self, *words: str, env: Mapping[str, str] | None = None, fails: bool = False) -> Built:
        """The same command here in an empty target without any wrapper: its messages, behaviour and exit status."""
        with self._target_aside():
            return self.cargo(*words, env={"RUSTC_WRAPPER": "", **(env or {})}, fails=fails, count=False)

    def same_bytes_as_plain(self, *words: str, env: Mapping[str, str] | None = None) -> Checkout:
        """Assert that every output is what a plain build with the same remap flags makes here."""
        ours = self.outputs()
        ours.same_as(self.plain_outputs(*(words or ("build",)), env=env))
        return self

    @contextmanager
    def _target_aside(self) -> Iterator[None]:
        """An empty target directory at the same place, for a while: paths are part of what compilers see."""
        aside = self.path / "target.aside"
        if self.target.exists():
            self.target.rename(aside)
        try:
            yield
        finally:
            shutil.rmtree(self.target, ignore_errors=True)
            if aside.exists():
                aside.rename(self.target)


def _after_the_clock(path: Path) -> None:
    """Wait until the filesystem's clock has moved on: cargo compares dates with the clock's own grain."""
    written = path.stat().st_mtime_ns
    probe = path.with_name(path.name + ".clock")
    while True:
        probe.touch()
        now = probe.stat().st_mtime_ns
        if now > written:
            break
        time.sleep(0.001)
    os.unlink(probe)
