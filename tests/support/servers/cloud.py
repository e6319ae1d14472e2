"""What gives out credentials in a cloud, on loopback: metadata of an instance and a container, a token service for web
identity, and the portal of single sign-on. What they give are temporary keys of a real MinIO, which checks them.

    with cloud(server) as given:
        Backend(place, {**given.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": given.url}, patience)
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.servers.s3 import ACCESS, SECRET, S3Server

IMDS_TOKEN, BEARER, SSO_TOKEN, WEB_TOKEN = "imds-token", "bearer-of-container", "sso-access-token", "web-identity-token"


@dataclass
class Keys:
    """Temporary keys of MinIO."""

    access: str
    secret: str
    token: str


@dataclass
class Cloud:
    """What is given, and how often it was asked for.

    Attributes:
        url: of all these services.
        keys: what is given now.
        lives_s: for how long, as it says itself.
        asked: paths of the requests that gave keys.
    """

    url: str
    keys: Keys
    lives_s: float = 3600.0
    asked: list[str] = field(default_factory=list)

    @property
    def ends(self) -> datetime:
        """When what is given now ends."""
        return datetime.now(UTC) + timedelta(seconds=self.lives_s)


def temporary(server: S3Server) -> Keys:
    """New keys, which MinIO's own token service gives."""
    client = boto3.client(
        "sts",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    given = client.assume_role(RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="tests")["Credentials"]
    return Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


class _Services(BaseHTTPRequestHandler):
    cloud: Cloud

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read their own output."""

    def do_PUT(self) -> None:
        """An instance's token (IMDSv2)."""
        self._answer(200 if self.path == "/latest/api/token" else 404, IMDS_TOKEN)

    def do_GET(self) -> None:
        """Keys of an instance, a container, a sign-in."""
        split = urlsplit(self.path)
        role = "/latest/meta-data/iam/security-credentials/"
        if split.path == role and self.headers.get("X-aws-ec2-metadata-token") == IMDS_TOKEN:
            self._answer(200, "builder")
        elif (split.path == role + "builder" and self.headers.get("X-aws-ec2-metadata-token") == IMDS_TOKEN) or (
            split.path == "/container" and self.headers.get("Authorization") == BEARER
        ):
            self._keys(split.path)
        elif split.path == "/federation/credentials" and self.headers.get("x-amz-sso_bearer_token") == SSO_TOKEN:
            self.cloud.asked.append(split.path)
            keys, ends = self.cloud.keys, int(self.cloud.ends.timestamp() * 1000)
            given = {"accessKeyId": keys.access, "secretAccessKey": keys.secret, "sessionToken": keys.token}
            self._answer(200, json.dumps({"roleCredentials": {**given, "expiration": ends}}), "application/json")
        else:
            self._answer(401, "not you")

    def do_POST(self) -> None:
        """The token service: keys for a web identity."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query + "&" + body).items()}
        if asked.get("Action") != "AssumeRoleWithWebIdentity" or asked.get("WebIdentityToken") != WEB_TOKEN:
            self._answer(403, "not you")
            return
        self.cloud.asked.append("/web-identity")
        keys = self.cloud.keys
        text = (
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{keys.access}</AccessKeyId><SecretAccessKey>{keys.secret}</SecretAccessKey>"
            f"<SessionToken>{keys.token}</SessionToken><Expiration>{self.cloud.ends.isoformat()}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        self._answer(200, text, "text/xml")

    def _keys(self, path: str) -> None:
        self.cloud.asked.append(path)
        keys = self.cloud.keys
        given = {"AccessKeyId": keys.access, "SecretAccessKey": keys.secret, "Token": keys.token, "Code": "Success"}
        moments = {"Expiration": self.cloud.ends.isoformat(), "LastUpdated": datetime.now(UTC).isoformat()}
        self._answer(200, json.dumps({**given, **moments, "Type": "AWS-HMAC"}), "application/json")

    def _answer(self, status: int, text: str, kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def certificate(path: Path) -> Path:
    """A certificate for loopback that nobody signed, with its key; in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kache's tests")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=2))
    place = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(place, critical=False).sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    return path


@contextmanager
def cloud(server: S3Server, tls: Path | None = None) -> Iterator[Cloud]:
    """Run all of them; with TLS if there is a certificate."""
    given = Cloud("", temporary(server))
    front = ThreadingHTTPServer(("127.0.0.1", 0), type("Services", (_Services,), {"cloud": given}))
    front.daemon_threads = True
    given.url = f"{'https' if tls else 'http'}://127.0.0.1:{front.server_address[1]}"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        front.socket = context.wrap_socket(front.socket, server_side=True)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    try:
        yield given
    finally:
        front.shutdown()
        front.server_close()
