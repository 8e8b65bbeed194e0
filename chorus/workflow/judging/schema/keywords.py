"""What each keyword of JSON Schema asks for; see `Keyword`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from chorus.wirejson import JSON
from chorus.workflow.judging.schema.compiler import Check, Compiler, Keyword, NotASchema, Work, identity

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "null": (type(None),),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int,),
}


def _count(given: JSON) -> int:
    """Return a length that a keyword names."""
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise NotASchema("expected a length")
    return given


def _number(given: JSON) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise NotASchema("expected a number")
    return given


def _type(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    names = compiler.words(given if isinstance(given, list) else [given])
    if not names or not names <= _TYPES.keys():
        raise NotASchema("an unknown type")
    types = frozenset(kind for name in names for kind in _TYPES[name])
    takes_whole_floats = "integer" in names and "number" not in names

    def check(value: Any, work: Work) -> bool:
        return type(value) in types or (takes_whole_floats and type(value) is float and value.is_integer())

    yield check


def _enum(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    known = compiler.identities(given)
    has_containers = any(isinstance(item, list | dict) for item in given)

    def check(value: Any, work: Work) -> bool:
        if isinstance(value, list | dict) and not has_containers:
            return False
        return identity(value, work) in known

    yield check


def _const(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    return _enum(compiler, schema, [given])


def _multiple(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    if _number(given) <= 0:
        raise NotASchema("expected a number above 0")
    divisor = _decimal(given)

    def check(value: Any, work: Work) -> bool:
        if type(value) not in (int, float):
            return True
        work.spend(10)
        return (_decimal(value) / divisor).denominator == 1

    yield check


def _decimal(number: float) -> Fraction:
    """Return `number` as it is written, so that 19.99 is a multiple of 0.01.

    The nearest binary fractions are not.
    """
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _bound(holds: Callable[[float, float], bool]) -> Keyword:
    def make(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
        limit = _number(given)

        def check(value: Any, work: Work) -> bool:
            return type(value) not in (int, float) or holds(value, limit)

        yield check

    return make


def _length(kind: type[str] | type[list[Any]] | type[dict[str, Any]], holds: Callable[[float, float], bool]) -> Keyword:
    def make(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
        limit = _count(given)

        def check(value: Any, work: Work) -> bool:
            return type(value) is not kind or holds(len(value), limit)

        yield check

    return make


def _at_most(value: float, limit: float) -> bool:
    return value <= limit


def _at_least(value: float, limit: float) -> bool:
    return value >= limit


def _below(value: float, limit: float) -> bool:
    return value < limit


def _above(value: float, limit: float) -> bool:
    return value > limit


def _unique(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    def check(value: Any, work: Work) -> bool:
        return type(value) is not list or len({identity(item, work) for item in value}) == len(value)

    if not isinstance(given, bool):
        raise NotASchema("expected true or false")
    if given:
        yield check


def _prefix_items(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    nodes = compiler.nodes(given)

    def check(value: Any, work: Work) -> bool:
        return type(value) is not list or all(
            node.is_valid(item, work) for node, item in zip(nodes, value, strict=False)
        )

    yield check


def _items(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    prefix = schema.get("prefixItems")
    if isinstance(given, list):  # as drafts before 2020 had it
        prefix, given = given, schema.get("additionalItems", True)
        yield from _prefix_items(compiler, schema, prefix)
    is_valid, begin = compiler.node(given).is_valid, len(prefix) if isinstance(prefix, list) else 0

    def check(value: Any, work: Work) -> bool:
        if type(value) is not list:
            return True
        return all(is_valid(item, work) for item in (value[begin:] if begin else value))

    yield check


def _contains(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    is_valid = compiler.node(given).is_valid
    least = _count(schema.get("minContains", 1))
    most = _count(schema["maxContains"]) if "maxContains" in schema else None

    def check(value: Any, work: Work) -> bool:
        if type(value) is not list:
            return True
        matches = sum(is_valid(item, work) for item in value)
        return least <= matches and (most is None or matches <= most)

    yield check


def _required(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    names = compiler.words(given)

    def check(value: Any, work: Work) -> bool:
        return type(value) is not dict or names <= value.keys()

    yield check


def _properties(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    nodes = compiler.named(given)

    def check(value: Any, work: Work) -> bool:
        if type(value) is not dict:
            return True
        work.spend(min(len(nodes), len(value)))
        if len(value) < len(nodes):
            return all(nodes[name].is_valid(item, work) for name, item in value.items() if name in nodes)
        return all(node.is_valid(value[name], work) for name, node in nodes.items() if name in value)

    yield check


def _additional(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    if "patternProperties" in schema:
        return  # it would refuse what a pattern allows
    named = schema.get("properties")
    known = frozenset(named) if isinstance(named, Mapping) else frozenset[str]()
    node = compiler.node(given)

    def check(value: Any, work: Work) -> bool:
        if type(value) is not dict or not (more := value.keys() - known):
            return True
        return given is not False and all(node.is_valid(value[name], work) for name in more)

    if given is not True:
        yield check


def _property_names(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    is_valid = compiler.node(given).is_valid

    def check(value: Any, work: Work) -> bool:
        return type(value) is not dict or all(is_valid(name, work) for name in value)

    yield check


def _dependent_required(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    if not isinstance(given, Mapping):
        raise NotASchema("expected names by name")
    compiler.spend(len(given))
    wanted = {name: compiler.words(names) for name, names in given.items()}

    def check(value: Any, work: Work) -> bool:
        if type(value) is not dict:
            return True
        work.spend(len(wanted))
        return all(names <= value.keys() for name, names in wanted.items() if name in value)

    yield check


def _dependent_schemas(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    nodes = compiler.named(given)

    def check(value: Any, work: Work) -> bool:
        if type(value) is not dict:
            return True
        work.spend(len(nodes))
        return all(node.is_valid(value, work) for name, node in nodes.items() if name in value)

    yield check


def _all_of(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    return iter([node.is_valid for node in compiler.nodes(given)])


def _any_of(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    nodes = compiler.nodes(given)

    def check(value: Any, work: Work) -> bool:
        return any(node.is_valid(value, work) for node in nodes)

    yield check


def _one_of(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    nodes = compiler.nodes(given)

    def check(value: Any, work: Work) -> bool:
        return sum(node.is_valid(value, work) for node in nodes) == 1

    yield check


def _not(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    is_valid = compiler.node(given).is_valid

    def check(value: Any, work: Work) -> bool:
        return not is_valid(value, work)

    yield check


def _if(compiler: Compiler, schema: Mapping[str, JSON], given: JSON) -> Iterator[Check]:
    condition = compiler.node(given).is_valid
    then, otherwise = (compiler.node(schema.get(name, True)).is_valid for name in ("then", "else"))

    def check(value: Any, work: Work) -> bool:
        return then(value, work) if condition(value, work) else otherwise(value, work)

    yield check


KEYWORDS: Final[Mapping[str, Keyword]] = {
    # those that cost least come first
    "type": _type,
    "enum": _enum,
    "const": _const,
    "multipleOf": _multiple,
    "maximum": _bound(_at_most),
    "exclusiveMaximum": _bound(_below),
    "minimum": _bound(_at_least),
    "exclusiveMinimum": _bound(_above),
    "maxLength": _length(str, _at_most),
    "minLength": _length(str, _at_least),
    "maxItems": _length(list, _at_most),
    "minItems": _length(list, _at_least),
    "maxProperties": _length(dict, _at_most),
    "minProperties": _length(dict, _at_least),
    "required": _required,
    "dependentRequired": _dependent_required,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _property_names,
    "prefixItems": _prefix_items,
    "items": _items,
    "contains": _contains,
    "uniqueItems": _unique,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentSchemas": _dependent_schemas,
}
