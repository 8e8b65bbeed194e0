"""Answers as Anthropic's clients read them: blocks, usage, and what comes back with the next turn.

A `signature` is an opaque value of ours with the reasoning and the provider's own fields in it,
since clients drop thinking without one. Fields of an answer without reasoning, and of its tool
calls (Gemini's thought signatures), go out as the `data` of a `redacted_thinking` block, which
every client of Anthropic sends back as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from chorus import anthropic_content, wirejson
from chorus.events import RunFinished
from chorus.server.dialects.anthropic.wire import CALLS
from chorus.server.dialects.base import ResponseContext
from chorus.server.dialects.citations import annotations_of
from chorus.server.dialects.media_notes import notes, with_notes
from chorus.server.dialects.opaque_reasoning import seal
from chorus.types import Answer, Extra
from chorus.usage import Usage
from chorus.wirejson import JSON

STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_NOT_STOPPED: Final[Mapping[str, JSON]] = {"stop_reason": None, "stop_sequence": None}
_KEPT: Final = frozenset({"extra_content", "provider_specific_fields", "thinking_blocks", "thought_signature"})
"""Fields of an answer that its provider may need back, beside those that begin with `reasoning`."""


def message_body(
    context: ResponseContext[None], content: Iterable[JSON], usage: JSON, stop: Mapping[str, JSON] = _NOT_STOPPED
) -> dict[str, Any]:
    """Return the message itself, with this content."""
    return {
        "id": context.id,
        "type": "message",
        "role": "assistant",
        "model": context.parsed.model,
        "content": list(content),
        **stop,
        "usage": usage,
    }


def usage_of(done: RunFinished) -> dict[str, JSON]:
    """Return `usage` at the end; `ensemble` is the sum over all calls of a workflow."""
    ensemble = done.ensemble
    return {**usage_body(done.reported), **({"ensemble": ensemble} if ensemble is not None else {})}


def usage_body(usage: Usage) -> dict[str, int]:
    """Return `usage`. Anthropic counts cached tokens beside the others, not among them."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    """Return the content of a whole answer."""
    native = anthropic_content.blocks_of(answer.extra)
    if native and anthropic_content.text_of(native) == answer.text:
        yield from native
        return
    extra = provider_fields(answer.extra)
    if of_calls := {call.id: call.extra for call in answer.tool_calls if call.extra}:
        extra[CALLS] = of_calls
    if thinking := own_thinking(answer.reasoning, extra):
        yield from thinking
    elif answer.reasoning:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": seal(answer.reasoning, extra)}
    elif extra and (block := redacted(extra)) is not None:
        yield block
    if answer.text or not answer.tool_calls:
        cited = list(citations(answer.extra))
        yield {"type": "text", "text": with_notes(answer.text, answer.extra), **({"citations": cited} if cited else {})}
    elif note := "\n\n".join(filter(None, (notes(answer.extra), sources(citations(answer.extra))))):
        yield {"type": "text", "text": note}
    for call in answer.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)}


def own_thinking(reasoning: str, extra: Extra) -> list[dict[str, Any]]:
    """Return thinking that came from Anthropic as it came, with its own signatures.

    None where there is more to bring back than it, or the client does not read just these words.
    """
    if extra.keys() != {"reasoning_details"}:
        return []
    thinking = anthropic_content.thinking_of(extra)
    said = "".join(block.get("thinking", "") for block in thinking)
    return thinking if said == reasoning and len(thinking) == len(extra["reasoning_details"]) else []


def stop_of(answer: Answer) -> dict[str, JSON]:
    """Return why an answer ended: as Anthropic itself said it, where that is known."""
    own = answer.extra.get(anthropic_content.STOP)
    own = own if isinstance(own, Mapping) else {}
    return {
        "stop_reason": own.get("stop_reason") or STOP_REASONS[answer.finish_reason],
        "stop_sequence": own.get("stop_sequence"),
    }


def provider_fields(extra: Extra) -> dict[str, JSON]:
    """Return those fields of an answer that its provider may need with the next turn.

    `phase` alone is not worth a block of its own.
    """
    needed = {key: value for key, value in extra.items() if key in _KEPT or key.startswith("reasoning")}
    return {**needed, "phase": extra["phase"]} if needed and "phase" in extra else needed


def redacted(extra: Extra) -> dict[str, Any] | None:
    """Return a block that brings `extra` back; None where it is too large for one."""
    data = seal("", extra)
    return {"type": "redacted_thinking", "data": data} if data else None


def citations(extra: Extra) -> Iterator[dict[str, JSON]]:
    """Return the citations of an answer, whatever field its provider has them in, as Anthropic's
    citations of web pages.
    """
    for cited in annotations_of(extra):
        if isinstance(own := cited.get(anthropic_content.CITATION), Mapping):
            yield dict(own)
        elif cited["type"] == "url_citation" and isinstance(cited["url"], str) and cited["url"]:
            title, content = cited.get("title"), cited.get("content")
            yield {
                "type": "web_search_result_location",
                "url": cited["url"],
                "title": title if isinstance(title, str) and title else None,
                "cited_text": content if isinstance(content, str) else "",
                "encrypted_index": "",
            }


def sources(cited: Iterable[Mapping[str, JSON]]) -> str:
    """Return citations as a text, for those that have no text to stand at."""
    lines = [
        f"- {citation['title']}: {citation['url']}" if citation["title"] else f"- {citation['url']}"
        for citation in cited
        if citation.get("url")
    ]
    return "\n".join(["Sources:", *lines]) if lines else ""


def _input(arguments: str) -> JSON:
    try:
        value = wirejson.decode(arguments or "{}")
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}
