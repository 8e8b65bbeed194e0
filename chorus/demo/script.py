"""How an answer is to be performed: its text, and what may go wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["whole", "broken", "never"]


@dataclass(frozen=True, slots=True)
class Script:
    """`text`, after `wait` seconds. "broken" fails in the middle of it, "never" waits for ever
    before it. `failure` is the sentence of the error; with "whole" it means failing at once."""

    text: str = ""
    wait: float = 0.0
    ending: Ending = "whole"
    failure: str = ""
