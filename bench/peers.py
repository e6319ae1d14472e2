"""Other compile caches, installed from the registry into a root of their own, measured in the same run.

A peer that is not installed is named as absent in the result: no figure is ever taken from an earlier run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.arms import Arm, PlainArm
from bench.errors import BenchError
from bench.usage import tail


@dataclass(frozen=True)
class Peer:
    """A published compile cache.

    Attributes:
        crate: its name in the registry.
        version: the version measured.
        program: the binary that shows it is installed.
    """

    crate: str
    version: str
    program: str

    @property
    def label(self) -> str:
        """The name in results."""
        return f"{self.crate}-{self.version}"

    def root(self, work: Path) -> Path:
        """Where it is installed: each peer has its own root, since one of them owns the name `kache` too."""
        return work / "peers" / self.label

    def binary(self, work: Path) -> Path:
        """Return the path of its program."""
        return self.root(work) / "bin" / self.program


PEERS = (Peer("sccache", "0.19.0", "sccache"), Peer("kache", "2.0.0", "kache"), Peer("mbx", "1.29.1", "mbx"))


def install(work: Path, env: Mapping[str, str], jobs: int) -> list[str]:
    """Install what is missing with `cargo install`, at the lowest priority; return one line a peer.

    A peer that does not build is reported and left out; the others go on.
    """
    lines = []
    for peer in PEERS:
        if peer.binary(work).is_file():
            lines.append(f"{peer.label}: already installed")
            continue
        print(f"installing {peer.label} …", file=sys.stderr, flush=True)
        lines.append(f"{peer.label}: {_install(peer, work, env, jobs)}")
    shutil.rmtree(work / "peers" / "target", ignore_errors=True)
    return lines


def _install(peer: Peer, work: Path, env: Mapping[str, str], jobs: int) -> str:
    """Install one peer with its own lock file, or without where the registry lacks a version that file names."""
    argv = ["nice", "-n", "19", "cargo", "install", peer.crate, "--version", peer.version]
    # One target directory for all: they share dependencies.
    argv += ["--root", str(peer.root(work)), "--target-dir", str(work / "peers" / "target"), "--jobs", str(jobs)]
    done = _cargo([*argv, "--locked"], env, work)
    if done.returncode and "failed to select a version" in done.stderr:
        done = _cargo(argv, env, work)
        if done.returncode == 0:
            return "installed, with dependencies newer or older than its lock file names"
    return "installed" if done.returncode == 0 else f"FAILED\n{tail(done.stderr)}"


def _cargo(argv: list[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


class PeerArm(PlainArm):
    """A peer used as it asks to be: environment, command, and how its daemon ends."""

    def __init__(
        self,
        name: str,
        base_env: Mapping[str, str],
        directory: Path,
        own_env: Callable[[Path], dict[str, str]],
        cargo: list[str],
        stop: list[str],
    ) -> None:
        super().__init__(base_env)
        self.name = name
        self.cargo = cargo
        self._directory = directory
        self._own_env = own_env
        self._stop = stop
        self.dropped: tuple[str, ...] = ()

    def env(self, checkout: Path) -> dict[str, str]:
        """Return the environment of a build through the peer, its state kept in the arm's directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        env = self._base_env | self._own_env(self._directory)
        return {name: value for name, value in env.items() if name not in self.dropped}

    def reset(self) -> None:
        """End its daemon and remove its state."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def stop(self) -> None:
        """Ask its daemon to end."""
        if self._stop and self._directory.is_dir():
            subprocess.run(
                self._stop,
                env=self.env(self._directory),
                cwd=self._directory,
                capture_output=True,
                check=False,
                timeout=60,
            )


def arms(work: Path, base_env: Mapping[str, str], *, seeding: bool = False) -> tuple[list[Arm], list[str]]:
    """Return the arms of the installed peers, and the labels of the absent ones.

    Args:
        work: where they are installed.
        base_env: of a plain build.
        seeding: with what a peer puts into a target before cargo asks; without, its per-unit path is measured.
    """
    present: list[Arm] = []
    absent: list[str] = []
    for peer in PEERS:
        if peer.binary(work).is_file():
            present.append(_arm(peer, work, base_env, {} if seeding else _NO_SEEDING.get(peer.crate, {})))
        else:
            absent.append(peer.label)
    return present, absent


def is_installed(crate: str, work: Path) -> bool:
    """Whether a peer can be measured."""
    return any(peer.crate == crate and peer.binary(work).is_file() for peer in PEERS)


def with_bucket(work: Path, base_env: Mapping[str, str], bucket: Mapping[str, str]) -> PeerArm:
    """Make an arm of sccache with a store in a bucket in place of its directory.

    Args:
        work: where it is installed.
        base_env: of a plain build.
        bucket: variables that name the bucket.
    """
    peer = next(peer for peer in PEERS if peer.crate == "sccache")
    arm = _arm(peer, work, {**base_env, **bucket}, {})
    # With a directory of its own beside the bucket it would not ask the bucket alone.
    arm.dropped = ("SCCACHE_DIR",)
    return arm


_NO_SEEDING = {
    # It copies whole registry units out of the first checkout's target before cargo asks.
    "kache": {"KACHE_SEED_NEW_TARGETS": "0"},
    # Managed targets outlive `rm -r target`: with them an empty target is none.
    "mbx": {"MBX_TARGET_VIEWS": "false"},
}


def _arm(peer: Peer, work: Path, base_env: Mapping[str, str], more: Mapping[str, str]) -> PeerArm:
    program = str(peer.binary(work))
    state = work / "state" / peer.label
    if peer.crate == "sccache":
        # basedirs: without it every path dependency misses in another checkout.
        return PeerArm(
            peer.label,
            base_env,
            state,
            lambda home: {
                "RUSTC_WRAPPER": program,
                "SCCACHE_DIR": str(home / "cache"),
                "SCCACHE_CONF": str(home / "none.toml"),
                "SCCACHE_SERVER_UDS": str(home / "s.sock"),
                "SCCACHE_BASEDIRS": str(work / "checkouts"),
                "SCCACHE_CACHE_SIZE": "50G",
            },
            ["cargo"],
            [program, "--stop-server"],
        )
    if peer.crate == "kache":
        return PeerArm(
            peer.label,
            base_env,
            state,
            lambda home: {
                "RUSTC_WRAPPER": program,
                "KACHE_CACHE_DIR": str(home / "cache"),
                "KACHE_RUNTIME_DIR": str(home / "run"),
                "KACHE_CONFIG": _empty(home / "config.toml"),
                "KACHE_LOCAL_ONLY": "1",
                **more,
            },
            ["cargo"],
            [program, "daemon", "stop"],
        )
    return PeerArm(
        peer.label,
        base_env,
        state,
        lambda home: {
            "MBX_CACHE_DIR": str(home / "cache"),
            "MBX_DISPLAY": "plain",
            "XDG_CONFIG_HOME": str(home / "config"),
            **more,
        },
        [program],
        [],
    )


def _empty(path: Path) -> str:
    if not path.exists():
        path.write_text("")
    return str(path)


def main(work: Path, env: Mapping[str, str]) -> int:
    """Install the peers and say how it went."""
    work.mkdir(parents=True, exist_ok=True)
    lines = install(work, env, max(1, (os.cpu_count() or 2) // 2))
    print("\n".join(lines))
    if not any(peer.binary(work).is_file() for peer in PEERS):
        raise BenchError("no peer could be installed", "see above", "check the network and cargo's registry settings")
    return 0
