"""gRPC channels to upstreams: one per address (I1).

gRPC connects by itself, and tries again by itself after `_MAX_BACKOFF_MS` at the latest. A call at
an address that has just refused fails at once.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import certifi
import grpc

from chorus.llm.transport.clients import Clients

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of a message that is read: a list of embeddings is the largest."""
_MAX_BACKOFF_MS: Final = 1_000
"""A worker that is back is used again after so long at the latest."""
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),  # a machine that is gone without a word
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
    # despite its name: how long one connection attempt may take
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.client_idle_timeout_ms", 300_000),  # an address that is gone is not tried for ever
    # 64 KiB of an answer wait for a slow reader, 8,000 tokens; gRPC's own estimate lets them grow
    # to 4 MiB
    ("grpc.http2.bdp_probe", 0),
    ("grpc.enable_retries", 0),  # the pool retries, and knows other replicas
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "chorus"),
)
_READY: Final = grpc.ChannelConnectivity.READY
_SETTLED: Final = frozenset({_READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN})
_VISIBLE: Final = frozenset(map(chr, range(0x20, 0x7F)))
_KEY: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_RESERVED: Final = frozenset({"te", "content-type", "user-agent", "host", "connection", "content-length"})


def channel_to(clients: Clients, api_base: str) -> grpc.aio.Channel:
    """Return the channel to `api_base`, made at its first use: `grpc://host:port`, or
    `grpcs://host:port` for TLS.
    """

    def made() -> grpc.aio.Channel:
        place = urlsplit(api_base)
        if place.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(root_certificates=_certificates())
            return grpc.aio.secure_channel(place.netloc, credentials, options=OPTIONS)
        return grpc.aio.insecure_channel(place.netloc, options=OPTIONS)

    return clients.channel(api_base, made)


async def connected(channel: grpc.aio.Channel, secs: float) -> bool:
    """Wait until `channel` is connected, and return whether it is: an address that refuses is not.

    Raises:
        TimeoutError: after `secs` seconds it is neither connected nor refused.
        ConnectionError: it was closed.
    """
    state = channel.get_state(try_to_connect=True)
    if state is _READY:  # nearly always
        return True
    with anyio.fail_after(secs):
        while state not in _SETTLED:
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)
    if state is grpc.ChannelConnectivity.SHUTDOWN:
        raise ConnectionError("the channel was closed")
    return state is _READY


def metadata_of(headers: Mapping[str, str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return those of `headers` that gRPC can send, and the names of the others: it takes visible
    ASCII only.
    """
    sent, left_out = [], []
    for name, value in headers.items():
        key = name.lower()
        is_key = bool(key) and _KEY.issuperset(key) and not key.endswith("-bin") and not key.startswith("grpc-")
        if is_key and key not in _RESERVED and _VISIBLE.issuperset(value):
            sent.append((key, value))
        else:
            left_out.append(name)
    return tuple(sent), tuple(left_out)


def _certificates() -> bytes:
    """Return the trust store, as for HTTP: what SSL_CERT_FILE or SSL_CERT_DIR name, else Mozilla's
    list.
    """
    paths = ssl.get_default_verify_paths()
    file, folder = os.environ.get(paths.openssl_cafile_env), os.environ.get(paths.openssl_capath_env)
    if file is None and folder is None:
        return certifi.contents().encode()
    files = [Path(file)] if file else []
    files += sorted(path for path in Path(folder).iterdir() if path.is_file()) if folder else []
    return b"\n".join(path.read_bytes() for path in files)
