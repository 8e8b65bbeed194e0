"""Objects that other installed packages bring, found by entry points.

Above: `providers` and `workflow/kinds` each name a group. Below: nothing.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chorus.errors import ConfigError, Problem


def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of `group`, none of them loaded."""
    return tuple(entry_points(group=group))


def load(point: EntryPoint, what: str) -> Any:
    """The object of `point`; `what` says in errors what it should be, such as "provider".

    Raises:
        ConfigError: it cannot be loaded.
    """
    try:
        return point.load()
    except Exception as error:  # another package's code: whatever it raises is a fault of the installation
        raise unloadable(point, what, error) from error


def unloadable(point: EntryPoint, what: str, error: Exception) -> ConfigError:
    """The error that says why `point` is not a `what`."""
    text = f"this {what} cannot be loaded ({type(error).__name__}: {error}); repair or remove its package"
    return ConfigError([Problem(f"entry point {point.name} = {point.value}", text)], source=f"the group {point.group}")
