"""Where the remote is, who may write to it, and when nobody asks it any more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kache.config.ci import namespace, pull_request
from kache.config.load import load
from kache.config.remote import RemotePlace, parse_place
from kache.engine.transfer.policy import sent_to, why_not_write
from kache.remote.breaker import FIRST_PAUSE_S, Breaker


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("s3://bucket", RemotePlace("s3", "bucket")),
        ("s3://bucket/a/b/", RemotePlace("s3", "bucket", "a/b")),
        (
            "s3://b/p?endpoint=http://127.0.0.1:9000&region=auto&style=virtual&profile=ci",
            RemotePlace("s3", "b", "p", "http://127.0.0.1:9000", "auto", "ci", "virtual"),
        ),
        ("file:///mnt/a%20b", RemotePlace("file", "/mnt/a b")),
        ("gs://b/p", RemotePlace("gs", "b", "p")),
        ("az://c/p?account=me", RemotePlace("az", "c", "p", account="me")),
        ({"bucket": "b", "prefix": "/p/"}, RemotePlace("s3", "b", "p")),
        ({"type": "filesystem", "path": "/mnt/cache"}, RemotePlace("file", "/mnt/cache")),
        ({"url": "s3://b", "region": "eu-north-1"}, RemotePlace("s3", "b", region="eu-north-1")),
    ],
)
def test_a_place_is_read_and_written(value: object, place: RemotePlace) -> None:
    assert parse_place(value) == place
    assert parse_place(place.url) == place


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bucket",
        "http://host/x",
        "s3://",
        "s3:///prefix",
        "file://relative",
        "s3://b/a/../c",
        "s3://b/a//c",
        "s3://b?what=1",
        "s3://b?style=odd",
        "s3://b?endpoint=host:9000",
        "s3://b%zz",
        {"type": "ftp", "bucket": "b"},
        {"bucket": 3},
        {"bucket": "b", "secret": "x"},
        7,
    ],
)
def test_what_is_no_place_says_what_would_be(value: object) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_place(value)


def test_the_table_the_url_and_the_single_variables(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    file = tmp_path / ".config" / "kache" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        '[cache]\ntrust_domain = "team"\n\n[cache.remote]\ntype = "s3"\nbucket = "b"\nregion = "eu-west-1"\n'
    )
    config = load(home, None)
    assert not config.problems
    assert config.remote == RemotePlace("s3", "b", region="eu-west-1")
    assert config.trust_domain == "team"
    single = load(home | {"KACHE_S3_ENDPOINT": "http://h:9000", "KACHE_S3_PREFIX": "x"}, None)
    assert single.remote == RemotePlace("s3", "b", "x", "http://h:9000", "eu-west-1")
    assert load(home | {"KACHE_REMOTE": "file:///mnt"}, None).remote == RemotePlace("file", "/mnt")
    assert load(home | {"KACHE_LOCAL_ONLY": "1"}, None).remote is None
    assert load({"HOME": "/nowhere", "KACHE_S3_BUCKET": "q"}, None).remote == RemotePlace("s3", "q")
    bad = load(home | {"KACHE_REMOTE": "nonsense"}, None)
    assert "KACHE_REMOTE" in str(bad.problems[0])


@pytest.mark.parametrize(
    ("env", "is_one"),
    [
        ({}, False),
        ({"GITHUB_EVENT_NAME": "push"}, False),
        ({"GITHUB_EVENT_NAME": "pull_request"}, True),
        ({"GITHUB_EVENT_NAME": "pull_request_target"}, True),
        ({"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_HEAD_REF": "patch-1"}, True),
        ({"CI_PIPELINE_SOURCE": "push"}, False),
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, True),
        ({"CI_PIPELINE_SOURCE": "external_pull_request_event"}, True),
        ({"CI_MERGE_REQUEST_IID": "7"}, True),
        ({"KACHE_PULL_REQUEST": "7"}, True),
        ({"KACHE_PULL_REQUEST": "0"}, False),
    ],
)
def test_pull_requests_only_read(tmp_path: Path, env: dict[str, str], is_one: bool) -> None:
    assert bool(pull_request(env)) == is_one
    env = env | {"HOME": str(tmp_path), "KACHE_REMOTE": "s3://b", "KACHE_REMOTE_SIGNING_KEY": "kache-…"}
    config = load(env, None)
    assert bool(why_not_write(config, env)) == is_one
    assert sent_to(config, env) == (None if is_one else config.remote)
    own = load(env | {"KACHE_REMOTE_PULL_REQUESTS": "own"}, None)
    place = sent_to(own, env)
    assert place is not None and place.prefix.startswith("pull/") == is_one
    assert sent_to(load(env | {"KACHE_REMOTE_READONLY": "1", "KACHE_REMOTE_PULL_REQUESTS": "own"}, None), env) is None


def test_each_pull_request_has_one_namespace() -> None:
    github = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "me/it", "GITHUB_REF": "refs/pull/12/merge"}
    assert namespace(github).startswith("me-it-12-")
    assert namespace(github) == namespace(github | {"GITHUB_SHA": "another commit"})
    gitlab = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_PROJECT_PATH": "me/it", "CI_MERGE_REQUEST_IID": "12"}
    names = [
        namespace(env)
        for env in (
            github,
            github | {"GITHUB_REF": "refs/pull/13/merge"},
            github | {"GITHUB_REPOSITORY": "me/it-12", "GITHUB_REF": "refs/pull/1/merge"},
            gitlab | {"CI_PROJECT_PATH": "you/it"},
            {"KACHE_PULL_REQUEST": "../../../v1/entries"},
            {"KACHE_PULL_REQUEST": "x" * 1000},
            {"GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF": "refs/heads/gh-readonly-queue/main/pr-104-ab"},
        )
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{8,80}", name) for name in names)
    assert namespace({}) == ""


def test_without_a_key_or_when_told_so_nothing_is_sent(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "KACHE_REMOTE": "s3://b"}
    assert "no signing key" in why_not_write(load(env, None), env)
    env |= {"KACHE_REMOTE_SIGNING_KEY": "kache-…", "KACHE_REMOTE_READONLY": "1"}
    assert "KACHE_REMOTE_READONLY" in why_not_write(load(env, None), env)


def test_a_breaker_waits_longer_each_time_and_closes_on_an_answer() -> None:
    now = [100.0]
    breaker = Breaker(clock=lambda: now[0])

    def state() -> tuple[bool, bool]:
        return breaker.is_closed, breaker.is_probe_due

    assert state() == (True, False)
    assert breaker.open("dead")
    assert state() == (False, False)
    now[0] += FIRST_PAUSE_S * 1.2
    assert state() == (False, True)
    assert not breaker.open("still dead")
    now[0] += FIRST_PAUSE_S * 1.2
    assert state() == (False, False)
    now[0] += FIRST_PAUSE_S * 1.2
    assert state() == (False, True)
    breaker.close()
    assert state() == (True, False)
    assert breaker.opened_count == 1
