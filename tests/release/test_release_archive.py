"""The archive with one program: installers put it somewhere, its first command installs the package that is inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from kache import __version__
from tests.support.dist import OWNER, Dist, serving
from tests.support.github_job import GitHubCaches, GitHubJob
from tests.support.projects import hello
from tests.support.sandbox import Sandbox
from tools import archive
from tools.servers import ServersError, installed

TAG = f"v{__version__}"


def program(name: str) -> Path:
    """An installer, got once for this machine."""
    if os.environ.get("KACHE_NO_SERVERS") == "1":
        pytest.skip("KACHE_NO_SERVERS=1")
    try:
        return installed(name)
    except ServersError as error:
        pytest.skip(str(error))


def releases(dist: Dist, url: str) -> dict[str, bytes]:
    """A forge's pages of one release: its API, and the files."""
    content = {
        path.name: path.read_bytes() for path in (dist.archive, dist.archive.with_name(f"{dist.archive.name}.sha256"))
    }
    below = f"/{OWNER}/kache/releases/download/{TAG}"
    assets = [
        {"name": name, "url": f"{url}{below}/{name}", "browser_download_url": f"{url}{below}/{name}", "size": len(data)}
        for name, data in content.items()
    ]
    day = "2026-01-01T00:00:00Z"
    release = {"tag_name": TAG, "name": TAG, "draft": False, "prerelease": False, "assets": assets}
    release |= {"created_at": day, "published_at": day}
    api = f"/api/v3/repos/{OWNER}/kache/releases"
    pages = {api: [release], f"{api}/latest": release, f"{api}/tags/{TAG}": release}
    return {
        **{path: json.dumps(page).encode() for path, page in pages.items()},
        **{f"{below}/{name}": data for name, data in content.items()},
    }


def run(kache: Path | str, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [kache, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


def unpacked(dist: Dist, machine: Sandbox) -> Path:
    shutil.unpack_archive(dist.archive, machine.root / "bin")
    return machine.root / "bin" / f"kache-{__version__}-{archive.triple()}" / "kache"


def test_it_holds_one_program_and_the_licences_and_is_the_same_twice(dist: Dist, tmp_path: Path) -> None:
    with tarfile.open(dist.archive) as packed:
        names = {Path(name).name: packed.getmember(name).mode for name in packed.getnames()}
    assert names == {"kache": 0o755, **dict.fromkeys(archive.BESIDE, 0o644)}
    again = archive.release_archive(dist.wheel, tmp_path, archive.ROOT / "build" / "archive")
    assert again.read_bytes() == dist.archive.read_bytes()


def test_mise_installs_it_from_a_release(dist: Dist, machine: Sandbox, newcomer: dict[str, str]) -> None:
    mise = program("mise")
    env = newcomer | {"MISE_YES": "1"}
    with serving(lambda url, _: releases(dist, url)) as url:
        used = run(mise, "use", "-g", f"github:{OWNER}/kache[api_url={url}/api/v3]", env=env)
    assert used.returncode == 0, used.stderr
    told = run(mise, "exec", "--", "kache", "--version", env=env)
    assert told.stdout == f"kache {__version__}\n", told.stderr


def test_cargo_binstall_installs_it_from_a_release(dist: Dist, machine: Sandbox, newcomer: dict[str, str]) -> None:
    """And then the whole life of it: a compile that passes, the first command that installs, hits, doctor, init."""
    binstall = program("cargo-binstall")
    with serving(lambda url, _: releases(dist, url), tls=machine.root) as url:
        place = f"{url}/{OWNER}/kache/releases/download/v{{ version }}/kache-{{ version }}-{{ target }}.tar.gz"
        words = ["--no-confirm", "--disable-telemetry", "--root-certificates", str(machine.root / "ca.pem")]
        words += [
            "--manifest-path",
            str(archive.LAUNCHER),
            "--pkg-url",
            place,
            "--strategies",
            "crate-meta-data",
            "kache",
        ]
        done = run(binstall, *words, env=newcomer)
    assert done.returncode == 0, done.stdout + done.stderr
    kache = machine.cargo_home / "bin" / "kache"
    env = newcomer | {"RUSTC_WRAPPER": str(kache), "PATH": f"{kache.parent}{os.pathsep}{newcomer['PATH']}"}
    project = machine.checkout("work", hello()).path
    # A compile installs nothing: it is rustc's own.
    built = subprocess.run(
        ["cargo", "build", "--quiet"], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    assert built.stderr == "" and not (machine.home / ".local" / "share" / "kache").exists()
    first = run(kache, "stats", "--json", env=env)
    assert "first use of this version" in first.stderr and json.loads(first.stdout)["data"]["outcomes"]["miss"] == 0
    assert run(kache, "stats", "--json", env=env).stderr == ""
    probe = run(kache, "doctor", "--probe", env=env)
    assert "probe: a tiny crate compiled in one checkout was a hit in another" in probe.stdout, probe.stdout
    assert "another kache comes first" not in probe.stdout
    del env["RUSTC_WRAPPER"]
    planned = run(kache, "init", "--check", "--no-service", "--json", env=env)
    assert str(kache) in planned.stdout, "init names the program that binstall put there"


def test_commands_that_come_at_once_install_it_once(dist: Dist, machine: Sandbox, newcomer: dict[str, str]) -> None:
    kache = unpacked(dist, machine)
    both = [
        subprocess.Popen(
            [kache, "stats", "--json"], env=newcomer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("first use" in errors for _, errors in said) == 1
    assert [json.loads(output)["success"] for output, _ in said] == [True, True]


@pytest.mark.parametrize(
    ("more", "code"),
    [({"PATH": "/nonexistent"}, "no-python"), ({"PIP_NO_INDEX": "1"}, "not-installed")],
    ids=["no Python", "no package index"],
)
def test_what_hinders_the_first_command_is_said_and_compiles_go_on(
    dist: Dist, machine: Sandbox, newcomer: dict[str, str], more: dict[str, str], code: str
) -> None:
    kache = unpacked(dist, machine)
    failed = run(kache, "stats", env=newcomer | more)
    assert failed.returncode != 0 and f"error[{code}]: " in failed.stderr
    assert all(line in failed.stderr for line in ("\nwhy: ", "\nfix: "))
    rustc = shutil.which("rustc", path=newcomer["PATH"])
    assert run(kache, str(rustc), "--version", env=newcomer).stdout.startswith("rustc ")


def test_the_github_action_takes_the_release_of_its_tag(
    dist: Dist, machine: Sandbox, newcomer: dict[str, str], tmp_path: Path
) -> None:
    with serving(lambda url, _: releases(dist, url)) as url:
        job = GitHubJob(
            machine,
            machine.checkout("work", hello()).path,
            GitHubCaches(tmp_path / "caches"),
            GITHUB_SERVER_URL=url,
            PIP_CACHE_DIR=newcomer["PIP_CACHE_DIR"],
        )
        job.github = {"action_ref": TAG, "action_repository": f"{OWNER}/kache"}
        ended = job.use("action", run="cargo build").succeeded()
    assert f"kache {__version__} of release {TAG}" in ended.log
    assert "| 0 of 2 (0 %) | 2 |" in job.summary
