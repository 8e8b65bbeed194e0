"""What a tool is, and who calls it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from chorus.auth.principal import Principal
from chorus.cancellation import CancelSignal
from chorus.errors import InvalidRequest
from chorus.journal import Observer
from chorus.wirejson import JSON

Arguments = TypeVar("Arguments", bound=msgspec.Struct)
Progress = Callable[[int, str], Awaitable[None]]
"""Tells the client how many steps are done, and the last one in a sentence."""

MAX_USER_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool. `user` is the one that the connection names, "" where it names none.
    `unique` becomes part of the ids of what the call makes."""

    principal: Principal
    user: str
    request_id: str
    unique: str
    recalls: bool = True
    """Whether the notes on the user may go with a question."""
    left: CancelSignal | None = None
    """Set when nobody waits for the result any more."""
    observers: Sequence[Observer] = ()
    """See the runs that the call makes."""
    progress: Progress | None = None
    """None where the client does not ask for it."""

    def user_of(self, argument: str | None) -> str | None:
        """Return the user that the connection or the `argument` names; None where neither does.

        Raises:
            InvalidRequest: the name is too long, or the two differ: a connection for one user
                reaches no other.
        """
        if argument and self.user and argument != self.user:
            raise InvalidRequest(
                "This connection belongs to another user than 'user_id' names; leave 'user_id' out.", param="user_id"
            )
        user = self.user or argument
        if user and len(user) > MAX_USER_CHARS:
            raise InvalidRequest(f"'user_id' has at most {MAX_USER_CHARS} characters.", param="user_id")
        return user or None

    def required_user(self, argument: str | None) -> str:
        """Return the user as `user_of` does. Raises InvalidRequest where none is named, too."""
        user = self.user_of(argument)
        if user is None:
            raise InvalidRequest(
                "No user is named: connect with the header X-User-ID (`chorus mcp --user`), or give 'user_id'.",
                param="user_id",
            )
        return user


class Result(msgspec.Struct, frozen=True):
    """What a tool returns. `texts` is what a client shows that knows no structured results."""

    def texts(self) -> list[str]:
        """Return the result as texts: its JSON."""
        return [msgspec.json.encode(self).decode()]


@dataclass(frozen=True, slots=True)
class Tool(Generic[Arguments]):
    """One tool. `work` raises ChorusError."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    work: Callable[[Call, Arguments], Awaitable[Result]]
    is_read_only: bool = False
    is_destructive: bool = False
    is_idempotent: bool = True

    async def call(self, call: Call, given: JSON) -> Result:
        """Return the result for the arguments `given`.

        Raises:
            InvalidRequest: an argument is missing, unknown or of the wrong type.
            ChorusError: whatever the work raises.
        """
        try:
            arguments = msgspec.convert(given or {}, self.arguments)
        except msgspec.ValidationError as problem:
            raise InvalidRequest(f"Invalid arguments for '{self.name}': {_in_words(problem)}.") from None
        return await self.work(call, arguments)

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return object_schema(self.arguments)

    @property
    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result."""
        return object_schema(self.result)


def object_schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of `struct`, with the object at its root as MCP asks for."""
    schema = msgspec.json.schema(struct)
    definitions: dict[str, Any] = schema["$defs"]
    root: dict[str, Any] = definitions.pop(struct.__name__)
    for name in ("title", "description"):  # they are for who reads the code
        root.pop(name, None)
    return {**root, "$defs": definitions} if definitions else root


def _in_words(problem: msgspec.ValidationError) -> str:
    sentence = str(problem).replace("`", "'")[:200]
    return sentence[:1].lower() + sentence[1:]
