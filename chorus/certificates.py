"""The TLS trust store: a named file, else SSL_CERT_FILE or SSL_CERT_DIR, else certifi's list."""

from __future__ import annotations

import os
import ssl
from functools import cache

import certifi

from chorus.errors import ChorusError

_NAMED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@cache
def trusted(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a context for TLS clients. Reading certificates takes up to 70 ms, the first time.

    Raises:
        ChorusError: the certificates cannot be read.
    """
    try:
        if ca_file is not None:
            return ssl.create_default_context(cafile=ca_file)
        named = any(name in os.environ for name in _NAMED)
        return ssl.create_default_context() if named else ssl.create_default_context(cafile=certifi.where())
    except OSError as problem:  # ssl.SSLError is one
        raise ChorusError(f"the certificates in {ca_file} cannot be read: {problem.strerror or problem}") from None


def trusted_by(url: str) -> ssl.SSLContext | bool:
    """Return httpx's `verify` for a server at `url`; no file is read for plain HTTP."""
    return trusted() if url.startswith("https") else False
