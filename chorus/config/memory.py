"""`[memory]`: notes on users, and the model that finds them (M4)."""

from __future__ import annotations

from pydantic import Field

from chorus.config.table import Count, Seconds, Table


class MemoryConfig(Table):
    """What is noted of users."""

    model: str | None = Field(None, min_length=1, description="the name of a [[model]]")
    """Finds notes in exchanges; None: notes are written by hand only."""
    timeout_secs: Seconds = Field(30, description="a number of seconds above 0")
    """How long the model may take for one exchange."""
    max_chars: Count = Field(8000, description="a number of characters, a whole number from 1")
    """How much of an exchange the model reads."""
    max_notes: Count = Field(100, description="a whole number from 1")
    """Notes on one user."""
    max_tokens: Count = Field(4000, description="a number of tokens, a whole number from 1")
    """Of all notes on one user together: they stand in every prompt."""
