"""How much a model is to think, as its family takes it.

And what goes only without thinking. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chorus.llm.providers.anthropic.families import Family
from chorus.llm.providers.traits import EFFORTS, Traits, nearest_effort
from chorus.types import ChatRequest
from chorus.wirejson import JSON

_BUDGETS: Final = {
    "minimal": 1_024,
    "low": 4_096,
    "medium": 10_000,
    "high": 24_000,
    "xhigh": 32_000,
    "max": 48_000,
}
"""Tokens of thinking by effort.

The dialect reads budgets with the same bounds (4,096 and 16,384).
"""
_LEAST_BUDGET: Final = 1_024
INTERLEAVED: Final = "interleaved-thinking-"
"""What the beta feature's name begins with that lets a model think between calls of tools."""
_LEAST_TOP_P: Final = 0.95
"""What Anthropic takes of `top_p` beside thinking."""


def thinking_fields(
    request: ChatRequest,
    given: Mapping[str, JSON],
    family: Family,
    traits: Traits,
    max_tokens: int,
    warn: Callable[[str], None],
    *,
    begins: bool = False,
    lacks_thinking: bool = False,
    is_interleaved: bool = False,
) -> dict[str, Any]:
    """Return `thinking`, and `output_config` with the effort, for a body.

    Empty where nothing is asked for.

    `given` holds the client's own fields of this wire: its `thinking` is kept where the model takes
    it. `begins`: the conversation ends with the beginning of the answer. `lacks_thinking`: the
    last turn that calls tools does not begin with its thoughts. `is_interleaved`: the model may
    think between calls of tools.
    """
    own = given.get("thinking")
    own = own if isinstance(own, Mapping) and isinstance(own.get("type"), str) else None
    wanted = request.reasoning_effort
    if own is None and wanted is None:
        return {}
    effort = _effort(own, wanted)
    fields: dict[str, Any] = {}
    if "thinking" not in traits.omit and family.thinking != "none":
        if effort == "none":
            fields = _off(own, family, traits, warn)
        elif (reason := _why_not(request, traits, begins=begins, lacks_thinking=lacks_thinking)) is not None:
            warn(f"'thinking' is left out: {reason}.")
            fields = _off(None, family, traits, warn)
        else:
            fields = _on(own, effort, traits, max_tokens, warn, is_interleaved=is_interleaved)
    elif effort != "none":
        warn("'reasoning_effort' is left out: the model does not think.")
    if isinstance(wanted, str) and wanted != "none" and family.efforts and "effort" not in traits.omit:
        sent = nearest_effort(wanted, family.efforts) if wanted in EFFORTS else wanted
        if sent != wanted:
            warn(f"'reasoning_effort' is sent as '{sent}': the model does not know the value that was asked for.")
        fields["output_config"] = {"effort": sent}
    return fields


def _effort(own: Mapping[str, JSON] | None, wanted: str | bool | None) -> str:
    """Return what is asked for in one word; `medium` is thinking of no certain length."""
    if own is not None and own["type"] in ("disabled", "between_tools"):
        return "none"
    if wanted is False or wanted == "none":
        return "none"
    return wanted if isinstance(wanted, str) else "medium"


def _why_not(request: ChatRequest, traits: Traits, *, begins: bool, lacks_thinking: bool) -> str | None:
    """Return why this request cannot be answered with thinking; None where it can."""
    if begins:
        return "the answer has begun, which cannot be together"
    choice = request.tool_choice
    if choice == "required" or (isinstance(choice, Mapping) and choice.get("type") != "allowed_tools"):
        return "a tool is required, which cannot be together"
    if not traits.adaptive_thinking and lacks_thinking:
        return "the turn that called the tools came back without its thinking"
    return None


def _on(
    own: Mapping[str, JSON] | None,
    effort: str,
    traits: Traits,
    max_tokens: int,
    warn: Callable[[str], None],
    *,
    is_interleaved: bool,
) -> dict[str, Any]:
    """Return `thinking`.

    A budget has to be less than `max_tokens`, unless it `is_interleaved`: it is then for all of the
    thinking between calls of tools.
    """
    display = {"display": own["display"]} if own is not None and isinstance(own.get("display"), str) else {}
    if traits.adaptive_thinking:
        # newer models send signatures without a text unless they are asked for it
        return {"thinking": {"type": "adaptive", "display": "summarized", **display}}
    given = own.get("budget_tokens") if own is not None else None
    if max_tokens <= _LEAST_BUDGET and not (isinstance(given, int) and is_interleaved):
        warn(f"'thinking' is left out: it takes {_LEAST_BUDGET} tokens, and the answer may have {max_tokens}.")
        return {}
    if not isinstance(given, int):
        budget = min(_BUDGETS.get(effort, _BUDGETS["medium"]), max(max_tokens - max_tokens // 5, _LEAST_BUDGET))
    elif given >= max_tokens and not is_interleaved:
        budget = max(max_tokens - max_tokens // 5, _LEAST_BUDGET)
    else:
        budget = max(given, _LEAST_BUDGET)
    if isinstance(given, int) and budget != given:
        warn(f"'budget_tokens' is sent as {budget}: the answer may have {max_tokens} tokens.")
    return {"thinking": {"type": "enabled", "budget_tokens": budget, **display}}


def _off(own: Mapping[str, JSON] | None, family: Family, traits: Traits, warn: Callable[[str], None]) -> dict[str, Any]:
    if not family.is_known or not traits.adaptive_thinking:
        return {"thinking": {"type": "disabled"}} if own is not None and own["type"] == "disabled" else {}
    if family.off == "never":
        warn("The model thinks whether it is asked to or not: 'thinking' cannot be switched off.")
        return {}
    if family.off == "omitted":
        return {}
    return {"thinking": {"type": family.off}}


def sampling_fields(
    request: ChatRequest, family: Family, *, thinks: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return `temperature`, `top_p` and `top_k` as far as the model takes them.

    `thinks` tells whether the body asks for thinking.
    """
    sampling = request.sampling
    given: dict[str, JSON] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": request.ollama_options.get("top_k", request.extra.get("top_k")),
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if not fields:
        return fields
    if not family.samples:
        for name in sorted(fields):
            warn(f"'{name}' is left out: the model does not take it.")
        return {}
    if isinstance(fields.get("temperature"), int | float) and fields["temperature"] > 1:
        warn("'temperature' is sent as 1, the highest that the model takes.")
        fields["temperature"] = 1
    if thinks:
        refused: list[str] = [name for name in ("temperature", "top_k") if name in fields and fields[name] != 1]
        refused += ["top_p"] if fields.get("top_p", 1) < _LEAST_TOP_P else []
        for name in refused:
            warn(f"'{name}' is left out: it cannot be set while the model thinks.")
            del fields[name]
    if not family.takes_both and fields.keys() >= {"temperature", "top_p"}:
        warn("'top_p' is left out: the model takes it or 'temperature', not both.")
        del fields["top_p"]
    return fields
