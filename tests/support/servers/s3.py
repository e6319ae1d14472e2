"""A server that speaks S3, whoever it is, and how a bucket is made in it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

from obstore import sign
from obstore.store import S3Store

ACCESS, SECRET = "kacheadmin", "kachesecret"
_READY_LIMIT_S = 60


class S3Server:
    """A server that speaks S3.

    Args:
        port: where it listens.
    """

    kind = "s3"

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def env(self) -> dict[str, str]:
        """Credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}

    @property
    def wrong_env(self) -> dict[str, str]:
        """Credentials of nobody."""
        return {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "knowsthis"}

    def url(self, bucket: str, endpoint: str = "") -> str:
        """A remote in a bucket of it, which is made."""
        self.make_bucket(bucket)
        return f"s3://{bucket}/pre/fix?endpoint={endpoint or f'http://127.0.0.1:{self.port}'}"

    def client(self, bucket: str) -> S3Store:
        """A client of our own."""
        options: Any = {"allow_http": True}
        config: Any = {"access_key_id": ACCESS, "secret_access_key": SECRET, "region": "us-east-1", "bucket": bucket}
        config["endpoint"] = f"http://127.0.0.1:{self.port}"
        return S3Store(config=config, client_options=options)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket unless it is there."""
        url = sign(self.client(bucket), "PUT", "", timedelta(seconds=600))
        deadline = time.monotonic() + _READY_LIMIT_S
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 409:
                    return
                # Alive and not ready: a busy machine needs seconds for that.
                if error.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
