"""The endpoints of providers that are no chat, as their references have them: OpenAI's images,
audio and moderations, Cohere's and Jina's reranking. Refused are unknown fields, missing ones,
forms where JSON is expected and JSON where a form is, and models of another kind.

    relayed(upstream)     # an answer at each path
"""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.kit.record import Recorded
from tests.kit.script import Raw, Status
from tests.kit.upstream import ScriptedUpstream

from .http import Refused, encoded, event, unknown

MODEL = "upstream-name"
AUDIO = bytes(range(256)) * 40
PIXELS = "aW1hZ2U=" * 50

_IMAGE = (
    "model prompt n size quality style response_format user background moderation output_format"
    " output_compression stream partial_images"
)
_FIELDS = {
    "/v1/rerank": "model query documents top_n return_documents max_tokens_per_doc max_chunks_per_doc rank_fields",
    "/v1/images/generations": _IMAGE,
    "/v1/images/edits": _IMAGE + " image image[] mask input_fidelity",
    "/v1/images/variations": "model image n response_format size user",
    "/v1/audio/transcriptions": "model file language prompt response_format temperature stream include[]"
    " timestamp_granularities[] chunking_strategy",
    "/v1/audio/translations": "model file prompt response_format temperature",
    "/v1/audio/speech": "model input voice response_format speed instructions stream_format",
    "/v1/moderations": "model input",
}
_REQUIRED = {
    "/v1/rerank": "model query documents",
    "/v1/images/generations": "model prompt",
    "/v1/images/edits": "model prompt",
    "/v1/images/variations": "model image",
    "/v1/audio/transcriptions": "model file",
    "/v1/audio/translations": "model file",
    "/v1/audio/speech": "model input voice",
    "/v1/moderations": "model input",
}
PATHS = tuple(_FIELDS)
_FORMS = frozenset({"/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations"})
_TEXT_FORMATS = {"text": "two words\n", "srt": "1\n00:00:00,000 --> 00:00:01,000\ntwo words\n", "vtt": "WEBVTT\n"}


@dataclass
class Received:
    """A request that was taken: its fields, and the bytes of its files by the names of their
    fields."""

    path: str
    fields: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)


def relayed(upstream: ScriptedUpstream, *, key: str | None = None) -> list[Received]:
    """Let `upstream` answer at every path, to those with `key` where one is given. Returns the list
    that requests are added to."""
    taken: list[Received] = []

    def answer(recorded: Recorded) -> Raw | Status:
        try:
            if key is not None and recorded.headers.get("authorization") != f"Bearer {key}":
                raise Refused("Incorrect API key provided.", 401)
            received = _received(recorded)
        except Refused as refusal:
            return Status(refusal.status, {"error": {"message": str(refusal), "type": "invalid_request_error"}})
        taken.append(received)
        return _ANSWERS[received.path](received.fields)

    for path in PATHS:
        upstream.on(path, answer)
    return taken


def _received(recorded: Recorded) -> Received:
    received = _form(recorded) if recorded.path in _FORMS else _json(recorded)
    given = {**received.fields, **received.files}
    unknown(given, frozenset(_FIELDS[recorded.path].split()))
    for name in _REQUIRED[recorded.path].split():
        if name not in given:
            raise Refused(f"Missing required parameter: '{name}'.")
    if received.fields["model"] != MODEL:
        raise Refused(f"The model '{received.fields['model']}' does not exist.", 404)
    return received


def _json(recorded: Recorded) -> Received:
    if recorded.headers.get("content-type") != "application/json" or not isinstance(recorded.json, dict):
        raise Refused("We could not parse the JSON body of your request.")
    return Received(recorded.path, recorded.json)


def _form(recorded: Recorded) -> Received:
    """Read a form with Python's own parser of e-mails, which is not the one that Chorus uses."""
    kind = recorded.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Refused("Invalid content type. You must send multipart/form-data.")
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + recorded.body)
    received = Received(recorded.path, {})
    for part in message.iter_parts():
        assert isinstance(part, email.message.EmailMessage)
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            received.fields[name] = content.decode()
        else:
            received.files[name] = content
            received.names[name] = part.get_filename()
    return received


