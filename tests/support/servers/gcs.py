"""A fake-gcs-server on loopback: Google Cloud Storage's JSON protocol, in memory. It asks nobody who they are.

kache's client writes with Google's XML protocol, of which this server knows reading and listing only. So a thread here
stands in front of it and says the same in JSON: put (with its condition), put in parts, delete. All else is passed on.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support.servers.programs import free_port, running, scratch, wait_until_answers
from tools.servers import installed


class GcsServer:
    """A server that speaks Google's protocol.

    Args:
        port: where it listens.
        json_port: where the server itself listens.
    """

    kind = "gs"
    wrong_env = None

    def __init__(self, port: int, json_port: int) -> None:
        self.port = port
        self._json_port = json_port

    @property
    def env(self) -> dict[str, str]:
        """Credentials: none."""
        return {}

    def url(self, bucket: str, endpoint: str = "") -> str:
        """A remote in a bucket of it, which is made."""
        self.make_bucket(bucket)
        return f"gs://{bucket}/pre/fix?endpoint={endpoint or f'http://127.0.0.1:{self.port}'}"

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket unless it is there."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._json_port}/storage/v1/b?project=kache",
            method="POST",
            data=json.dumps({"name": bucket}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30):
                return
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise


class _Translator(BaseHTTPRequestHandler):
    """XML in front, JSON behind."""

    protocol_version = "HTTP/1.1"
    json_port: int
    parts: dict[str, dict[int, bytes]]
    numbers: Iterator[int]

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read their own output."""

    def do_GET(self) -> None:
        """Pass on."""
        self._pass("GET", self.path)

    def do_DELETE(self) -> None:
        """Delete an object."""
        bucket, name, _ = self._asked()
        self._pass("DELETE", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")

    def do_PUT(self) -> None:
        """Put an object, or a part of one."""
        bucket, name, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploadId" in query:
            number = int(query["partNumber"][0])
            self.parts[query["uploadId"][0]][number] = body
            self._answer(200, b"", {"ETag": f'"{number}"'})
        else:
            self._put(bucket, name, body, self.headers.get("x-goog-if-generation-match"))

    def do_POST(self) -> None:
        """Begin or end an object in parts."""
        bucket, name, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in query:
            upload = f"upload{next(self.numbers)}"
            self.parts[upload] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            self._answer(200, text.encode(), {})
        elif "uploadId" in query:
            parts = self.parts.pop(query["uploadId"][0])
            condition = self.headers.get("x-goog-if-generation-match")
            self._put(bucket, name, b"".join(parts[number] for number in sorted(parts)), condition)
        else:
            self._pass("POST", self.path, body)

    def _asked(self) -> tuple[str, str, dict[str, list[str]]]:
        split = urlsplit(self.path)
        _, bucket, *name = split.path.split("/", 2)
        return bucket, unquote(name[0]) if name else "", parse_qs(split.query, keep_blank_values=True)

    def _put(self, bucket: str, name: str, body: bytes, condition: str | None) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        path += f"&ifGenerationMatch={condition}" if condition is not None else ""
        status, content = self._ask("POST", path, body)
        if status != 200:
            self._answer(status, content, {})
            return
        tag = json.loads(content)["etag"]
        text = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
        self._answer(200, text.encode(), {"ETag": f'"{tag}"'})

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.json_port, timeout=60)
        connection.request(method, path, body, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def _pass(self, method: str, path: str, body: bytes = b"") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.json_port, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("range", "if-match")}
        connection.request(method, path, body or None, kept)
        answer = connection.getresponse()
        content = answer.read()
        names = ("etag", "last-modified", "content-range", "content-type", "x-goog-generation", "accept-ranges")
        headers = {name: value for name, value in answer.getheaders() if name.lower() in names}
        connection.close()
        self._answer(answer.status, content, headers)

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)


@contextmanager
def fake_gcs() -> Iterator[GcsServer]:
    """Run one in a scratch directory."""
    program = installed("fake-gcs-server")
    port = free_port()
    with scratch("gcs") as directory:
        argv: list[str | Path] = [
            program,
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            str(port),
            "-backend",
            "memory",
        ]
        public = ["-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}"]
        with running([*argv, *public, "-log-level", "warn"], directory) as log:
            wait_until_answers(f"http://127.0.0.1:{port}/storage/v1/b?project=kache", log)
            kind = type("Translator", (_Translator,), {"json_port": port, "parts": {}, "numbers": itertools.count()})
            front = ThreadingHTTPServer(("127.0.0.1", 0), kind)
            front.daemon_threads = True
            thread = threading.Thread(target=front.serve_forever, daemon=True)
            thread.start()
            try:
                yield GcsServer(front.server_address[1], port)
            finally:
                front.shutdown()
                front.server_close()
