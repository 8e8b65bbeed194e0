"""Embeddings of a single model: admitted, charged and counted as a request (A4).

Above: `service`. Below: `admission` lets in, the model's embedder answers, `accounting` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio

from chorus.accounting.ledger import UsageLedger
from chorus.admission.admission import Admission
from chorus.auth.principal import Principal
from chorus.errors import UpstreamTimeout
from chorus.llm.base import context_headers
from chorus.llm.counts import input_estimate
from chorus.llm.embed import EmbedCall, Embeddings, EmbedInput
from chorus.snapshot import Snapshot
from chorus.types import Extra, Priority


async def embed(
    snapshot: Snapshot,
    admission: Admission,
    usage: UsageLedger,
    model: str,
    inputs: Sequence[EmbedInput],
    *,
    dimensions: int | None,
    request_id: str,
    priority: Priority,
    caller: Principal | None,
    extra: Extra,
) -> Embeddings:
    """Return the vectors of `inputs`. See `Chorus.embed`."""
    name, embedder, secs = snapshot.embedding_model(model)
    admitted = admission.admit(caller, snapshot.limits, name, {name: 1}, partial(input_estimate, inputs), priority)
    async with admitted:
        await admitted.wait()
        if caller is not None:
            usage.request(caller, name)
        with anyio.move_on_after(secs):
            call = EmbedCall(inputs, dimensions, context_headers(request_id), priority=priority, extra=extra)
            vectors = await embedder.embed(call)
            if admitted.bill is not None:
                admitted.bill.used(name, vectors.usage.total_tokens)
            if caller is not None:
                usage.call(caller, name, snapshot.models[name].priced(vectors.usage))
            return vectors
    raise UpstreamTimeout(f"Model '{name}' did not embed within {secs:g} s")
