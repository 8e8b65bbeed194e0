"""The keys that the environment sets in place of the file, each with its variable.

`environment` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from chorus.config.toml_text import Path
from chorus.errors import Problem

BETWEEN: Final = "__"
"""Between the parts of a variable's name."""


@dataclass(slots=True)
class Overrides:
    """What the environment says: the problems of its variables, and which of them set what."""

    variables: dict[Path, str] = field(default_factory=dict)
    """The variables by the paths that they set."""
    made: dict[Path, str] = field(default_factory=dict)
    """The beginnings of the variables' names by the tables that no file has."""
    plain: set[Path] = field(default_factory=set)
    """Paths of texts that are taken as they are, without references."""
    from_files: set[Path] = field(default_factory=set)
    """Paths whose values are in files, which no error shows."""
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> tuple[str, Path] | None:
        """Return the variable that sets `path`, and the rest of the path inside its value.

        None where the file sets it.
        """
        for length in range(len(path), 0, -1):
            outer, inner = path[:length], path[length:]
            if outer in self.variables:
                return self.variables[outer], inner
            if outer in self.made:
                return BETWEEN.join((self.made[outer], *map(as_part, inner))), ()
        return None


def as_part(part: str | int) -> str:
    return str(part).replace("-", "_").upper()
