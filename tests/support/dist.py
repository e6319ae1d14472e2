"""What a release consists of, built once for all workers of a run, with the tool that releases are made with."""

from __future__ import annotations

import fcntl
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tools import archive

BUILD = archive.ROOT / "build"
OWNER = "someone"


class Dist:
    """Wheel, source archive and one-program archive of this tree.

    Args:
        where: a directory that all workers share.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        where.mkdir(exist_ok=True)

    @property
    def wheel(self) -> Path:
        """For pip."""
        return self._once("*.whl", lambda: archive.wheel(self.where, BUILD / "wheel"))

    @property
    def source(self) -> Path:
        """For pip, with a toolchain."""
        return self._once("kache-[0-9.]*[0-9].tar.gz", lambda: archive.source_archive(self.where, BUILD / "wheel"))

    @property
    def archive(self) -> Path:
        """For installers that put one program somewhere; its checksum lies beside it."""
        wheel = self.wheel
        pattern = f"kache-*-{archive.triple()}.tar.gz"
        return self._once(pattern, lambda: archive.release_archive(wheel, self.where, BUILD / "archive"))

    def _once(self, pattern: str, build: Callable[[], Path]) -> Path:
        with (self.where / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not list(self.where.glob(pattern)):
                archive.checksum(build())
        return next(self.where.glob(pattern))


def shared_dist(factory: pytest.TempPathFactory) -> Dist:
    """The one of this run."""
    base = factory.getbasetemp()
    return Dist((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dist")


@contextmanager
def serving(pages: Callable[[str, str], Mapping[str, bytes]], tls: Path | None = None) -> Iterator[str]:
    """A web server on loopback.

    Args:
        pages: of the server's own URL and the path asked for; path to content.
        tls: a directory for certificates: then it speaks TLS, with `ca.pem` there as what clients have to trust.

    Yields:
        Its URL.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = pages(url, path).get(path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name is given
            """Silent."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that ask who is there and leave are no errors."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(tls))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(directory: Path) -> Path:
    """A certificate for localhost with its key, and `ca.pem`, who signed it."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _signed("an authority", authority_key, "an authority", authority_key, is_authority=True)
    leaf = _signed("localhost", key, "an authority", authority_key, is_authority=False)
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(private + leaf.public_bytes(pem))
    return directory / "server.pem"


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        made = made.add_extension(names, critical=False)
    return made.sign(by, hashes.SHA256())
