"""The usage that an upstream reports, as far as it can be believed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chorus.llm.counts import count_of
from chorus.usage import Usage
from chorus.wirejson import JSON


def usage_of(value: JSON, prompt_estimate: Callable[[], int]) -> Usage | None:
    """Return the token counts of a `usage` object.

    None where it does not tell how long the answer is.

    What is missing of prompt, completion and total is worked out from the other two; a prompt that
    still is not known is estimated. Who collects the answer estimates its length.
    """
    if not isinstance(value, dict):
        return None
    prompt, completion = count_of(value.get("prompt_tokens")), count_of(value.get("completion_tokens"))
    total = count_of(value.get("total_tokens"))
    if completion is None and prompt is not None and total is not None and total >= prompt:
        completion = total - prompt
    if completion is None:
        return None
    if prompt is None and total is not None and total >= completion:
        prompt = total - completion
    known = prompt if prompt is not None else prompt_estimate()
    cached = _detail(value, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(value, "completion_tokens_details", "reasoning_tokens")
    return Usage(known, completion, min(cached, known), reasoning, estimated=prompt is None)


def _detail(usage: Mapping[str, JSON], group: str, name: str) -> int:
    details = usage.get(group)
    return (count_of(details.get(name)) or 0) if isinstance(details, dict) else 0
