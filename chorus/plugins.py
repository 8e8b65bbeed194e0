"""Objects that other installed packages bring, found by entry points.

Above: `providers` and `workflow/kinds` each name a group. Below: nothing.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chorus.errors import ConfigError, Problem


def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of `group`, none of them loaded."""
    return _entry_points(group, _places())


@functools.lru_cache(maxsize=4)
def _entry_points(group: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of `group` in `places`.

    Kept: to read those of 200 packages takes 20 ms.
    """
    return tuple(entry_points(group=group))


def _places() -> tuple[tuple[str, int], ...]:
    """Return the folders of packages, each with the time in ns of its last change, as by an
    installer.
    """
    return tuple((place, _changed_at(place or ".")) for place in sys.path)


def _changed_at(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return 0


def load(point: EntryPoint, what: str) -> Any:
    """Return the object of `point`; `what` says in errors what it should be, such as "provider".

    Raises:
        ConfigError: it cannot be loaded.
    """
    try:
        return point.load()
    # another package's code: whatever it raises is a fault of the installation
    except Exception as error:
        raise unloadable(point, what, error) from error


def unloadable(point: EntryPoint, what: str, error: Exception) -> ConfigError:
    """Return the error that says why `point` is not a `what`."""
    text = f"this {what} cannot be loaded ({type(error).__name__}: {error}); repair or remove its package"
    return ConfigError([Problem(f"entry point {point.name} = {point.value}", text)], source=f"the group {point.group}")