def _whole(body: Any) -> Raw:
    return Raw([encoded(body)], content_type="application/json", close=False)


def _stream(*events: dict[str, Any]) -> Raw:
    return Raw([event(data, data["type"]) for data in events], content_type="text/event-stream", close=False)


def _rerank(fields: dict[str, Any]) -> Raw:
    documents = fields["documents"][: fields.get("top_n")]
    results = [{"index": place, "relevance_score": 0.9 - place / 10} for place in range(len(documents))]
    if fields.get("return_documents"):
        for result, document in zip(results, documents, strict=True):
            result["document"] = {"text": document} if isinstance(document, str) else document
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return _whole({"id": "r-1", "results": results, "meta": meta, "usage": {"total_tokens": 12}})


def _image(fields: dict[str, Any]) -> Raw:
    usage = {"input_tokens": 5, "output_tokens": 40, "total_tokens": 45, "input_tokens_details": {"text_tokens": 5}}
    kind = "image_edit" if "image" in fields else "image_generation"
    if fields.get("stream") in (True, "true"):
        return _stream(
            {"type": f"{kind}.partial_image", "b64_json": PIXELS, "partial_image_index": 0},
            {"type": f"{kind}.completed", "b64_json": PIXELS, "usage": usage},
        )
    return _whole({"created": 1, "data": [{"b64_json": PIXELS}] * int(fields.get("n", 1)), "usage": usage})


def _transcription(fields: dict[str, Any]) -> Raw:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 2, "total_tokens": 16}
    wanted = fields.get("response_format", "json")
    if fields.get("stream") == "true":
        return _stream(
            {"type": "transcript.text.delta", "delta": "two "},
            {"type": "transcript.text.delta", "delta": "words"},
            {"type": "transcript.text.done", "text": "two words", "usage": usage},
        )
    if wanted in _TEXT_FORMATS:
        return Raw([_TEXT_FORMATS[wanted].encode()], content_type="text/plain; charset=utf-8", close=False)
    return _whole({"text": "two words", "usage": usage})


def _speech(fields: dict[str, Any]) -> Raw:
    if fields.get("stream_format") == "sse":
        return _stream(
            {"type": "speech.audio.delta", "audio": "aGk="},
            {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}},
        )
    kind = {"wav": "audio/wav", "pcm": "audio/pcm"}.get(fields.get("response_format", "mp3"), "audio/mpeg")
    pieces = [AUDIO[start : start + 1000] for start in range(0, len(AUDIO), 1000)]
    return Raw(pieces, content_type=kind, close=False)


def _moderation(fields: dict[str, Any]) -> Raw:
    count = len(fields["input"]) if isinstance(fields["input"], list) else 1
    result = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.01}}
    return _whole({"id": "modr-1", "model": MODEL, "results": [result] * count})


_ANSWERS: dict[str, Callable[[dict[str, Any]], Raw]] = {
    "/v1/rerank": _rerank,
    "/v1/images/generations": _image,
    "/v1/images/edits": _image,
    "/v1/images/variations": _image,
    "/v1/audio/transcriptions": _transcription,
    "/v1/audio/translations": _transcription,
    "/v1/audio/speech": _speech,
    "/v1/moderations": _moderation,
}


def form(*parts: tuple[str, str | bytes, str | None], boundary: str = "b0undary") -> tuple[bytes, dict[str, str]]:
    """The bytes of a form with these parts, each with its name, its content, and the name of a file
    where it is one; and its headers."""
    body = bytearray()
    for name, content, filename in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        body += (content if isinstance(content, bytes) else content.encode()) + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), {"content-type": f"multipart/form-data; boundary={boundary}"}


def reason(body: bytes) -> str:
    """What an error of OpenAI's API says."""
    return str(json.loads(body)["error"]["message"])
