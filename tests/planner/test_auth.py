"""Who may ask the planner service: tokens by scope, tokens of an OIDC issuer, TLS."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kache.errors import PlannerSetupError
from kache.planner.service.auth import Principal, Refused, Tokens
from kache.planner.service.limits import Rate
from kache.planner.service.oidc import FRESH_S, LEEWAY_S, MIN_PAUSE_S, Issuer, Oidc
from tests.planner.test_service import TREE, refused
from tests.support.issuer import LocalIssuer
from tests.support.planner import PlannerService

READER, WRITER = "r" * 24, "w" * 24


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as running:
        yield running


class Clock:
    """Stands still unless told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def oidc(issuer: LocalIssuer, clock: Clock | None = None, allowed: tuple[str, ...] = ("acme",)) -> Oidc:
    return Oidc(Issuer(issuer.url, "kache", allowed), clock or Clock())


def test_tokens_open_what_their_scopes_say(tmp_path: Path) -> None:
    env = {"KACHE_PLANNER_TOKENS": f"dev:read:{READER} ci:read+write:{WRITER}"}
    with PlannerService(cwd=tmp_path, env=env) as service:
        assert service.tell(TREE.record()).status == 401
        service.token = READER
        answer = service.tell(TREE.record())
        assert answer.status == 403 and "dev may not write" in answer.json["what"]
        assert len(service.plan(TREE.today).units) == 0
        service.token = WRITER
        assert service.tell(TREE.record()).status == 200
        service.token = "x" * 24
        answer = service.ask("GET", "/v1/workspaces")
        assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer")
        service.token = ""
        # A browser asks for a password: the token is one.
        page = service.ask("GET", "/")
        assert page.status == 401 and page.headers["www-authenticate"].startswith("Basic")
        basic = base64.b64encode(f"me:{READER}".encode()).decode()
        assert service.ask("GET", "/", headers={"Authorization": f"Basic {basic}"}).status == 200
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert service.ask("GET", path).status == 200
        for header in ("Bearer", "Bearer ", "Basic !!", "Bearer " + "y" * 20_000, "Digest x"):
            assert service.ask("GET", "/v1/workspaces", headers={"Authorization": header}).status == 401


@pytest.mark.parametrize("text", ["ci:write", "ci:admin:" + "x" * 24, "ci:write:short", ":read:" + "x" * 24])
def test_what_is_no_token_keeps_the_service_from_starting(text: str, tmp_path: Path) -> None:
    with pytest.raises(PlannerSetupError, match="is no token"):
        Tokens.parse(text, "here")
    (tmp_path / "tokens").write_text(f"# ours\n{text}\n")
    told = refused("--tokens", "tokens", cwd=tmp_path)
    assert "is no token" in told and "openssl rand" in told


def test_tokens_of_a_file_may_have_comments() -> None:
    found = Tokens.parse(f"# people\nme:read:{READER} # mine\n\nci:write:{WRITER}\n", "here")
    assert found.principal(READER) == Principal("me", frozenset({"read"}))
    assert found.principal(WRITER) == Principal("ci", frozenset({"write"}))
    assert found.principal(READER + "x") is None


def test_a_job_of_an_allowed_repository_comes_in(issuer: LocalIssuer, tmp_path: Path) -> None:
    words = ("--oidc-issuer", issuer.url, "--oidc-audience", "kache", "--oidc-allow", "acme/app")
    with PlannerService(*words, cwd=tmp_path, token=issuer.token()) as service:
        assert service.tell(TREE.record()).status == 200
        service.token = issuer.token(repository="acme/other")
        answer = service.tell(TREE.record())
        assert answer.status == 401 and "nobody let this repository" in answer.json["why"]
        # The build of a proposal may ask, and tells nothing.
        service.token = issuer.token(event_name="pull_request")
        assert service.tell(TREE.record()).status == 403
        assert service.ask("GET", "/v1/workspaces").status == 200
        service.token = issuer.unsigned()
        assert service.ask("GET", "/v1/workspaces").status == 401


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "other"}, "Audience"),
        ({"iss": "https://elsewhere"}, "issuer"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"repository": "evil/app", "repository_owner": "evil"}, "nobody let"),
        ({"without": "exp"}, "exp"),
        ({"without": "sub"}, "sub"),
        ({"without": "aud"}, "aud"),
    ],
    ids=["audience", "issuer", "expired", "early", "owner", "endless", "nobody", "for-all"],
)
def test_a_token_that_is_not_ours_is_refused(issuer: LocalIssuer, claims: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why):
        oidc(issuer).principal(issuer.token(**claims))  # type: ignore[arg-type]


