"""Setting a key of a TOML text and leaving all the rest as it is, comments too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tomli_w

from chorus.config.toml_text import Places, parse
from chorus.errors import ConfigError, Problem


def with_model_array(text: str, model: str, key: str, values: Sequence[str]) -> str:
    """`text` with the array `key` of the `[[model]]` that is called `model`. A new key stands on
    the line behind its name.

    Raises:
        ConfigError: the model has no table of its own in the text.
    """
    unwritable = ConfigError([Problem(f'[[model]] "{model}" {key}', f"write it by hand: {key} = {_array(values)}")])
    plain = text.replace("\r\n", "\n")
    document = parse(plain)
    tables = document.get("model")
    listed = tables if isinstance(tables, list) else [tables]
    places = [place for place, table in enumerate(listed) if isinstance(table, Mapping) and table.get("name") == model]
    if len(places) != 1:
        raise unwritable
    [place] = places
    at = ("model", place) if isinstance(tables, list) else ("model",)
    edited = _edited(plain, Places(plain), at, key, _array(values))
    if edited is None or not _is_only_change(document, parse(edited), listed[place], key, values):
        raise unwritable
    return edited.replace("\n", "\r\n") if "\r\n" in text else edited


def _edited(text: str, places: Places, table: tuple[str | int, ...], key: str, value: str) -> str | None:
    span = places.span((*table, key))
    if span is not None:
        return text[: span[0]] + value + text[span[1] :]
    name = places.span((*table, "name"))
    if name is None:
        return None
    line = text[text.rfind("\n", 0, name[0]) + 1 : name[0]]
    indent = line[: len(line) - len(line.lstrip())]
    end = text.find("\n", name[1])
    if end == -1:
        return f"{text}\n{indent}{key} = {value}\n"
    return f"{text[:end]}\n{indent}{key} = {value}{text[end:]}"


def _is_only_change(
    before: Mapping[str, object], after: dict[str, object], table: object, key: str, values: Sequence[str]
) -> bool:
    """Return whether `after` differs from `before` by the key of one table and by nothing else."""
    assert isinstance(table, dict)
    table[key] = list(values)
    return before == after


def _array(values: Sequence[str]) -> str:
    """`values` as an array on one line."""
    return f"[{', '.join(tomli_w.dumps({'a': value}).partition(' = ')[2].strip() for value in values)}]"
