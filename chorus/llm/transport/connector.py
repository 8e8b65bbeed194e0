"""aiohttp's connections, held to one response for each request.

aiohttp waits for the final response through any number of interim ones (1xx), and keeps whatever
else an upstream sends on a connection for the next request that uses it: the answer of one user
would go to another.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

MAX_INTERIM: Final = 32
"""Interim responses (100, 102, 103) before the final one; a server has use for two or three."""

_SWITCHING_PROTOCOLS: Final = 101


class _Connection(ResponseHandler):
    """One connection: at most `MAX_INTERIM` interim responses and one final response for each
    request.
    """

    _interim = 0
    _is_answered = True

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._interim = 0
        self._is_answered = False
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The head of a response has come. It is a pair of message and body."""
        code = data[0].code
        if 100 <= code < 200 and code != _SWITCHING_PROTOCOLS:
            self._interim += 1  # nobody waits for it: no request expects 100 (Continue)
            if self._interim > MAX_INTERIM:
                self._refuse("too many interim responses")
        elif self._is_answered:
            self._refuse("a response to no request")
        else:
            self._is_answered = True
            super().feed_data(data, size)

    def _refuse(self, what: str) -> None:
        if self.exception() is None:
            self.set_exception(aiohttp.ClientPayloadError(what))
        if self.transport is not None:
            self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """A pool of such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Connection, loop=asyncio.get_running_loop()))
