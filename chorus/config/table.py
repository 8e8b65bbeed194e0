"""What all tables of the configuration have in common: frozen, strict, no unknown keys (C2).

The `description` of a field completes the sentence "expected ..." of its error: expectations are
written once.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from chorus.config.interpolate import FromEnvironment

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Array = BeforeValidator(_as_tuple)
"""For tuples: strict validation takes no list, and TOML knows nothing else."""


class Table(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,  # an input may be a key (S2)
    )

    later_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that the specification knows and this version does not."""

    @field_validator("*", mode="before")
    @classmethod
    def _read_from_environment(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, FromEnvironment) or info.field_name is None:
            return value
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        return _typed(value) if kinds & {bool, int, float} else value


def _kinds(annotation: object) -> set[object]:
    inner = get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation}


def _typed(text: str) -> bool | int | float | str | None:
    """Return the number or boolean that `text` spells.

    None for the empty text of an unset optional variable.
    """
    word = text.strip()
    if word in ("", "true", "false"):
        return {"": None, "true": True, "false": False}[word]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return text
