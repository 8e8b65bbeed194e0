"""`/openapi.json`, made from the table of routes and their types of bodies (A7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chorus import __version__
from chorus.server.dialects.base import Dialect
from chorus.server.http.routes import Route

_ERROR = {"$ref": "#/components/schemas/Error"}
_STRING_ERROR = {"$ref": "#/components/schemas/OllamaError"}
_ERRORS = {
    "400": "The request is invalid",
    "403": "The Host or Origin is not allowed",
    "404": "Unknown model or thing",
    "405": "The method is not allowed",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The body is compressed",
    "429": "An upstream is rate limited",
    "431": "The headers are too large",
    "500": "Internal error",
    "501": "Not supported",
    "502": "An upstream, or all workers, failed",
    "503": "The server is stopping",
    "504": "An upstream did not answer in time",
}


def document(dialects: Sequence[Dialect[Any]], routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of `routes`, among them those of `dialects`."""
    bodies = list({route.body: None for route in routes if route.body is not None})
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    components = {**components, "Error": _error_schema(), "OllamaError": _ollama_error_schema()}
    schema_of = dict(zip(bodies, schemas, strict=True))
    dialect_of = {dialect.path: dialect for dialect in dialects}
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route)
        if route.body is not None:
            kinds = ("application/json", "multipart/form-data") if route.takes_form else ("application/json",)
            content = {kind: {"schema": schema_of[route.body]} for kind in kinds}
            operation["requestBody"] = {"required": True, "content": content}
        if route.path in dialect_of:
            operation |= _generation(dialect_of[route.path])
        paths[route.openapi_path] = {method.lower(): _of_method(operation, method) for method in route.methods}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chorus", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": components},
    }


def _of_method(operation: dict[str, Any], method: str) -> dict[str, Any]:
    """Return `operation` without a body where `method` has none."""
    if method not in ("GET", "DELETE"):
        return operation
    return {name: value for name, value in operation.items() if name != "requestBody"}


def _generation(dialect: Dialect[Any]) -> dict[str, Any]:
    """Return what is described of a dialect beside its route."""
    stream = "text/event-stream" if dialect.framing == "sse" else "application/x-ndjson"
    return {
        "operationId": dialect.path.strip("/").replace("/", "_"),
        "responses": {
            "200": {
                "description": "The answer, whole or streamed",
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    stream: {"schema": {"type": "string"}},
                },
            },
            **_errors(_STRING_ERROR if dialect.error_style == "ollama" else _ERROR),
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "200": {
                "description": "OK",
                "content": {route.media_type: {"schema": _answer_schema(route)}},
            },
            **_errors(_error_of(route)),
        },
    }
    if route.parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.parameters
        ]
    return operation


def _answer_schema(route: Route) -> dict[str, Any]:
    """Return the schema of a successful answer."""
    if route.media_type == "*/*":
        return {}
    return {"type": "object" if route.is_json else "string"}


def _error_of(route: Route) -> dict[str, Any]:
    """Return the schema of the errors of `route`."""
    if route.has_own_errors:
        return {"type": "object"}
    is_ollama = route.openapi_path.startswith("/api/") and not route.openapi_path.startswith("/api/v1/")
    return _STRING_ERROR if is_ollama else _ERROR


def _errors(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text in _ERRORS.items()
    }


def _error_schema() -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "string"} for name in ("message", "type", "code", "request_id")}
    fields["param"] = {"type": ["string", "null"]}
    error = {"type": "object", "properties": fields, "required": ["message", "type", "code", "request_id", "param"]}
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}


def _ollama_error_schema() -> dict[str, Any]:
    fields = {name: {"type": "string"} for name in ("error", "code", "request_id")}
    return {"type": "object", "properties": fields, "required": ["error"]}
