"""gRPC channels to upstreams: one per address (I1)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import grpc

from chorus.llm.transport.clients import Clients

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),  # a machine that is gone without a word
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),  # a worker that is back is used again soon
    ("grpc.enable_retries", 0),  # the pool retries, and knows other replicas
    ("grpc.enable_http_proxy", 0),
)


def channel_to(clients: Clients, api_base: str) -> grpc.aio.Channel:
    """Return the channel to `api_base`, made at its first use: `grpc://host:port`, or `grpcs://host:port`
    for TLS."""

    def made() -> grpc.aio.Channel:
        place = urlsplit(api_base)
        if place.scheme == "grpcs":
            return grpc.aio.secure_channel(place.netloc, grpc.ssl_channel_credentials(), options=_OPTIONS)
        return grpc.aio.insecure_channel(place.netloc, options=_OPTIONS)

    return clients.channel(api_base, made)
