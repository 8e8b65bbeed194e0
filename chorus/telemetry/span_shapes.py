"""What many spans have in common, made once (O3).

Above: `spans` says what is known of a span. A gateway's spans differ in their times, ids and
tokens; the model, its address, its instance and how a call ends come again with each request. So
the name and the attributes are made once for equal facts, and `otlp` encodes them once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
from opentelemetry.trace import SpanKind

from chorus.telemetry import genai
from chorus.telemetry.span_recorder import Attributes, Shape

_KEPT: Final = 1024
"""Shapes that are kept: those of a few hundred models and workflows, each with some endings."""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a span, but for what no other span has. None: there is nothing to say."""

    operation: str
    called: str
    """What stands behind the operation in the name of the span."""
    model: str | None = None
    """The model that is asked for; `workflow`: the workflow that answers."""
    workflow: str | None = None
    is_call: bool = False
    """Whether the span is a call of a model.

    `is_served`: whether it is one that a worker answers.
    """
    is_served: bool = False
    provider: str | None = None
    api_base: str | None = None
    temperature: float | None = None
    instance: str | None = None
    selected: str | None = None
    finish_reasons: tuple[str, ...] | None = None
    stage: str | None = None
    path: str | None = None
    status: str | None = None
    choices: int = 1
    shortcuts: tuple[str, ...] = ()
    error_type: str | None = None


@lru_cache(_KEPT)
def shape_of(facts: Facts) -> Shape:
    """Return the name, the kind and the attributes of a span of which this is known."""
    kind = SpanKind.CLIENT if facts.is_call else SpanKind.SERVER if facts.is_served else SpanKind.INTERNAL
    return Shape(f"{facts.operation} {facts.called}", kind, _attributes(facts))


@lru_cache(_KEPT)
def queue_shape(path: str) -> Shape:
    """Return the shape of a wait for a slot of the stage at `path`."""
    return Shape("queue", SpanKind.INTERNAL, {genai.PATH: path})


def _attributes(facts: Facts) -> Attributes:
    attributes: Attributes = {genai.OPERATION: facts.operation}
    named = {
        genai.WORKFLOW: facts.workflow,
        genai.REQUEST_MODEL: facts.model,
        genai.TEMPERATURE: float(facts.temperature) if facts.temperature is not None else None,
        genai.INSTANCE: facts.instance,
        genai.SELECTED: facts.selected,
        genai.FINISH_REASONS: facts.finish_reasons,
        genai.STAGE: facts.stage,
        genai.PATH: facts.path,
        genai.STATUS: facts.status,
        genai.CHOICES: facts.choices if facts.choices > 1 else None,
        genai.SHORTCUTS: facts.shortcuts or None,
        genai.ERROR_TYPE: facts.error_type,
    }
    attributes |= {name: value for name, value in named.items() if value is not None}
    if facts.provider is not None:
        attributes |= genai.endpoint_attributes(facts.provider, facts.api_base)
    return attributes
