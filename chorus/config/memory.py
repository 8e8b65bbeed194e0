"""`[memory]`: notes on users, and the model that finds them (M4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from chorus.config.replicas import checked_key
from chorus.config.table import Array, Count, Seconds, Table


class MemoryConfig(Table):
    """What is noted of users."""

    provider: Literal["store", "mcp"] = Field("store", description='"store" or "mcp"')
    """Who keeps the notes: the store of this server, or another MCP server (M5)."""
    url: str | None = Field(
        None, repr=False, pattern=r"^(?i:https?)://[^\s/]", description="an address such as https://example.com/mcp"
    )
    """Where that server is."""
    command: Annotated[tuple[str, ...], Array, Field(min_length=1)] | None = Field(
        None, description='a list of words such as ["uvx", "some-memory-server"]'
    )
    """What starts that server, which then speaks over its standard input and output."""
    api_key: SecretStr | None = Field(None, description="a key")
    """The key for `url`."""
    recall_timeout_secs: Seconds = Field(2, description="a number of seconds above 0")
    """How long a request waits for the notes."""
    model: str | None = Field(None, min_length=1, description="the name of a [[model]]")
    """Finds notes in exchanges; None: notes are written by hand only."""
    timeout_secs: Seconds = Field(30, description="a number of seconds above 0")
    """How long the model may take for one exchange."""
    max_notes: Count = Field(100, description="a whole number from 1")
    """Notes on one user."""
    max_tokens: Count = Field(4000, description="a number of tokens, a whole number from 1")
    """Of all notes on one user together: they stand in every prompt."""

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, key: SecretStr | None) -> SecretStr | None:
        return checked_key(key)
