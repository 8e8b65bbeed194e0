"""What goes wrong in an exchange with an upstream.

    OSError
    ├── CannotConnect                  no connection: the name, the address or TLS failed
    ├── ConnectionFailed               the network failed before the head of a response
    └── ConnectionResetError
        └── ServerDisconnectedError    the connection ended before the head of a response
    ValueError
    ├── ClientResponseError            the bytes are not HTTP/1.1, or exceed a bound
    └── ClientPayloadError             the body is not whole

Clients of Chorus read some of the names in messages. They are those of aiohttp's errors, which
Chorus raises where an upstream is reached through a proxy.
"""

from __future__ import annotations


class CannotConnect(OSError):
    """There is no connection to the upstream: its name, its address or TLS failed."""


class ConnectionFailed(OSError):
    """The network failed before the head of a response was whole.

    Never a `TimeoutError`, as the system's own may be.
    """


class ServerDisconnectedError(ConnectionResetError):
    """The connection ended before the head of a response was whole."""


class ClientResponseError(ValueError):
    """What has come is not a response of HTTP/1.1, or exceeds a bound."""


class ClientPayloadError(ValueError):
    """The body of a response ended before it was whole, or is not what its head says."""
