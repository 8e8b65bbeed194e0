"""Bytes to and from upstreams: connections, replies with typed errors, and the decoders of SSE and
NDJSON.

Above: `providers` post and read. Below: `http/`, a client of our own, or aiohttp where a proxy
leads to the upstream.
"""
