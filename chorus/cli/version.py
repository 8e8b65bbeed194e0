"""`chorus version`."""

from __future__ import annotations

from chorus import __version__

EXAMPLE = "chorus version"


def run() -> None:
    """Print the version."""
    print(__version__)
