"""Asks a planner service, and tells it of builds. Blocks, so it belongs into a worker thread."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from kache import __version__
from kache.core.usage import BuildRecord
from kache.errors import PlannerError
from kache.planner import wire
from kache.planner.plan import Budget, PlanRequest
from kache.planner.wire import PlanAnswer

ASK_S = 0.25
"""How long a build's plan waits for the service: it goes on with what is known here."""
TELL_S = 10.0
MAX_ANSWER_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class PlannerClient:
    """A service.

    Attributes:
        url: of it, `http://` or `https://`, with a path if it is behind one.
        token: bearer token; empty for a service that asks for none.
    """

    url: str
    token: str = ""

    def plan(self, request: PlanRequest, budget: Budget, limit_s: float = ASK_S) -> PlanAnswer:
        """Ask for a plan.

        Raises:
            PlannerError: it does not answer in time, or not with a plan.
        """
        body = self._post("/v1/prefetch-plan", wire.encode_question(request, budget), limit_s)
        try:
            return wire.decode_answer(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PlannerError(f"{self.url} answers with something else than a plan", why=str(error)) from error

    def report(self, record: BuildRecord, limit_s: float = TELL_S) -> None:
        """Tell of a build.

        Raises:
            PlannerError: it does not take it.
        """
        self._post("/v1/builds", wire.encode_report(record), limit_s)

    def _post(self, path: str, body: bytes, limit_s: float) -> bytes:
        place = urlsplit(self.url)
        connection: http.client.HTTPConnection
        try:
            if place.scheme == "https":
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(place.netloc, timeout=limit_s, context=context)
            else:
                connection = http.client.HTTPConnection(place.netloc, timeout=limit_s)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PlannerError(f"{self.url} cannot be used", why=str(error)) from error
        headers = {"Content-Type": "application/json", "User-Agent": f"kache/{__version__}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("POST", place.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PlannerError(f"{self.url} does not answer", why=str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if len(content) > MAX_ANSWER_BYTES:
            raise PlannerError(f"{self.url} answers with more than {MAX_ANSWER_BYTES} bytes")
        if answer.status >= 300:
            raise PlannerError(f"{self.url} answers {answer.status} {answer.reason}", why=_why(content))
        return content


def _why(content: bytes) -> str:
    try:
        problem = msgspec.json.decode(content, type=wire.Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return content[:200].decode(errors="replace")
    return "; ".join(part for part in (problem.what, problem.why, problem.fix) if part)
