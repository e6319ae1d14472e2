"""Every way to AWS credentials ends in requests that a real server takes, and is gone again before the keys expire."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.config.remote import parse_place
from kache.errors import RemoteDeniedError
from kache.remote.backend import IN_THE_BACKGROUND, Backend
from kache.remote.credentials import aws_credentials
from kache.remote.identity import whose
from tests.remote.conftest import bucket_name
from tests.support import processes
from tests.support.machines import Machines, pushed
from tests.support.projects import lib
from tests.support.servers.cloud import BEARER, SSO_TOKEN, WEB_TOKEN, Cloud, certificate, cloud, temporary
from tests.support.servers.s3 import ACCESS, SECRET, S3Server

ROLE = "arn:aws:iam::123456789012:role/builder"


class Account:
    """A user of a bucket who has a home and no keys."""

    def __init__(self, server: S3Server, given: Cloud, home: Path) -> None:
        self.server = server
        self.cloud = given
        self.home = home
        self.url = server.url(bucket_name())
        self.env = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        (home / ".aws").mkdir()

    def file(self, name: str, text: str) -> Path:
        path = self.home / name
        path.write_text(text)
        return path

    def backend(self, **env: str) -> Backend:
        return Backend(parse_place(self.url), {**self.env, **env}, IN_THE_BACKGROUND)

    def writes(self, profile: str = "", **env: str) -> str:
        """Whether an object can be put; and who we are."""
        place = parse_place(self.url + (f"&profile={profile}" if profile else ""))
        backend = Backend(place, {**self.env, **env}, IN_THE_BACKGROUND)
        assert asyncio.run(backend.create("v1/some", b"x")) in (True, False)
        return whose(place, {**self.env, **env})


@pytest.fixture
def account(s3: S3Server, tmp_path: Path) -> Iterator[Account]:
    with cloud(s3) as given:
        yield Account(s3, given, tmp_path)


def test_keys_of_the_environment(account: Account) -> None:
    assert account.writes(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET) == (
        f"access key {ACCESS} (AWS_ACCESS_KEY_ID)"
    )
    keys = temporary(account.server)
    own = {"KACHE_S3_ACCESS_KEY": keys.access, "KACHE_S3_SECRET_KEY": keys.secret, "KACHE_S3_SESSION_TOKEN": keys.token}
    # kache's own come first: those of the environment may be somebody else's.
    assert "KACHE_S3_ACCESS_KEY" in account.writes(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", **own)


def test_keys_of_a_profile_are_read_again(account: Account) -> None:
    """Guards sign-in tools, which write new keys into the file while the daemon runs."""
    keys = account.cloud.keys
    text = "[ci]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n"
    account.file(".aws/credentials", text.format(keys.access, keys.secret, keys.token))
    assert f"access key {keys.access} (profile ci)" == account.writes("ci")
    source = aws_credentials("ci", account.env)
    new = temporary(account.server)
    account.file(".aws/credentials", text.format(new.access, new.secret, new.token))
    assert source.key_id() == new.access


def test_an_instance_has_a_role(account: Account) -> None:
    assert account.writes(AWS_EC2_METADATA_SERVICE_ENDPOINT=account.cloud.url) == "the machine's role"
    assert len(account.cloud.asked) == 1


def test_a_container_has_a_role(account: Account) -> None:
    token = account.file("token", BEARER)
    env = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{account.cloud.url}/container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
    }
    assert account.writes(**env) == "the container's role"
    assert account.cloud.asked == ["/container"]


def test_a_web_identity_takes_on_a_role(account: Account, s3: S3Server) -> None:
    """Guards CI without secrets: GitHub's and GitLab's tokens. The client asks for such roles by TLS alone."""
    token = account.file("token", WEB_TOKEN)
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "kache"}
    pem = certificate(account.home / "tls.pem")
    with cloud(s3, pem) as given:
        env |= {"AWS_ENDPOINT_URL_STS": given.url, **account.env}
        program = f"""
