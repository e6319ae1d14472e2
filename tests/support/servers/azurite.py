"""An Azurite on loopback: Azure's blob service, from npm. Its account and key are everybody's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from tests.support.servers.programs import free_port, running, scratch, wait_until_answers
from tools.servers import installed

ACCOUNT = "kacheaccount"
KEY = base64.b64encode(b"a key that is known to the tests alone").decode()


class AzureServer:
    """A server that speaks Azure's blob protocol.

    Args:
        port: where it listens.
    """

    kind = "az"

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def env(self) -> dict[str, str]:
        """Credentials."""
        return {"AZURE_STORAGE_ACCOUNT_KEY": KEY}

    @property
    def wrong_env(self) -> dict[str, str]:
        """Credentials of nobody."""
        return {"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"another key").decode()}

    def url(self, bucket: str, endpoint: str = "") -> str:
        """A remote in a container of it, which is made."""
        self.make_bucket(bucket)
        server = endpoint or f"http://127.0.0.1:{self.port}"
        return f"az://{bucket}/pre/fix?account={ACCOUNT}&endpoint={server}/{ACCOUNT}"

    def make_bucket(self, bucket: str) -> None:
        """Make a container unless it is there; signed as the Shared Key scheme says."""
        date = formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
        canonical = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        resource = f"/{ACCOUNT}/{ACCOUNT}/{bucket}\nrestype:container"
        text = "PUT\n\n\n\n\n\n\n\n\n\n\n\n" + canonical + resource
        mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}/{bucket}?restype=container"
        request = urllib.request.Request(url, method="PUT", headers={**headers, "Content-Length": "0"})
        try:
            with urllib.request.urlopen(request, timeout=30):
                return
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise


@contextmanager
def azurite() -> Iterator[AzureServer]:
    """Run one in a scratch directory."""
    program = installed("azurite")
    port = free_port()
    with scratch("azurite") as directory:
        argv: list[str | Path] = [
            program,
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(port),
            "--silent",
            "--inMemoryPersistence",
        ]
        argv += ["--disableTelemetry", "--skipApiVersionCheck"]
        with running(argv, directory, {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}) as log:
            wait_until_answers(f"http://127.0.0.1:{port}/", log)
            yield AzureServer(port)
