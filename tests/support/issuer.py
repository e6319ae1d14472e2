"""An OIDC issuer on loopback with real keys: it publishes them and signs tokens, good ones and bad ones."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class LocalIssuer:
    """Runs from `with` to its end.

    Attributes:
        published: key id to key, as its JWKS shows them.
        asked: how often the keys were asked for.
    """

    def __init__(self) -> None:
        self.published: dict[str, Key] = {"one": rsa.generate_private_key(65537, 2048)}
        self.asked = 0

    def __enter__(self) -> LocalIssuer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(issuer._document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its `iss`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def rotate(self, key_id: str) -> None:
        """Publish a new key in place of all others."""
        self.published = {key_id: ec.generate_private_key(ec.SECP256R1())}

    def token(self, *, key_id: str = "", key: Key | None = None, without: str = "", **claims: Any) -> str:
        """A token as a CI job gets it, with other claims where they are given."""
        key_id = key_id or next(iter(self.published))
        signing = key or self.published[key_id]
        now = int(time.time())
        found = {
            "iss": self.url,
            "aud": "kache",
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "repository_owner": "acme",
            "event_name": "push",
            "iat": now,
            "exp": now + 300,
        } | claims
        found.pop(without, None)
        algorithm = "RS256" if isinstance(signing, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(found, signing, algorithm=algorithm, headers={"kid": key_id})

    def unsigned(self) -> str:
        """A token that says it needs no signature."""
        header, body, _ = self.token().split(".")
        none = json.loads(base64.urlsafe_b64decode(header + "==")) | {"alg": "none"}
        return f"{base64.urlsafe_b64encode(json.dumps(none).encode()).decode().rstrip('=')}.{body}."

    def confused(self) -> str:
        """A token signed with HS256, with the public key as the secret."""
        import hashlib
        import hmac

        key_id, key = next(iter(self.published.items()))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _, body, _ = self.token().split(".")
        header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": key_id}).encode()).decode().rstrip("=")
        signature = hmac.new(public, f"{header}.{body}".encode(), hashlib.sha256).digest()
        return f"{header}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            self.asked += 1
            return {"keys": [_jwk(key_id, key) for key_id, key in self.published.items()]}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}


def _jwk(key_id: str, key: Key) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    found: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))  # type: ignore[arg-type]
    return found | {"kid": key_id, "use": "sig"}
