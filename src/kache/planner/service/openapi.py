"""The service's OpenAPI document, made from the very types that requests are read with. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from kache import __version__
from kache.planner import wire
from kache.planner.service import history

_TYPES = (wire.PlanQuestion, wire.PlanAnswer, wire.BuildReport, wire.Problem, history.Workspace, history.Workspaces)
_LETTER = "[A-Za-z0-9+/]"
_BASE64 = f"^({_LETTER}{{4}})*({_LETTER}{{2}}==|{_LETTER}{{3}}=)?$"
_PROBLEMS = {
    "400": "the request cannot be understood",
    "401": "a token is needed, or this one is not good",
    "403": "the token does not allow this",
    "413": "the request is too large",
    "415": "the request is encoded in a way that is not known",
    "429": "too many requests",
    "503": "the database cannot be used just now",
}


class Told(msgspec.Struct, frozen=True):
    """Answer of POST /v1/builds: whether the build is a new one."""

    new: bool


def document() -> dict[str, Any]:
    """All of it."""
    _, components = msgspec.json.schema_components((*_TYPES, Told), ref_template="#/components/schemas/{name}")
    _say_base64(components)
    identity = {
        "name": "workspace",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 500}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "kache planner", "version": __version__, "description": "Bytes are written in base64."},
        "paths": {
            "/v1/prefetch-plan": {
                "post": _operation("What a coming build will need", "PlanAnswer", body="PlanQuestion")
            },
            "/v1/builds": {"post": _operation("What a build has used", "Told", body="BuildReport")},
            "/v1/workspaces": {"get": _operation("All workspaces", "Workspaces")},
            "/v1/workspaces/{workspace}": {
                "get": _operation("One workspace", "Workspace", parameters=[identity, limit], missing=True)
            },
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _say_base64(node: Any) -> None:
    """Give texts that hold bytes a pattern: `contentEncoding` alone is a remark, which no reader checks."""
    if isinstance(node, list):
        for each in node:
            _say_base64(each)
    if isinstance(node, dict):
        if node.get("contentEncoding") == "base64":
            longest = int(node.get("maxLength", 0))
            is_fixed = bool(longest) and node.get("minLength") == longest
            node["pattern"] = f"^{_LETTER}{{{longest - 2}}}[AEIMQUYcgkosw048]=$" if is_fixed else _BASE64
        for each in node.values():
            _say_base64(each)


def _operation(
    summary: str,
    answer: str,
    *,
    body: str = "",
    parameters: list[dict[str, Any]] | None = None,
    missing: bool = False,
) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": summary, "responses": {"200": _content(summary, answer)}}
    if body:
        made["requestBody"] = {"required": True, **_content(summary, body)}
        del made["requestBody"]["description"]
    if parameters:
        made["parameters"] = parameters
    problems = {**_PROBLEMS, "404": "no build of it is known"} if missing else _PROBLEMS
    made["responses"] |= {status: _content(text, "Problem") for status, text in problems.items()}
    return made


def _content(description: str, name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
