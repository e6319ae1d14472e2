"""Machines that share nothing but a remote: other homes, other paths, other stores.

a, b = machines.pair()
a.checkout("one", chain()).build().expect(misses=3)
a.pushed()
b.checkout("elsewhere/two", chain()).build().expect(remote_hits=3, misses=0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support import processes
from tests.support.sandbox import Sandbox


class Machines:
    """Makes them.

    Args:
        make_box: the fixture.
        remote: URL of what they share.
        env: further variables of each: credentials.
    """

    def __init__(self, make_box: Callable[[str], Sandbox], remote: str, env: Mapping[str, str] | None = None) -> None:
        self._make_box = make_box
        self.remote = remote
        self.env = dict(env or {})

    def make(self, engine: str = "daemon", **settings: str) -> Sandbox:
        """One that trusts nobody yet."""
        box = self._make_box(engine)
        # Patient: on a busy machine a local directory may be slower than a compile was.
        patient = {"KACHE_REMOTE_STALL": "30", "KACHE_REMOTE_WAIT": "60"}
        box.settings |= {"KACHE_REMOTE": self.remote, **patient, **self.env, **settings}
        return box

    def writer(self, **settings: str) -> Sandbox:
        """One that signs what it makes."""
        box = self.make(**settings)
        box.data("keys", "generate")
        return box

    def reader(self, *writers: Sandbox, **settings: str) -> Sandbox:
        """One that trusts some writers."""
        box = self.make(**settings)
        for number, writer in enumerate(writers):
            box.data("keys", "trust", public_key(writer), "--label", f"writer-{number}")
        return box

    def pair(self) -> tuple[Sandbox, Sandbox]:
        """A writer, and a reader that trusts it."""
        writer = self.writer()
        return writer, self.reader(writer)


def public_key(box: Sandbox) -> str:
    """Of the key a machine signs with."""
    keys = box.data("keys", "list")["keys"]
    return str(next(key["public"] for key in keys if key["signs"]))


def pushed(box: Sandbox, limit_s: float = 60) -> None:
    """Wait until all a machine has to send is sent."""
    processes.until(lambda: waiting(box) == 0, limit_s=limit_s, what="the upload queue is empty")


def waiting(box: Sandbox) -> int:
    """How much waits in the upload queue."""
    return int(box.data("remote", "status", "--offline")["waiting"])


def sets_sent(box: Sandbox, limit_s: float = 60) -> None:
    """Wait until all a machine has to send is sent, unit sets included."""
    pushed(box, limit_s)
    processes.until(lambda: sets_waiting(box) == 0, limit_s=limit_s, what="no unit set waits for its upload")


def sets_waiting(box: Sandbox) -> int:
    """How many unit sets wait for their upload."""
    return int(box.data("stats")["remote"]["waiting_sets"])