def test_forged_tokens_are_refused(issuer: LocalIssuer) -> None:
    """alg none, the public key as a secret, another key under a known name, a key that is not published."""
    other = rsa.generate_private_key(65537, 2048)
    for token in (issuer.unsigned(), issuer.confused()):
        with pytest.raises(Refused, match="algorithm"):
            oidc(issuer).principal(token)
    with pytest.raises(Refused, match="Signature"):
        oidc(issuer).principal(issuer.token(key=other))
    with pytest.raises(Refused, match="does not publish"):
        oidc(issuer).principal(issuer.token(key_id="two", key=other))
    head, body, signature = issuer.token().split(".")
    with pytest.raises(Refused):
        oidc(issuer).principal(f"{head}.{body[:-2]}AA.{signature}")
    assert oidc(issuer).principal("no-token-at-all") is None


def test_clocks_may_disagree_a_little(issuer: LocalIssuer) -> None:
    import time

    now = int(time.time())
    late = issuer.token(exp=now - LEEWAY_S // 2)
    early = issuer.token(iat=now + LEEWAY_S // 2, nbf=now + LEEWAY_S // 2)
    for token in (late, early):
        found = oidc(issuer).principal(token)
        assert found is not None and found.name == "acme/app"


def test_keys_that_rotate_are_followed_and_old_ones_forgotten() -> None:
    with LocalIssuer() as issuer:
        clock = Clock()
        door = oidc(issuer, clock)
        before = issuer.token()
        assert door.principal(before) is not None
        issuer.rotate("two")
        with pytest.raises(Refused, match="does not publish"):
            door.principal(issuer.token())  # not looked at again so soon: anybody can name a key that is not known
        clock.now += MIN_PAUSE_S + 1
        assert door.principal(issuer.token()) is not None
        with pytest.raises(Refused, match="does not publish"):
            door.principal(before)
        asked = issuer.asked
        for _ in range(20):
            with pytest.raises(Refused):
                door.principal(before)
        assert issuer.asked == asked
        clock.now += FRESH_S + 1
        assert door.principal(issuer.token()) is not None and issuer.asked == asked + 1


def test_an_issuer_that_is_gone_lets_nobody_new_in() -> None:
    with LocalIssuer() as issuer:
        token, door = issuer.token(), oidc(issuer)
    with pytest.raises(Refused, match="does not publish"):
        door.principal(token)


def test_an_issuer_must_be_described_well_enough(tmp_path: Path) -> None:
    assert "without https" in refused("--oidc-issuer", "http://example.com", cwd=tmp_path)
    assert "--oidc-allow" in refused("--oidc-issuer", "https://example.com", "--oidc-audience", "a", cwd=tmp_path)


def test_tls_by_file(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    words = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with PlannerService(*words, cwd=tmp_path, verify=certificate) as service:
        assert service.url.startswith("https://") and service.tell(TREE.record()).status == 200
    key.write_text("no key")
    assert "cannot be used" in refused(*words, cwd=tmp_path)


def test_a_rate_has_a_burst_and_then_a_pace() -> None:
    clock = Clock()
    rate = Rate(10, clock)
    assert [rate.wait_s("a") for _ in range(20)] == [0.0] * 20
    assert rate.wait_s("a") == pytest.approx(0.1)
    assert rate.wait_s("b") == 0.0
    clock.now += 0.1
    assert rate.wait_s("a") == 0.0 and rate.wait_s("a") > 0
    assert Rate(0).wait_s("a") == 0.0


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "planner")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pkcs8 = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()))
    return paths
