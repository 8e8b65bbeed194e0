"""How a model is reached: `Upstream.open` and what stands behind it.

Above: `workflow` calls `Upstream.open`; `snapshot` has `registry` build one stack for each model.
Below: sockets.

From top to bottom, and a room imports only from lower ones:

    registry                 the stack of one model, in its order
    pool/ | filters/         one model's replicas as one upstream; what stands around any upstream
    providers/               one wire each: requests, answers, what refusals teach
    provider                 what a provider is, for the built-in ones and those of other packages
    transport/               HTTP, SSE and NDJSON to an upstream, with typed errors
    reading/                 what upstreams write, however odd, whatever the wire
    base, embed, rerank, address, counts, fake       the words that all of them speak
"""
