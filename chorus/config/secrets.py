"""The secret values of a configuration, which `redaction` blots out of foreign texts (S2)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from chorus.config.models import ModelConfig
from chorus.config.schema import Config

_PUBLIC_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "http-referer",
        "openai-beta",
        "referer",
        "user-agent",
        "x-title",
    }
)
"""Headers that name a program or an API's version: errors need their values."""

_WITH_SCHEME = re.compile(r"(?i)(basic|bearer|token|digest|negotiate|api-?key|key)\s+(\S.*)")
_KEY_LIKE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_\-+/.~]{15,}={0,2}")
_BETWEEN_WORDS = re.compile(r"[\s,;:\"'()\[\]{}]+|(?<=\w)=(?=\w)")
_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|auth|credential|cookie|signature")


def secret_values(config: Config, proxies: Mapping[str, str]) -> frozenset[str]:
    """Return every value that nobody else may read.

    These are keys of models, replicas and the memory server, tokens of discovery, values of their
    headers, values of `extra_body` under names such as `token`, passwords of their proxies and of
    the Redis, and those of `proxies` (addresses by scheme).
    """
    secrets: set[str] = set()
    for model in config.models:
        secrets.update(_of_model(model))
    if config.memory.api_key is not None:
        secrets.add(config.memory.api_key.get_secret_value())
    if config.memory.url is not None:
        secrets.update(_of_address(config.memory.url))
    if config.storage.url is not None:
        secrets.update(_of_address(config.storage.url.get_secret_value()))
    if config.worker.consul_token is not None:
        secrets.add(config.worker.consul_token.get_secret_value())
    for address in proxies.values():
        secrets.update(_of_address(address))
    secrets.discard("")
    return frozenset(secrets)


def _of_model(model: ModelConfig) -> Iterator[str]:
    keys: list[SecretStr | None] = [model.api_key, *(replica.api_key for replica in model.listed)]
    if model.discovery is not None:
        keys.append(model.discovery.token)
    yield from (key.get_secret_value() for key in keys if key is not None)
    for name, value in model.headers.items():
        if name.lower() not in _PUBLIC_HEADERS:
            yield from _of_header(value)
    yield from _of_body(model.extra_body, is_secret=False)
    if model.proxy is not None and (address := model.proxy.get_secret_value()).lower() != "none":
        yield from _of_address(address if "://" in address else f"http://{address}")


def _of_header(value: str) -> Iterator[str]:
    """Yield the value without its scheme, and its words that look like keys (`session=...`)."""
    value = value.strip()
    with_scheme = _WITH_SCHEME.fullmatch(value)
    if with_scheme is None:
        yield value
    else:
        scheme, secret = with_scheme.groups()
        yield secret
        if scheme.lower() == "basic":
            yield from _of_basic(secret)
    yield from (word for word in _BETWEEN_WORDS.split(value) if _KEY_LIKE.fullmatch(word))


def _of_basic(encoded: str) -> Iterator[str]:
    """`user:password` and the password of `Basic` credentials (RFC 7617)."""
    try:
        pair = b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    yield pair
    yield pair.partition(":")[2]


def _of_body(value: object, *, is_secret: bool) -> Iterator[str]:
    """Yield the texts in `value` below the name of a secret."""
    if isinstance(value, str) and is_secret:
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _of_body(item, is_secret=is_secret or bool(_SECRET_NAME.search(str(name))))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _of_body(item, is_secret=is_secret)


def _of_address(address: str) -> Iterator[str]:
    """Yield the password in an address, as it is written and as it is sent."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    written = [parts.password or "", *parse_qs(parts.query).get("password", ())]
    for password in written:
        yield from (password, unquote(password))
