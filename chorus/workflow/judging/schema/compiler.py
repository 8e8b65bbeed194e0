"""From a schema to checks. Knows what a schema is made of, its references and what the work is; the
keywords are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from chorus.wirejson import JSON

_COMPILING: Final = 20_000
"""Steps that compiling may take: a schema costs 5, a property or an entry of an `enum` 1. 30 ms;
500 fields cost 3,000."""
_MAX_DEPTH: Final = 100
"""Schemas that are applied inside of each other. Three frames of Python's stack each."""
_MAX_POINTER: Final = 1000


class NotASchema(ValueError):
    """The schema is none, or refers to what cannot be looked up here."""


class TooMuchWork(Exception):
    """The schema, or the value for this schema, takes more steps than it may."""


class Work:
    """Counts steps."""

    __slots__ = ("depth", "left")

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.depth = 0

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork


Check = Callable[[Any, Work], bool]


class Node:
    """A compiled schema: all of its checks must hold."""

    __slots__ = ("checks",)

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = ()

    def is_valid(self, value: JSON, work: Work) -> bool:
        work.left -= 1
        if work.left < 0 or work.depth >= _MAX_DEPTH:
            raise TooMuchWork
        work.depth += 1
        is_valid = True
        for check in self.checks:
            if not check(value, work):
                is_valid = False
                break
        work.depth -= 1
        return is_valid


Keyword = Callable[["Compiler", Mapping[str, JSON], JSON], Iterator[Check]]
"""Makes the checks of a keyword from the schema that it stands in and its value there. A check lets
everything through that is not of the type that it is about.

Raises:
    NotASchema: the value is none that the keyword can have.
"""


class Compiler:
    """Makes nodes of schemas, each once, so that one may refer to itself."""

    def __init__(self, schema: JSON, keywords: Mapping[str, Keyword]) -> None:
        self._schema = schema
        self._keywords = keywords
        self._work = Work(_COMPILING)
        self._nodes: dict[int, Node] = {}
        self._waiting: list[tuple[Mapping[str, JSON], Node]] = []

    def root(self) -> Node:
        root = self.node(self._schema)
        while self._waiting:  # no recursion: a schema may be deeper than Python's stack
            schema, node = self._waiting.pop()
            node.checks = tuple(self._checks(schema))
        return root

    def node(self, schema: JSON) -> Node:
        """Return the node of `schema`, whose checks may be made later."""
        self.spend(1)
        if isinstance(schema, bool):
            node = Node()
            node.checks = () if schema else (_never,)
            return node
        if not isinstance(schema, Mapping):
            raise NotASchema("a schema is an object, true or false")
        node = self._nodes.get(id(schema)) or Node()
        if id(schema) not in self._nodes:
            self.spend(4)
            self._nodes[id(schema)] = node
            self._waiting.append((schema, node))
        return node

    def nodes(self, schemas: JSON) -> list[Node]:
        """Return the nodes of a list of schemas that is not empty."""
        if not isinstance(schemas, list) or not schemas:
            raise NotASchema("expected a list of schemas")
        return [self.node(schema) for schema in schemas]

    def named(self, schemas: JSON) -> dict[str, Node]:
        """Return the nodes of schemas by name."""
        if not isinstance(schemas, Mapping):
            raise NotASchema("expected schemas by name")
        return {name: self.node(schema) for name, schema in schemas.items()}

    def words(self, given: JSON) -> frozenset[str]:
        """Return a list of names."""
        if not isinstance(given, list):
            raise NotASchema("expected a list of names")
        self.spend(len(given))
        if not all(isinstance(word, str) for word in given):
            raise NotASchema("expected a list of names")
        return frozenset(given)

    def spend(self, steps: int) -> None:
        """Count steps of compiling."""
        self._work.spend(steps)

    def identities(self, values: JSON) -> frozenset[Hashable]:
        """Return what is equal to one of `values` has one of these identities."""
        if not isinstance(values, list):
            raise NotASchema("expected a list of values")
        return frozenset(identity(value, self._work) for value in values)

    def _checks(self, schema: Mapping[str, JSON]) -> Iterator[Check]:
        if "$dynamicRef" in schema or "$recursiveRef" in schema or ("$id" in schema and schema is not self._schema):
            raise NotASchema("a schema with an address of its own cannot be applied")
        if "$ref" in schema:
            yield self.node(self._target(schema["$ref"])).is_valid
        for name, make in self._keywords.items():
            if name in schema:
                yield from make(self, schema, schema[name])

    def _target(self, ref: JSON) -> JSON:
        """Return the part of the schema that `ref` points to (RFC 6901)."""
        if not isinstance(ref, str) or len(ref) > _MAX_POINTER or not (ref == "#" or ref.startswith("#/")):
            raise NotASchema("a reference that is no pointer into the schema itself")
        target = self._schema
        for part in unquote(ref).split("/")[1:]:
            self.spend(1)
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and len(name) < 9 and int(name) < len(target):
                target = target[int(name)]
            else:
                raise NotASchema("a reference that points to nothing")
        return target


def _never(value: JSON, work: Work) -> bool:
    return False


def identity(value: JSON, work: Work) -> Hashable:
    """Return a key that is the same for values that are equal in JSON Schema.

    1 and 1.0 are, and objects in any order, but not 1 and true.
    """
    work.spend(4 if isinstance(value, list | dict) else 1)
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, list):
        return "array", tuple([identity(item, work) for item in value])
    if isinstance(value, dict):
        return "object", frozenset([(name, identity(item, work)) for name, item in value.items()])
    return value  # type: ignore[no-any-return]
