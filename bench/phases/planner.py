"""The planner service over a year: its database, its memory and its answers as a company's builds come in.

Histories are generated: workspaces of 2,000 units whose sources and dependencies change from build to build. One in
`SAMPLE` of the whole builds of 200 developers and their CI is told; of each workspace the service keeps the units of
the newest 64, so what it plans with is the same as with all of them.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.context import Context, say
from bench.errors import BenchError

DEVELOPERS = 200
DAYS = 230
BUILDS_A_DAY = 3
SAMPLE = 100
WORKSPACES = 12
UNITS = 2_000
MEMBERS = 150
MONTHS = 12
NEW_A_SECOND, REPEATED_A_SECOND = 20, 200
LIMIT_S = 0.050
_LINE = re.compile(r"planner: http://\S+:(\d+) ")
_START_S = 60


def run(context: Context, _: str) -> dict[str, object]:
    """Tell a service of a year's builds, measuring each month; then ask it at two rates."""
    where = context.work / "planner"
    where.mkdir(parents=True, exist_ok=True)
    for path in where.glob("planner.db*"):
        path.unlink()
    service = _Service(context, where)
    try:
        company = [_Tree(number) for number in range(WORKSPACES)]
        builds = DEVELOPERS * DAYS * BUILDS_A_DAY // SAMPLE
        months, told_s = [], 0.0
        for month in range(MONTHS):
            for number in range(builds // MONTHS):
                tree = company[number % WORKSPACES]
                tree.change()
                body = tree.report()
                started = time.perf_counter()
                service.ask("/v1/builds", body)
                told_s += time.perf_counter() - started
            answers = [service.timed("/v1/prefetch-plan", company[0].changed_question()) for _ in range(20)]
            months.append({"month": month + 1, **service.weight(), "answer_s": _quantile(answers, 0.5)})
            say(f"planner: month {month + 1}: {months[-1]}")
        new = service.at_rate(NEW_A_SECOND, 10 * NEW_A_SECOND, company[0].changed_question)
        asked = company[0].question()
        service.timed("/v1/prefetch-plan", asked)
        repeated = service.at_rate(REPEATED_A_SECOND, 5 * REPEATED_A_SECOND, lambda: asked)
        planned = len(json.loads(service.ask("/v1/prefetch-plan", asked))["units"])
    finally:
        service.stop()
    uses = min(builds, WORKSPACES * 64) * UNITS
    say(
        f"planner: {uses} unit uses; new p99 {new['p99_s'] * 1e3:.1f} ms, repeated p99 {repeated['p99_s'] * 1e3:.1f} ms"
    )
    return {
        "builds_told": builds,
        "builds_a_year": DEVELOPERS * DAYS * BUILDS_A_DAY,
        "unit_uses": uses,
        "planned_units": planned,
        "report_s": round(told_s / builds, 6),
        "new": new,
        "repeated": repeated,
        "months": months,
        "limit_s": LIMIT_S,
        "ok": new["p99_s"] < LIMIT_S and repeated["p99_s"] < LIMIT_S and uses >= 1_000_000,
    }


class _Tree:
    """A workspace that changes: unit i waits for up to three before it; the last ones are members."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._random = random.Random(number)  # noqa: S311 - a history, no secret
        self._versions = [0] * UNITS
        self._waits = [sorted(self._random.sample(range(at), min(at, 3))) for at in range(UNITS)]
        self._builds = 0

    def change(self) -> None:
        """Four commits in five edit a member; the fifth bumps a dependency."""
        is_bump = self._random.random() < 0.2
        first, end = (UNITS // 2, UNITS - MEMBERS) if is_bump else (UNITS - MEMBERS, UNITS)
        self._versions[self._random.randrange(first, end)] += 1
        self._builds += 1

    def report(self) -> bytes:
        """Body of POST /v1/builds."""
        keys: list[bytes] = []
        units = []
        for at in range(UNITS):
            parts = [f"{self._number}.{at}.{self._versions[at]}".encode(), *(keys[other] for other in self._waits[at])]
            keys.append(hashlib.sha256(b"".join(parts)).digest())
            units.append(
                {
                    "key": _text(keys[-1]),
                    "crate_name": f"crate_number_{at}",
                    "unit_kind": "lib",
                    "package": f"crate-number-{at} 1.{self._versions[at]}.0",
                    "origin": _text(self._origin(at)),
                    "source": _text(self._source(at)) if self._is_member(at) else "",
                    "unit_hash": _text(hashlib.sha256(b"unit %d" % at).digest()[:8]),
                    "compile_ms": 200 + (at * 37) % 9_000,
                    "size_bytes": 20_000 + (at * 7_919) % 3_000_000,
                    "need_ms": at * 20,
                    "outcome": "remote_hit",
                    "waits": self._waits[at],
                }
            )
        mark = hashlib.sha256(b"build %d %d" % (self._number, self._builds)).digest()
        found = {"id": _text(mark), "intent": self._intent(), "units": units, "is_whole": True, "at_s": self._builds}
        return json.dumps(found).encode()

    def question(self) -> bytes:
        """Body of POST /v1/prefetch-plan for the sources as they are."""
        return self._asked(self._versions)

    def changed_question(self) -> bytes:
        """The same after an edit that nobody has built yet."""
        versions = list(self._versions)
        versions[self._random.randrange(UNITS - MEMBERS, UNITS)] += self._random.randrange(1, 1 << 30)
        return self._asked(versions)

    def _asked(self, versions: list[int]) -> bytes:
        now, self._versions = self._versions, versions
        packages = [_text(self._origin(at)) for at in range(UNITS) if not self._is_member(at)]
        sources = [
            {"group": _text(self._origin(at)), "digest": _text(self._source(at))}
            for at in range(UNITS)
            if self._is_member(at)
        ]
        self._versions = now
        return json.dumps({"intent": self._intent(), "packages": packages, "sources": sources}).encode()

    def _intent(self) -> dict[str, object]:
        return {
            "workspace": _text(hashlib.sha256(b"workspace %d" % self._number).digest()),
            "label": f"workspace-{self._number}",
            "toolchain": _text(hashlib.sha256(b"toolchain").digest()),
            "branch": "main",
        }

    def _is_member(self, at: int) -> bool:
        return at >= UNITS - MEMBERS

    def _origin(self, at: int) -> bytes:
        version = 0 if self._is_member(at) else self._versions[at]
        return hashlib.sha256(b"origin %d %d %d" % (self._number, at, version)).digest()[:8]

    def _source(self, at: int) -> bytes:
        return hashlib.sha256(b"source %d" % self._versions[at]).digest()[:8]


class _Service:
    """`kache planner serve` on loopback, and one connection to it."""

    def __init__(self, context: Context, where: Path) -> None:
        argv = [str(context.program), "planner", "serve", "--bind", "127.0.0.1:0", "--rate", "100000"]
        env = dict(context.base_env)
        self._where = where
        self._log = where / "planner.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, cwd=where, env=env, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while (found := _LINE.search(self._log.read_text())) is None:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise BenchError("the planner did not start", self._log.read_text()[-500:], "install kache[planner]")
            time.sleep(0.05)
        self._connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)

    def ask(self, path: str, body: bytes) -> bytes:
        """POST; the answer's body."""
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise BenchError(f"the planner answers {answer.status}", content[:500].decode(), f"see {self._log}")
        return content

    def timed(self, path: str, body: bytes) -> float:
        """How long a POST takes, in seconds."""
        started = time.perf_counter()
        self.ask(path, body)
        return time.perf_counter() - started

    def at_rate(self, rate: int, count: int, make: Callable[[], bytes]) -> dict[str, float]:
        """Ask for plans so often; times count from when each should have been asked."""
        bodies = [make() for _ in range(count)]
        started, waits = time.perf_counter(), []
        for number, body in enumerate(bodies):
            due = started + number / rate
            time.sleep(max(due - time.perf_counter(), 0))
            self.ask("/v1/prefetch-plan", body)
            waits.append(time.perf_counter() - due)
        quantiles = {f"p{int(part * 100)}_s": _quantile(waits, part) for part in (0.5, 0.99)}
        return {"rate": rate, "count": count, **quantiles, "max_s": round(max(waits), 6)}

    def weight(self) -> dict[str, int]:
        """Bytes of the database and of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        rss = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024
        return {
            "database_bytes": sum(path.stat().st_size for path in self._where.glob("planner.db*")),
            "rss_bytes": rss,
        }

    def stop(self) -> None:
        """End it."""
        self._connection.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * part), len(ordered) - 1)], 6)