import asyncio, os
from kache.config.remote import parse_place
from kache.remote.backend import IN_THE_BACKGROUND, Backend
backend = Backend(parse_place({account.url!r}), os.environ, IN_THE_BACKGROUND)
print(asyncio.run(backend.create("v1/some", b"x")))
"""
        argv = [sys.executable, "-c", program]
        told = subprocess.run(argv, env={**env, "SSL_CERT_FILE": str(pem)}, capture_output=True, text=True, check=False)
        assert told.stdout == "True\n", told.stderr
        assert given.asked == ["/web-identity"]
    assert whose(parse_place(account.url), env) == f"web identity, role {ROLE}"


def test_a_profile_takes_on_a_role(account: Account) -> None:
    account.file(
        ".aws/config",
        f"[profile base]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
        f"[profile builder]\nrole_arn = {ROLE}\nsource_profile = base\nregion = us-east-1\n",
    )
    sts = {"AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{account.server.port}"}
    said = account.writes("builder", **sts)
    assert "(profile builder, which takes on a role)" in said and ACCESS not in said


def test_a_profile_signs_in(account: Account) -> None:
    url = "https://example.awsapps.com/start"
    account.file(
        ".aws/config",
        f"[sso-session company]\nsso_start_url = {url}\nsso_region = us-east-1\n[profile me]\n"
        "sso_session = company\nsso_account_id = 123456789012\nsso_role_name = builder\nregion = us-east-1\n",
    )
    sso = {"AWS_ENDPOINT_URL_SSO": account.cloud.url}
    with pytest.raises(RemoteDeniedError) as caught:
        account.writes("me", **sso)
    assert "aws sso login --profile me" in caught.value.why
    cache = account.home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"startUrl": url, "region": "us-east-1", "accessToken": SSO_TOKEN, "expiresAt": "2099-01-01T00:00:00Z"}
    (cache / f"{hashlib.sha1(b'company').hexdigest()}.json").write_text(json.dumps(token))
    assert "(profile me, by single sign-on)" in account.writes("me", **sso)


def test_without_boto3_a_profile_that_needs_it_says_so(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.file(".aws/config", f"[profile builder]\nrole_arn = {ROLE}\nsource_profile = base\n")
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    monkeypatch.delitem(sys.modules, "boto3")
    with pytest.raises(RemoteDeniedError, match="'builder' needs boto3") as caught:
        aws_credentials("builder", account.env)
    assert "pip install 'kache[aws]'" in caught.value.fix


def test_a_profile_without_anything_and_no_credentials_at_all_say_so(account: Account) -> None:
    with pytest.raises(RemoteDeniedError, match="no AWS profile 'nobody'"):
        aws_credentials("nobody", account.env)
    with pytest.raises(RemoteDeniedError, match="there are no AWS credentials") as caught:
        aws_credentials("", {**account.env, "AWS_EC2_METADATA_DISABLED": "true"})
    assert "AWS_PROFILE" in caught.value.fix


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("exit 3", "ended with 3"),
        ("echo no >&2; exit 1", "no"),
        ("echo nonsense", "JSON"),
        ("echo '{}'", "AccessKeyId"),
    ],
)
def test_a_program_that_gives_nothing_is_told(account: Account, program: str, why: str) -> None:
    path = account.file("program", f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    account.file(".aws/config", f"[profile p]\ncredential_process = {path}\n")
    with pytest.raises(RemoteDeniedError) as caught:
        account.writes("p")
    assert "the credential_process of profile p gave no credentials" in caught.value.why and why in caught.value.why


def test_keys_are_asked_for_again_before_they_end(account: Account) -> None:
    """Guards long builds: what is about to end is not used."""
    account.cloud.lives_s = 200

    async def work() -> None:
        backend = account.backend(AWS_EC2_METADATA_SERVICE_ENDPOINT=account.cloud.url)
        assert await backend.create("v1/one", b"x")
        asked = len(account.cloud.asked)
        account.cloud.keys = temporary(account.server)
        await asyncio.sleep(0.2)  # the client asks at most ten times a second
        assert await backend.create("v1/two", b"x")
        assert len(account.cloud.asked) > asked

    asyncio.run(work())


def test_the_daemon_asks_again_when_its_keys_were_taken_back(in_s3: Machines, s3: S3Server, tmp_path: Path) -> None:
    """Guards days: keys that end while the daemon runs cost hits until it has new ones, and nothing queued."""
    program, given = tmp_path / "program", tmp_path / "given"
    program.write_text(f"#!/bin/sh\ncat {given}\n")
    program.chmod(0o755)
    writer = in_s3.writer(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", KACHE_S3_PROFILE="p")
    (writer.home / ".aws").mkdir()
    (writer.home / ".aws" / "config").write_text(f"[profile p]\ncredential_process = {program}\n")

    def give(keys: tuple[str, str, str]) -> None:
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        given.write_text(json.dumps({"Version": 1, **dict(zip(names, keys, strict=True))}))

    give(("long", "gone", "token"))
    writer.checkout("a", lib("pub fn a() {}\n")).build().expect(misses=1)
    processes.until(lambda: "the server answered 403" in writer.log(), limit_s=30, what="the refusal is in the log")
    keys = temporary(s3)
    give((keys.access, keys.secret, keys.token))
    pushed(writer, limit_s=60)
    assert writer.data("remote", "verify", "--packs")["done"] == 1
