"""Builds of pull requests: they read what everybody reads, and write nothing, or where nobody else reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import boto3
import pytest

from tests.support.machines import Machines, public_key, pushed, waiting
from tests.support.projects import Files, chain
from tests.support.sandbox import Sandbox
from tests.support.servers.s3 import ACCESS, SECRET, S3Server

GITHUB = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "me/it", "GITHUB_REF": "refs/pull/7/merge"}
OWN = {"KACHE_REMOTE_PULL_REQUESTS": "own"}


def proposed(text: str = "// changed\n") -> Files:
    files = chain()
    files["app/src/main.rs"] += text
    return files


def proposal(machines: Machines, main: Sandbox, secret: str, **settings: str) -> Sandbox:
    """A job of a pull request: it trusts main's key, and has one that main does not trust."""
    trusted = {"KACHE_REMOTE_TRUSTED_KEYS": public_key(main), "KACHE_REMOTE_SIGNING_KEY": secret}
    return machines.make(**trusted, **{**OWN, **settings})


@pytest.fixture
def main(machines: Machines) -> Sandbox:
    writer = machines.writer()
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    return writer


@pytest.fixture
def secret(machines: Machines) -> str:
    return str(machines.make().data("keys", "generate", "--secret")["secret"])


@pytest.mark.parametrize("told", [GITHUB, {"KACHE_PULL_REQUEST": "7"}], ids=["github", "explicit"])
def test_a_pull_request_writes_where_it_alone_reads(
    machines: Machines, main: Sandbox, secret: str, told: dict[str, str]
) -> None:
    """Guards main: what a proposal compiled serves its next build, and nobody else's."""
    first = proposal(machines, main, secret, **told)
    first.checkout("b", proposed()).build().expect(hits="leaf mid", misses="app")
    pushed(first)
    status = first.data("remote", "status")
    assert "/pull/" in status["own_namespace"] and status["signs_as"]
    assert first.data("stats")["remote"]["puts"]["stored"] == 1
    again = proposal(machines, main, secret, **told)
    second = again.checkout("c", proposed())
    second.build().expect(hits="leaf mid app", misses=0)
    second.same_bytes_as_plain()
    other = proposal(machines, main, secret, KACHE_PULL_REQUEST="8")
    other.checkout("d", proposed()).build().expect(hits="leaf mid", misses="app")
    everybody = machines.reader(main)
    everybody.checkout("e", proposed()).build().expect(hits="leaf mid", misses="app")


def test_what_a_pull_request_signed_is_nothing_in_mains_place(machines: Machines, main: Sandbox, secret: str) -> None:
    """Guards against copies: also where main trusts the key by mistake, its signatures are for the namespace alone."""
    box = proposal(machines, main, secret, **GITHUB)
    box.checkout("b", proposed()).build().expect(misses="app", hits=2)
    pushed(box)
    root = Path(machines.remote.removeprefix("file://"))
    (own,) = (root / "pull").iterdir()
    shutil.copytree(own / "v1", root / "v1", dirs_exist_ok=True)
    careless = machines.reader(main)
    careless.data("keys", "trust", public_key(box), "--label", "by mistake")
    careless.checkout("c", proposed()).build().expect(hits="leaf mid", misses="app")


def test_a_pull_request_of_another_machine_of_ours_sends_by_sync_too(
    machines: Machines, main: Sandbox, secret: str
) -> None:
    box = proposal(machines, main, secret, KACHE_PULL_REQUEST="9")
    checkout = box.checkout("b", proposed())
    box.settings["KACHE_LOCAL_ONLY"] = "1"
    checkout.build().expect(misses=3)
    del box.settings["KACHE_LOCAL_ONLY"]
    done = box.data("sync", "--push")["push"]
    assert (done["done"], done["failed"]) == (3, 0)
    root = Path(machines.remote.removeprefix("file://"))
    assert len([path for path in (root / "v1" / "entries").rglob("*") if path.is_file()]) == 3  # main's, as before


def test_a_fork_without_secrets_reads_a_public_bucket(in_s3: Machines, s3: S3Server) -> None:
    """Guards contributors: no key, no credentials, and everything that main compiled."""
    writer = in_s3.writer()
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    _let_everybody_read(s3, in_s3.remote.split("/")[2])
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "KACHE_REMOTE_SIGNING_KEY": ""}
    fork = in_s3.make(**nobody, **GITHUB, **OWN, KACHE_REMOTE_TRUSTED_KEYS=public_key(writer))
    fork.settings["KACHE_REMOTE"] += "&anonymous=yes"
    fork.checkout("b", proposed()).build().expect(hits="leaf mid", misses="app")
    assert waiting(fork) == 0
    status = fork.data("remote", "status")
    assert status["identity"] == "nobody: without credentials" and "pull request" in status["why_not_write"]
    assert "error" not in fork.kache("doctor").stdout


def _let_everybody_read(server: S3Server, bucket: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    everybody = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
    statements = [
        {**everybody, "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        {**everybody, "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
    ]
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
