"""What may stand at a place of the configuration: tables, arrays, names of one's own, values.

It is read off the annotations of the schema, so that a new key needs no second list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from chorus.config.limits import LimitsConfig, StorageConfig
from chorus.config.memory import MemoryConfig
from chorus.config.models import ModelConfig
from chorus.config.schema import (
    TREE_KEYS,
    ServerConfig,
    TraceConfig,
    WorkflowConfig,
    WorkflowSettings,
)
from chorus.config.timeouts import PassThroughTimeouts
from chorus.config.worker import WorkerConfig

Annotation: TypeAlias = Any

_TEXTS: Final = frozenset({str, SecretStr})


@dataclass(frozen=True)
class Kind:
    """What may stand at one place."""

    fields: Mapping[str, Annotation] | None = None
    """The keys of a table, with what may stand under them."""
    later: frozenset[str] = frozenset()
    """Keys of the table that this version does not have."""
    names: Annotation = None
    """What stands under the names of one's own in a table such as `[workflows]`.

    None: no such table.
    """
    items: Annotation = None
    """What stands in an array; None: no array."""
    scalars: frozenset[object] = field(default=frozenset())
    """Types of plain values."""
    is_free: bool = False
    """Whether anything may stand here."""

    @property
    def is_text(self) -> bool:
        """Whether nothing but a text may stand here."""
        is_one_value = self.fields is None and self.names is None and self.items is None
        return is_one_value and not self.is_free and self.scalars <= _TEXTS

    @property
    def is_secret(self) -> bool:
        return SecretStr in self.scalars


@cache
def root() -> Kind:
    """Return the tables at the top of a configuration."""
    return Kind(
        fields={
            "server": ServerConfig,
            "model": tuple[ModelConfig, ...],
            "timeouts": PassThroughTimeouts,
            "workflow": WorkflowSettings,
            "workflow-integration": WorkflowConfig,
            "workflows": dict[str, WorkflowConfig],
            "limits": LimitsConfig,
            "storage": StorageConfig,
            "memory": MemoryConfig,
            "trace": TraceConfig,
            "worker": WorkerConfig,
        }
    )


def kind_of(annotation: Annotation) -> Kind:
    """Return what may stand where the schema has `annotation`."""
    origin: Any = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return kind_of(arguments[0])
    if origin in (Union, UnionType):
        return _any_of([kind_of(argument) for argument in arguments if argument is not NoneType])
    if origin is Literal:
        return Kind(scalars=frozenset(map(type, arguments)))
    if origin is tuple:
        return Kind(items=arguments[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Kind(names=arguments[1])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Kind(fields=_fields(annotation), later=getattr(annotation, "later_keys", frozenset()))
    if annotation in (Any, object):
        return Kind(is_free=True)
    return Kind(scalars=frozenset({annotation}))


def _fields(table: type[BaseModel]) -> Mapping[str, Annotation]:
    fields = {name: each.annotation for name, each in table.model_fields.items()}
    if table is WorkflowConfig:  # its tree is written as its keys, or as JSON
        own = {name: each for name, each in fields.items() if name not in ("tree", "tree_place")}
        return {"json": str, **dict.fromkeys(TREE_KEYS, object), **own}
    return fields


def _any_of(kinds: list[Kind]) -> Kind:
    def first(values: list[Any]) -> Any:
        return next((value for value in values if value is not None), None)

    return Kind(
        fields=first([kind.fields for kind in kinds]),
        later=frozenset().union(*(kind.later for kind in kinds)),
        names=first([kind.names for kind in kinds]),
        items=first([kind.items for kind in kinds]),
        scalars=frozenset().union(*(kind.scalars for kind in kinds)),
        is_free=any(kind.is_free for kind in kinds),
    )
