"""A scripted model that does what it is asked: enough of a mind for the suites of client libraries.

"Refuse with 429" and "Hang" are done as said; "Hang at the end" hangs only where a workflow writes
its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.kit import Behaviour, Hang, Recorded, Say, Status

from .conftest import ANSWER

REPORT = "It rains in Paris."
"""What it says once it has a tool's result."""

Schema = Mapping[str, Any]


def capable(request: Recorded) -> Behaviour:
    """Calls a tool it is given, reads its result, fills in a form, and else says `ANSWER`."""
    question = _question(request)
    if refused := re.match(r"Refuse with (\d+)", question):
        return Status(int(refused[1]))
    if question == "Hang" or (question == "Hang at the end" and request.last_user_text.startswith("[Chorus synth")):
        return Hang("body")
    if any(message["role"] == "tool" for message in request.messages):
        return Say(REPORT, usage=(11, 7))
    if tools := request.json.get("tools"):
        function = _chosen(tools, request.json.get("tool_choice"))
        schema = function.get("parameters") or {}
        arguments = json.dumps(_filled(schema, schema, question), ensure_ascii=False)
        call = {"id": f"call_{len(request.messages)}", "name": function["name"], "arguments": arguments}
        return Say("", tool_calls=[call], usage=(11, 7))
    if form := _form(request.json, question):
        return Say(json.dumps(_filled(form, form, question), ensure_ascii=False), usage=(11, 7))
    return Say(ANSWER, usage=(11, 7))


def _question(request: Recorded) -> str:
    """What the client asked last; a workflow's own instructions come behind it."""
    asked = [message["content"] for message in request.messages if message["role"] == "user"]
    texts = [said if isinstance(said, str) else json.dumps(said, ensure_ascii=False) for said in asked]
    return [text for text in texts if not text.startswith("[Chorus")][-1] if texts else ""


def _chosen(tools: Sequence[Mapping[str, Any]], choice: Any) -> Mapping[str, Any]:
    functions: list[Mapping[str, Any]] = [tool["function"] for tool in tools]
    wanted = choice["function"]["name"] if isinstance(choice, dict) else functions[0]["name"]
    return next(function for function in functions if function["name"] == wanted)


def _form(body: Mapping[str, Any], question: str) -> Schema | None:
    """The schema to answer in: OpenAI's, Ollama's, or of the keys that the question names."""
    wanted = body.get("response_format") or body.get("format")
    if isinstance(wanted, dict) and "json_schema" in wanted:
        found: Schema = wanted["json_schema"]["schema"]
        return found
    if isinstance(wanted, dict) and wanted.get("type") not in ("json_object", "text"):
        return wanted
    if wanted == "json" or isinstance(wanted, dict):
        keys = re.findall(r"'(\w+)' (?:and|keys)", question)
        return {"type": "object", "properties": {key: {"type": "string"} for key in keys}}
    return None


def _filled(schema: Schema, root: Schema, question: str) -> Any:
    """Something that fits `schema`, with the numbers and quoted words of the question where it has
    some.
    """
    if "$ref" in schema:
        return _filled(_at(root, schema["$ref"]), root, question)
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], root, question)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {key: _filled(entry, root, question) for key, entry in schema.get("properties", {}).items()}
    if kind == "array":
        return [_filled(schema["items"], root, question)]
    if kind in ("integer", "number"):
        return int(next(iter(re.findall(r"\d+", question)), "7"))
    return kind == "boolean" or next(iter(_quoted(question)), "Paris")


def _at(root: Schema, pointer: str) -> Schema:
    for step in pointer.removeprefix("#/").split("/"):
        root = root[step]
    return root


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']+)'", text)
