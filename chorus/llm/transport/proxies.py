"""Which proxy leads to an upstream: the environment's, or a model's own `proxy`.

NO_PROXY is read as curl, Go and requests read it together: names and their subdomains (with or
without a leading dot or `*.`), addresses, networks (`10.0.0.0/8`), each with or without a port, and
`*` for everything.
"""

from __future__ import annotations

import importlib
import re
import sys
import urllib.request
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from yarl import URL

from chorus.errors import ConfigError, Problem

DIRECT: Final = "none"
"""A model's `proxy` that means: without any, whatever the environment says."""
_HTTP: Final = frozenset({"http", "https"})
_SOCKS: Final = {"socks": "socks5", "socks5": "socks5", "socks5h": "socks5", "socks4": "socks4", "socks4a": "socks4"}
_FAR_NAMES: Final = frozenset({"socks5h", "socks4a", "socks"})
"""Schemes with which the proxy looks names up."""
_HAS_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT: Final = re.compile(r"(.*):(\d{1,5})", re.DOTALL)


def proxy_for(url: URL, configured: str | None = None) -> URL | None:
    """Return the proxy for requests to `url`; None where there is none.

    `configured` is the model's own, or "none"; without it, the environment's (HTTPS_PROXY,
    HTTP_PROXY, ALL_PROXY, NO_PROXY, in lower or upper case) holds, and this machine is reached
    without.

    Raises:
        ConfigError: its address cannot be used.
    """
    if configured is not None:
        return None if configured.lower() == DIRECT else proxy_url(configured)
    host = (url.host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or is_excepted(host, url.port, proxies.get("no", "")) or urllib.request.proxy_bypass(host):
        return None
    try:
        return proxy_url(proxy)
    except ValueError as problem:
        raise ConfigError(
            [Problem("", f"The proxy of the environment for {url.scheme}:// cannot be used: {problem}")]
        ) from None


def proxy_url(address: str) -> URL:
    """Return a proxy's address; one without a scheme is HTTP's.

    Raises:
        ValueError: it is none; the message quotes nothing, since it may hold a password.
    """
    text = address.strip()
    if not _HAS_SCHEME.match(text):
        text = f"http://{text}"
    try:
        url = URL(text)
        is_usable = bool(url.host) and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError('expected an address such as "http://proxy.example.com:3128"')
    if url.scheme not in _HTTP and url.scheme not in _SOCKS:
        raise ValueError("expected http, https, socks5, socks5h, socks4 or socks4a as its scheme")
    return url


def shown(proxy: URL) -> str:
    """Return a proxy's address without its user and password."""
    return str(proxy.with_user(None)).rstrip("/")


def is_socks(proxy: URL) -> bool:
    """Return whether a proxy speaks SOCKS, which needs the extra `socks`."""
    return proxy.scheme in _SOCKS


def check_socks(proxy: URL) -> None:
    """Raises ConfigError where `proxy` speaks SOCKS and the extra `socks` is missing."""
    if is_socks(proxy):
        _aiohttp_socks()


def socks_connector(proxy: URL, **options: Any) -> Any:
    """Return a connector of aiohttp that goes through a SOCKS proxy.

    `options` are those of `aiohttp.TCPConnector`.
    """
    near = str(proxy.with_scheme(_SOCKS[proxy.scheme]))
    return _aiohttp_socks().ProxyConnector.from_url(near, rdns=proxy.scheme in _FAR_NAMES, **options)


def _aiohttp_socks() -> Any:
    try:
        return importlib.import_module("aiohttp_socks")
    except ImportError:
        message = "A SOCKS proxy needs the extra `socks`: pip install 'chorus-llm[socks]'"
        raise ConfigError([Problem("", message)]) from None


def socks_errors() -> tuple[type[Exception], ...]:
    """Return what a SOCKS connector raises where it gets no connection.

    Nothing while no such connector was made.
    """
    library = sys.modules.get("aiohttp_socks")
    if library is None:
        return ()
    return (library.ProxyError, library.ProxyConnectionError, library.ProxyTimeoutError)


def is_excepted(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether NO_PROXY names `host`, an address or a name in lower case."""
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    name, its_port = _split(entry.lower())
    if its_port is not None and its_port != port:
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ip_network(name, strict=False)
        except (ValueError, TypeError):
            return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, int | None]:
    """Return an entry's name, address or network, and its port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        network, colon, port = rest.rpartition(":")
        return (name + network, int(port)) if colon and port.isdecimal() else (name + rest, None)
    match = _PORT.fullmatch(entry)
    if match is None or ":" in match[1]:  # several colons: an address of IPv6
        return entry, None
    return match[1], int(match[2])


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback
