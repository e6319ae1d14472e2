"""A Ceph of one node on loopback: a monitor, a manager, an OSD in memory, and the gateway that speaks S3.

No systemd, no keys between its parts (`auth none`), everything below one scratch directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from obstore.exceptions import BaseError

from tests.support.servers.programs import free_port, running, scratch, wait_until_answers
from tests.support.servers.s3 import ACCESS, SECRET, S3Server
from tools.servers import installed

_OSD_LIMIT_S = 60
_TRIES = 5
_FSID = "c1e7b5e0-0000-4000-8000-00000000cafe"
_CONFIG = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
mon allow pool size one = true
mon max pg per osd = 4096
mon data avail crit = 0
mon data avail warn = 0
run dir = {directory}
log file = {directory}/$name.log
admin socket = {directory}/$name.asok
mon data = {directory}/mon
mgr data = {directory}/mgr
osd data = {directory}/osd
mgr initial modules =
rgw data = {directory}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
"""


@contextmanager
def ceph() -> Iterator[S3Server]:
    """Run one in a scratch directory."""
    installed("ceph")
    port, mon_port = free_port(), free_port()
    with scratch("ceph") as directory, ExitStack() as stack:
        for part in ("mon", "mgr", "osd", "rgw"):
            (directory / part).mkdir()
        config = directory / "ceph.conf"
        config.write_text(_CONFIG.format(fsid=_FSID, mon_port=mon_port, port=port, directory=directory))
        monmap = directory / "monmap"
        once("monmaptool", "--create", "--clobber", "--fsid", _FSID, str(monmap))
        once("monmaptool", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", str(monmap))
        conf = ("-c", str(config))
        once("ceph-mon", *conf, "-i", "a", "--mkfs", "--monmap", str(monmap))
        stack.enter_context(running([_program("ceph-mon"), "-f", *conf, "-i", "a"], directory))
        # By hand: an OSD that asks for its place as it starts is sometimes told `wrong fsid`, and ends.
        once("ceph", *conf, "osd", "create", _FSID)
        once("ceph", *conf, "osd", "crush", "add", "osd.0", "1.0", "root=default")
        stack.enter_context(running([_program("ceph-mgr"), "-f", *conf, "-i", "a"], directory))
        once("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", _FSID)
        stack.enter_context(running([_program("ceph-osd"), "-f", *conf, "-i", "0"], directory))
        _wait_for_osd(conf)
        # Before the gateway: both make missing pools, and wait for each other for ever if they do so at once.
        keys = ("--access-key", ACCESS, "--secret-key", SECRET)
        once("radosgw-admin", *conf, "user", "create", "--uid", "kache", "--display-name", "kache", *keys)
        log = stack.enter_context(running([_program("radosgw"), "-f", *conf, "-n", "client.rgw.a"], directory))
        wait_until_answers(f"http://127.0.0.1:{port}/", log)
        server = S3Server(port)
        _make_pools(server)
        yield server


def once(name: str, *args: str) -> str:
    """Run one of Ceph's programs to its end; what it printed.

    Without keys between its parts a client now and then speaks before it knows the cluster's id. The monitor answers
    EPERM, or the client waits for ever: so each gets some tries.
    """
    error = ""
    for _ in range(_TRIES):
        try:
            done = subprocess.run(
                [_program(name), *args],
                capture_output=True,
                text=True,
                timeout=30,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0 or "exists" in done.stderr:
            return done.stdout
        error = done.stderr[-2000:]
    raise AssertionError(f"{name} {args}: {error}")


def _wait_for_osd(conf: tuple[str, str]) -> None:
    deadline = time.monotonic() + _OSD_LIMIT_S
    while not json.loads(once("ceph", *conf, "osd", "stat", "-f", "json"))["num_up_osds"]:
        assert time.monotonic() < deadline, "the OSD does not come up"
        time.sleep(0.2)


def _make_pools(server: S3Server) -> None:
    """The gateway makes the rest of its pools with the first bucket and the first objects."""
    for left in reversed(range(_TRIES)):
        try:
            server.make_bucket("first")
            client = server.client("first")
            client.put("small", b"x", use_multipart=False)
            client.put("large", bytes(6 << 20), use_multipart=True, chunk_size=5 << 20)
        except (BaseError, OSError):
            if not left:
                raise
        else:
            return


def _program(name: str) -> str:
    beside = next(Path(where, name) for where in ("/usr/bin", "/usr/sbin") if os.path.exists(f"{where}/{name}"))
    return str(beside)
