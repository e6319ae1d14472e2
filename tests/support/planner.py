"""A planner service as people run it: a process of its own, on loopback."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from kache.core.usage import BuildRecord, Intent
from kache.planner import wire
from kache.planner.closure import Changes
from kache.planner.plan import Budget, PlanRequest
from tests.support.sandbox import KACHE

_LINE = re.compile(r"planner: (?P<url>https?://\S+:(?P<port>\d+)) ")
_LIMIT_S = 60


class Answer(NamedTuple):
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its document."""
        return json.loads(self.body)


class PlannerService:
    """Runs from `with` to its end.

    Args:
        words: further words of `kache planner serve`.
        env: variables on top of this process's.
        cwd: where planner.db is put, unless the words say another database.
        token: sent with each request.
    """

    def __init__(
        self, *words: str, cwd: Path, env: Mapping[str, str] | None = None, token: str = "", verify: Path | None = None
    ) -> None:
        self._argv = [str(KACHE), "planner", "serve", "--bind", "127.0.0.1:0", *words]
        self._cwd, self._env, self._verify = cwd, dict(env or {}), verify
        self.token = token
        self.url = ""
        self.port = 0

    def __enter__(self) -> PlannerService:
        self.process = subprocess.Popen(
            self._argv, cwd=self._cwd, env=os.environ | self._env, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self.lines: list[str] = []
        found: queue.Queue[re.Match[str] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(found,), daemon=True)
        self._reader.start()
        match = found.get(timeout=_LIMIT_S)
        assert match is not None, "the service did not start:\n" + "".join(self.lines)
        self.url, self.port = match["url"], int(match["port"])
        return self

    def _read(self, found: queue.Queue[re.Match[str] | None]) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            match = _LINE.search(line)
            if match:
                found.put(match)
        found.put(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_LIMIT_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(_LIMIT_S)
            if self.process.stderr is not None:
                self.process.stderr.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection: http.client.HTTPConnection
        if self.url.startswith("https"):
            context = ssl.create_default_context(cafile=self._verify)
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_LIMIT_S, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LIMIT_S)
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(method, path, body, own | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def tell(self, record: BuildRecord) -> Answer:
        """Report a build."""
        return self.ask("POST", "/v1/builds", wire.encode_report(record))

    def plan(self, intent: Intent, changes: Changes | None = None, budget: Budget | None = None) -> wire.PlanAnswer:
        """Ask for a plan."""
        request = PlanRequest(intent, changes or Changes())
        answer = self.ask("POST", "/v1/prefetch-plan", wire.encode_question(request, budget or Budget()))
        assert answer.status == 200, answer.body
        return wire.decode_answer(answer.body)
