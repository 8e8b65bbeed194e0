"""By which names a request may call this server (S1).

A web page whose name was rebound to this machine's address still sends its own name in `Host`. An
address in its place is harmless: no other server can be rebound to one that is ours.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import cache
from ipaddress import ip_address
from socket import gethostname
from typing import Final

from starlette.types import Scope

from chorus.errors import ForbiddenHost, InvalidRequest
from chorus.server.http.context import header, request_context

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.~%-]+)?)\]|([\w.~%!$&'()*+;=-]+))(?::[0-9]*)?", re.ASCII)
"""RFC 9110, 7.2: an address in brackets or a name, and a port. A comma, which a name may have,
would join two values to one."""
_NEAR: Final = (".internal", ".local")
"""`host.docker.internal`, and the names of mDNS (RFC 6762)."""
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Return whether listening on `host` reaches this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(scope: Scope, allowed: Set[str] | None, *, near: bool = False) -> None:
    """Check a request's `Host`. `allowed` are the names that are served besides the loopback names
    and the address that the request came in at, in lower case, with or without a port; None lets
    every name in. `near` says that the server listens on loopback only: then names are served, too,
    that nobody on the internet can have, as Ollama does.

    Raises:
        InvalidRequest: it is empty, no host at all, there are several, or there is none, which
            HTTP/1.1 does not allow.
        ForbiddenHost: it is none of the names that are served.
    """
    host = header(scope, b"host")
    if len(request_context(scope).headers) != len(scope["headers"]) and _count(scope) > 1:
        raise InvalidRequest("The request has more than one Host header.")
    if host is None:
        if scope["http_version"] == "1.1":
            raise InvalidRequest("The request has no Host header.")
        return  # a program's: every browser sends one
    match = _HOST.fullmatch(host.strip())
    if match is None:
        raise InvalidRequest("The Host header is not a host name or address with an optional port.")
    if allowed is None:
        return
    name = (match[1] or match[2]).lower().rstrip(".")  # a name may end with the root's dot
    if (
        _is_local(name)
        or (near and _is_near(name))
        or not allowed.isdisjoint((name, f"[{name}]", host.strip().lower()))
    ):
        return
    if not _is_own(name, scope):
        raise ForbiddenHost(
            "The Host header names a machine that this server does not answer for ([server] allowed_hosts)."
        )


def _count(scope: Scope) -> int:
    return sum(name == b"host" for name, _ in scope["headers"])


def _is_local(name: str) -> bool:
    return name in _LOCAL_NAMES or name.endswith(".localhost") or (name[:1].isdigit() and is_loopback(name))


def _is_near(name: str) -> bool:
    """Return whether `name` is this machine's own, or one of a container's or a local network's:
    domains that are not registered.
    """
    return name == "0.0.0.0" or name.endswith(_NEAR) or name in _own_names()  # noqa: S104 - compared, not bound


@cache
def _own_names() -> frozenset[str]:
    name = gethostname().lower()
    return frozenset({name, name.partition(".")[0]}) - {""}


def _is_own(name: str, scope: Scope) -> bool:
    """Return whether `name` is the address that the request was sent to, as in health probes."""
    server = scope.get("server")
    try:
        return server is not None and _address(name) == _address(server[0])
    except ValueError:
        return False


def _address(text: str) -> object:
    """Return an address for comparison, one of IPv4 as such. Raises ValueError."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
